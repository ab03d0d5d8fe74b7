"""A table with a row a sample: CSV, TSV, JSON or Parquet, images beside it or, in Parquet, inside of it; texts inside.

Two passes: names and labels are read first and held, images and texts follow a table at a time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.config import ManifestSource
from components.data.errors import DataError
from components.data.sources.annotations import mask_files
from components.data.sources.annotations.frames import MISSING
from components.data.sources.base import limits, rows
from components.data.sources.base.faults import Fault, Faults, Kind, named, shown
from components.data.sources.base.form import IMAGE, SourceData, schema
from components.data.sources.layouts import manifest as layouts
from components.data.sources.places import place
from components.data.sources.tables.labels import Labels
from components.data.sources.tables.manifest_tables import Table, tables_of
from components.data.sources.tables.numbers import Numbers
from components.data.sources.tables.several import Several
from components.data.sources.tables.tabular import SUFFIXES, bytes_of, count, held, parts

LAYOUTS = layouts.LAYOUTS

Answers = Labels | Several | Numbers

NO_NAME = Kind("row", "rows", "that name their picture", "without its name")
TWICE = Kind("row", "rows", "of a picture each", "whose picture another row has too")
NO_ID = Kind("row", "rows", "with an id", "without one")
ID_TWICE = Kind("row", "rows", "with an id of their own", "whose id another row has too")
NO_TEXT = Kind("row", "rows", "with a text", "without one")
TOO_LONG = Kind("row", "rows", f"with a text of at most {limits.TEXT:,} bytes", "with a longer one")
NO_BASE64 = Kind("row", "rows", "whose picture is base64", "of something else")
_ASKED = 8  # names that are looked for elsewhere


def read(source: ManifestSource, project: Path) -> SourceData:
    path = place.local(source, project)
    tables = tables_of(source, path)
    where = str(path if len(tables) > 1 else tables[0].path)
    if source.box or source.objects:
        from components.data.sources.manifest_boxes import pictures

        return pictures(source, tables, where)
    groups = tuple(sorted({group for each in tables for group in each.columns.groups}))
    faults = Faults(where, source.faulty)
    labels: Answers = Labels(source)
    if source.numbers or source.labels:
        labels = Numbers(source) if source.numbers else Several(source)
    listed = [_listed(each, labels, several=len(tables) > 1) for each in tables]
    left = _left(listed, labels, faults, source)
    kind, classes, about = "mask", source.names or (), dict[str, Any]()
    if isinstance(labels, Numbers):
        kind, about = "values", {"names": tuple(source.numbers), "units": tuple(source.numbers.values())}
    elif source.mask is None:
        kind, classes = "class" if isinstance(labels, Labels) else "labels", labels.classes(where)
    else:
        classes, about = classes or _numbered(source, tables, where), mask_files.about(source.ignore)
    given, timed = IMAGE if source.text is None else "text", source.time is not None
    every = (
        row for each, skipped in zip(listed, left, strict=True) for row in _rows(each, skipped, labels, source, groups)
    )
    taken = rows.tables(schema(kind, groups, timed, given), faults.sound(every))
    return SourceData(classes, kind, taken, groups, timed, faults.notes, about=about, given=given)


def listing(source: ManifestSource, project: Path) -> str | None:
    """As `place.listing`, the images being counted wherever they lie: of a local table, those that it names."""
    path = None if place.is_remote(source.path) else place.located(source, project)
    if path is not None and path.is_file() and path.suffix.lower() in SUFFIXES:
        (table,) = tables_of(source, path)
        return place.touched([path, *_named(table)])
    there = place.listing(source, project)
    roots = (source.root,) if isinstance(source.root, str) else source.root or ()
    apart = [root for root in (Path(each).expanduser() for each in roots) if root.is_absolute()]
    if there is None or not apart:
        return there
    files = [file for root in apart for file in place.files_of(root)]
    return hashlib.sha256((there + place.touched(files)).encode()).hexdigest()


def _named(table: Table) -> Iterator[Path]:
    """The files that a table names."""
    for values in held(table.path, table.names_of_files).to_pydict().values():
        for value in values:
            if value:
                yield table.names.path(str(value)) or table.names.roots[0] / str(value)


# -- the first pass --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Listed:
    """The rows of a table: their ids (None: nothing names the sample), and the names that lead to no file."""

    table: Table
    ids: list[str | None]
    missing: dict[int, str]


def _listed(table: Table, labels: Answers, *, several: bool) -> Listed:
    """What a table's rows name; what their classes are is kept by `labels`."""
    columns = table.columns
    lists = labels.columns(table) if isinstance(labels, Several) else []
    content = held(table.path, [*columns.small, *table.names_of_files, *labels.columns(table)], lists)
    before = f"{table.split}/" if several else ""
    name = columns.id or (columns.given if columns.given in table.names_of_files else None)
    if name is None:  # images or texts are in the table, and nothing names them
        rows_there = len(content) if content.num_columns else count(table.path)
        ids: list[str | None] = [f"{before}row-{index:07d}" for index in range(rows_there)]
    else:
        texts = [rows.text(value) for value in content.column(name).to_pylist()]
        ids = [None if text is None else before + text for text in texts]
    missing: dict[int, str] = {}
    for column in table.names_of_files:
        for index, value in enumerate(content.column(column).to_pylist()):
            if value is None or table.names.path(str(value)) is None:
                missing.setdefault(index, "" if value is None else str(value))
    labels.add(table, content)
    return Listed(table, ids, missing)


