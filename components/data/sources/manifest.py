"""A table with a row an image: CSV, TSV or Parquet, the images beside it or, in Parquet, inside of it.

Two passes: names and labels are read first and held, images follow a table at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.config import ManifestSource
from components.data import images
from components.data.errors import DataError
from components.data.sources import masks, place, rows, tabular
from components.data.sources.faults import Fault, Faults, named
from components.data.sources.registry import SourceData, schema
from components.data.sources.tabular import SUFFIXES, bytes_of, held, is_bytes, parts

_MASKS = 64  # decoded at a time
_MOST_CLASSES = 255  # of a mask of bytes: 255 itself says "unknown" (see `prepare`)
_NAMED = 4  # classes of an example in a message


@dataclass(frozen=True)
class Columns:
    """Which of a manifest's columns is what; None: there is none."""

    image: str
    target: str
    id: str | None
    split: str | None
    time: str | None
    groups: dict[str, str]  # group → column

    @property
    def small(self) -> list[str]:
        """Those that hold neither images nor masks, as far as can be told from their names."""
        named = [self.id, self.split, self.time, *self.groups.values()]
        return list(dict.fromkeys(name for name in named if name is not None))


def read(source: ManifestSource, project: Path) -> SourceData:
    path = _manifest(source, project)
    root = _root(source, path)
    form = tabular.columns(path)
    columns = _columns(source, form.names, path)
    small = [*columns.small, *(name for name in (columns.image, columns.target) if not is_bytes(form.field(name).type))]
    table = held(path, small)
    rows.unique((name, _row(path, index)) for index, name in enumerate(_ids(table, columns, path)))
    classes, number = _classes(source, table, columns, path)
    groups = tuple(sorted(columns.groups))
    kind = "class" if source.mask is None else "mask"
    timed = columns.time is not None
    faults = Faults(str(path), source.faulty)
    taken = rows.tables(schema(kind, groups, timed), faults.sound(_rows(source, path, root, columns, number)))  # type: ignore[arg-type]
    return SourceData(classes, kind, taken, groups, timed, faults.notes)  # type: ignore[arg-type]


def listing(source: ManifestSource, project: Path) -> str | None:
    """As `place.listing`, the images being counted wherever they lie: of a local table, those that it names."""
    path = None if place.is_remote(source.path) else place.located(source, project)
    if path is not None and path.is_file() and path.suffix.lower() in SUFFIXES:
        return place.touched([path, *_named(source, path)])
    there = place.listing(source, project)
    apart = Path(source.root or "").expanduser()
    if there is None or not apart.is_absolute():
        return there
    return hashlib.sha256((there + place.touched(place.files_of(apart))).encode()).hexdigest()


def _named(source: ManifestSource, path: Path) -> list[Path]:
    """The files that a table names."""
    root, form = _root(source, path), tabular.columns(path)
    names = [name for name in (source.image, source.mask) if name in form.names and not is_bytes(form.field(name).type)]
    table = held(path, [name for name in names if name is not None])
    return [root / str(value) for name in table.column_names for value in table.column(name).to_pylist() if value]


def _manifest(source: ManifestSource, project: Path) -> Path:
    path = place.local(source, project)
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
        if len(found) != 1:
            raise DataError(
                f"{path}: expected one table ({', '.join(SUFFIXES)}), received "
                f"{', '.join(each.name for each in found) or 'none'}; name it as source.path"
            )
        return found[0]
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{path}: expected a table ({', '.join(SUFFIXES)}), received a file {path.suffix or 'without suffix'}"
        )
    return path


def _root(source: ManifestSource, path: Path) -> Path:
    root = (path.parent / Path(source.root or "").expanduser()).resolve()
    if not root.is_dir():
        raise DataError(f"source.root: expected a folder, received {root}, which is none")
    return root


def _columns(source: ManifestSource, names: list[str], path: Path) -> Columns:
    answer = source.target if source.mask is None else source.mask
    for key, name in (("image", source.image), ("target" if source.mask is None else "mask", answer)):
        if name not in names:
            raise DataError(f"{path}: expected a column {name!r} (source.{key}), received {', '.join(names)}")
    for key, optional in (("id", source.id), ("time", source.time)):
        if optional is not None and optional not in names:
            raise DataError(f"{path}: expected a column {optional!r} (source.{key}), received {', '.join(names)}")
    return Columns(
        image=source.image,
        target=answer,
        id=source.id,
        split=source.split if source.split in names else None,
        time=source.time,
        groups=rows.group_columns(names, source.groups, str(path)),
    )


# -- rows ------------------------------------------------------------------------------------------------------------


def _row(path: Path, index: int) -> str:
    """A row as people count: with the header as line 1, in CSV."""
    return f"{path}, row {index + 1}"


def _ids(table: pa.Table, columns: Columns, path: Path, start: int = 0) -> list[str]:
    name = columns.id or (columns.image if columns.image in table.column_names else None)
    if name is None:  # the images are in the table, and nothing names them
        return [f"row-{index:07d}" for index in range(start, start + len(table))]
    ids = [rows.text(value) for value in table.column(name).to_pylist()]
    if None in ids:
        raise DataError(f"{_row(path, start + ids.index(None))}: expected a value in {name!r}, received none")
    return [str(each) for each in ids]