def _left(listed: list[Listed], labels: Answers, faults: Faults, source: ManifestSource) -> list[set[int]]:
    """The rows of each table that cannot be used; what is wrong with them is told by `faults`."""
    left: list[set[int]] = [set() for _ in listed]
    first: dict[str, tuple[int, int]] = {}
    no_name, twice = (NO_NAME, TWICE) if source.text is None else (NO_ID, ID_TWICE)
    for at, each in enumerate(listed):
        _refuse_misnamed(each, source)
        for index, name in enumerate(each.ids):
            where, label = each.table.row(index), labels.of(each.table, index)
            if name is None:
                faults.add(Fault(no_name, f"{where} has nothing in {each.table.columns.id or source.image!r}"))
            elif isinstance(label, Fault):
                faults.add(label)
            elif index in each.missing:
                faults.add(Fault(MISSING, f"{where}, {named(each.missing[index]) or 'nothing'}"))
            elif name in first:
                before, row = first[name]
                other = labels.of(listed[before].table, row)
                says = f"{where} is {named(name)} again, as {listed[before].table.row(row)}"
                if label != other:
                    says += f", and {shown(label)} instead of {shown(other)}"
                    if row not in left[before]:  # nobody knows which is right
                        faults.add(Fault(twice, f"{listed[before].table.row(row)}, which {where} contradicts"))
                    left[before].add(row)
                faults.add(Fault(twice, says))
            else:
                first[name] = (at, index)
                continue
            left[at].add(index)
    faults.tell()
    return left


def _refuse_misnamed(each: Listed, source: ManifestSource) -> None:
    """Raises DataError where names are meant otherwise than they are read; single files may be missing."""
    names = {index: name for index, name in each.missing.items() if name}
    if not names or (source.faulty == "skip" and len(names) < len(each.ids)):
        return
    some = list(names.values())
    hint = each.table.names.hint(some[:: max(1, len(some) // _ASKED)])
    if hint is not None:
        raise DataError(f"{each.table.where(next(iter(names)))}: {hint}")


def _numbered(source: ManifestSource, tables: list[Table], where: str) -> tuple[str, ...]:
    """`0`, `1`, … up to the largest value in a mask; raises DataError where masks have other values than these."""
    column = str(source.mask)

    def contents() -> Iterator[bytes]:
        for table in tables:
            at = 0
            for part in parts(table.path, [column]):
                for index, value in enumerate(part.column(column).to_pylist()):
                    if value and (not isinstance(value, str) or table.names.path(value)):
                        content = _file(value, table, source, at + index)
                        yield content if isinstance(content, bytes) else b""
                at += len(part)

    return mask_files.numbered(contents(), where, f"column {column!r}", source.ignore)


# -- the second ------------------------------------------------------------------------------------------------------


def _rows(
    listed: Listed, left: set[int], labels: Answers, source: ManifestSource, groups: tuple[str, ...]
) -> Iterator[dict[str, Any] | Fault]:
    table, columns, at = listed.table, listed.table.columns, 0
    answer = [] if source.mask is None else [source.mask]
    for part in parts(table.path, list(dict.fromkeys([columns.given, *answer, *columns.small]))):
        for index, values in enumerate(part.to_pylist(), start=at):
            if index in left:
                continue
            found = _answered(table, values, index, labels, source)
            if isinstance(found, Fault):
                yield found
                continue
            content, target = found
            where = table.where(index)
            published = rows.text(values[columns.split]) if columns.split else table.split
            yield {
                "id": listed.ids[index],
                "image" if source.text is None else "text": content,
                "target": target,
                "published": rows.published(published, where),
                **{group: rows.text(values.get(columns.groups.get(group, ""))) for group in groups},
                **({"time": rows.seconds(values[columns.time], where)} if columns.time else {}),
            }
        at += len(part)


def _answered(
    table: Table, values: dict[str, Any], index: int, labels: Answers, source: ManifestSource
) -> tuple[bytes | str, int | list[int] | list[float] | bytes] | Fault:
    """A row's image or text, and its class, labels, numbers or mask."""
    if source.text is not None:
        text = _text(values[source.text], table, index)
        return text if isinstance(text, Fault) else (text, labels.target(table, index))
    image = _file(values[table.columns.given], table, source, index)
    if isinstance(image, Fault):
        return image
    if source.mask is None:
        return image, labels.target(table, index)
    mask = _file(values[source.mask], table, source, index)
    if isinstance(mask, Fault):
        return mask
    said = [_said(values[name], name, index) for name in (table.columns.given, source.mask)]
    picture, answer = mask_files.File(image, said[0]), mask_files.File(mask, said[1])
    target = mask_files.target(picture, answer, source.values, source.ignore)
    return target if isinstance(target, Fault) else (image, target)


def _text(value: str | None, table: Table, index: int) -> str | Fault:
    """A text as it stands there; nothing at all is a missing one."""
    if not value:
        return Fault(NO_TEXT, table.row(index))
    size = len(value.encode("utf-8", "surrogatepass"))
    return value if size <= limits.TEXT else Fault(TOO_LONG, f"{table.row(index)} has {size:,}")


def _file(value: Any, table: Table, source: ManifestSource, index: int) -> bytes | Fault:
    """An image or mask: the bytes themselves, or those of the file that is named."""
    if isinstance(value, str) and value and source.encoding == "base64":
        try:
            return base64.b64decode(value.partition(";base64,")[2] or value, validate=False)
        except binascii.Error:
            return Fault(NO_BASE64, f"{table.row(index)}, {shown(value)}")
    if isinstance(value, str) and value:
        return table.names.file(value, table.where(index)).read_bytes()
    content = bytes_of(value)
    if content is None:
        return Fault(MISSING, f"{table.row(index)}, nothing")
    return content


def _said(value: Any, column: str, index: int) -> str:
    """The name of a file, or what is in its place."""
    return named(value) if isinstance(value, str) else f"{column} of row {index + 1}"