def _classes(
    source: ManifestSource, table: pa.Table, columns: Columns, path: Path
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Class names, and each target's index among them (nothing for masks)."""
    if source.mask is not None:
        return source.names or _numbered(source, path, columns), {}
    kind = table.schema.field(columns.target).type if columns.target in table.column_names else pa.binary()
    if is_bytes(kind) or pa.types.is_nested(kind):
        raise DataError(f"{path}: expected names or numbers in {columns.target!r}, received {kind}")
    found: dict[str, int] = {}
    for index, value in enumerate(table.column(columns.target).to_pylist()):
        name = _class_name(value, _row(path, index), columns.target)
        found.setdefault(name, index)
    if source.names is None:
        classes = rows.ordered(found)
        return classes, rows.numbers(classes)
    number = {str(index): index for index in range(len(source.names))}
    unknown = next((name for name in found if name not in number), None)
    if unknown is not None:
        raise DataError(
            f"{_row(path, found[unknown])}: expected a number below {len(number)} (source.names), received {unknown!r}"
        )
    return source.names, number


def _class_name(value: Any, where: str, column: str) -> str:
    name = rows.text(value)
    if name is None:
        raise DataError(f"{where}: expected a class in {column!r}, received nothing; label it, or remove the row")
    if isinstance(value, float) and not value.is_integer():
        raise DataError(f"{where}: expected a class in {column!r}, a name or a whole number, received {value}")
    return name


def _numbered(source: ManifestSource, path: Path, columns: Columns) -> tuple[str, ...]:
    """`0`, `1`, … up to the largest value in a mask; raises DataError where masks have other values than these."""
    root = _root(source, path)
    used = np.zeros(_MOST_CLASSES + 2, dtype=bool)  # the last stands for all that is larger
    at = 0
    for part in parts(path, [columns.target]):
        values = part.column(columns.target).to_pylist()
        for start in range(0, len(values), _MASKS):
            some = values[start : start + _MASKS]
            files = [_file(value, root, _row(path, at + start + index)) for index, value in enumerate(some)]
            for mask in images.in_threads(masks.used, files):
                used[np.minimum(np.array(mask, dtype=np.int64), _MOST_CLASSES + 1)] = True
        at += len(values)
    found = np.flatnonzero(used).tolist() or [0]
    if found[-1] >= _MOST_CLASSES or 2 * len(found) < found[-1] + 1:
        names = ["background", *(f"class-{number}" for number in range(1, len(found)))][:_NAMED]
        keys = {"names": f"[{', '.join(names)}]", "values": str(found[:_NAMED])}
        entry = " and ".join(f"`{key}: {value}`" for key, value in keys.items())
        options = " ".join(f"-S '{key}={value}'" for key, value in keys.items())
        raise DataError(
            f"{path}: expected masks whose pixels are numbers of classes, 0, 1, 2 and so on, received values of "
            f"{masks.listed(found)} in column {columns.target!r}; say which value is which class, such as "
            f"{entry} under `source:` (`{options}`)"
        )
    return tuple(str(number) for number in range(found[-1] + 1))


def _file(value: Any, root: Path, where: str) -> bytes:
    """An image or mask: the bytes themselves, or those of the file that is named."""
    if isinstance(value, str) and value:
        return rows.inside(root, value, where).read_bytes()
    content = bytes_of(value)
    if content is None:
        raise DataError(f"{where}: expected an image, received nothing")
    return content


def _said(value: Any, column: str, index: int) -> str:
    """The name of a file, or what is in its place."""
    return named(value) if isinstance(value, str) else f"{column} of row {index + 1}"


def _rows(
    source: ManifestSource, path: Path, root: Path, columns: Columns, number: dict[str, int]
) -> Iterator[dict[str, Any] | Fault]:
    at = 0
    for part in parts(path, list(dict.fromkeys([columns.image, columns.target, *columns.small]))):
        ids = _ids(
            part.drop_columns([n for n in part.column_names if is_bytes(part.schema.field(n).type)]), columns, path, at
        )
        for index, values in enumerate(part.to_pylist()):
            where = _row(path, at + index)
            image = _file(values[columns.image], root, where)
            target: int | bytes | Fault
            if source.mask is None:
                target = number[_class_name(values[columns.target], where, columns.target)]
            else:
                mask = _file(values[columns.target], root, where)
                names = [_said(values[name], name, at + index) for name in (columns.image, columns.target)]
                target = masks.aligned(masks.File(image, names[0]), masks.File(mask, names[1]))
                if source.values is not None and isinstance(target, bytes):
                    target = masks.renumbered(masks.File(target, names[1]), source.values)
            if isinstance(target, Fault):
                yield target
                continue
            yield {
                "id": ids[index],
                "image": image,
                "target": target,
                "published": rows.published(rows.text(values[columns.split]) if columns.split else None, where),
                **{group: rows.text(values[name]) for group, name in columns.groups.items()},
                **({"time": rows.seconds(values[columns.time], where)} if columns.time else {}),
            }
        at += len(ids)
