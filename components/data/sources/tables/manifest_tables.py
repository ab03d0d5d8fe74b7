"""Which tables a manifest is, which of their columns is what, and where the names in them lead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from components.artifacts import SPLITS, Split
from components.config import ManifestSource
from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import MANY, some
from components.data.sources.base.named_files import Names
from components.data.sources.tables import tabular
from components.data.sources.tables.tabular import SUFFIXES, is_bytes


@dataclass(frozen=True)
class Columns:
    """Which of a manifest's columns is what; None: there is none."""

    given: str  # an image or a text
    id: str | None
    split: str | None
    time: str | None
    groups: dict[str, str]  # group → column

    @property
    def small(self) -> list[str]:
        """Those that hold neither inputs nor masks, as far as can be told from their names."""
        named = [self.id, self.split, self.time, *self.groups.values()]
        return list(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True)
class Table:
    """One table, and the split that it is of where it is one of several."""

    path: Path
    split: Split | None
    columns: Columns
    names: Names
    names_of_files: list[str]  # columns of images and masks that name them

    def row(self, index: int) -> str:
        """A row as people count: with the header as line 1, in CSV."""
        return f"row {index + 1}" if self.split is None else f"{self.path.name} of {self.split}, row {index + 1}"

    def where(self, index: int) -> str:
        """The same, with the whole path."""
        return f"{self.path}, row {index + 1}"


def tables_of(source: ManifestSource, path: Path) -> list[Table]:
    """The table at `path`, or in it; one a split where the section names several."""
    if isinstance(source.table, dict):
        named = source.table
        return [_table(source, _inside(path, named[split]), split) for split in SPLITS if split in named]
    return [_table(source, _only(path) if source.table is None else _inside(path, source.table), None)]


def _inside(path: Path, name: str) -> Path:
    if not path.is_dir():
        raise DataError(f"{path}: expected a folder with the tables that source.table names, received a file")
    return rows.inside(path, name, "source.table")


def _only(path: Path) -> Path:
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


def _table(source: ManifestSource, path: Path, split: Split | None) -> Table:
    form = tabular.columns(path)
    columns = _columns(source, form.names, path)
    if source.text is not None:
        _check_texts(form.field(source.text), path)
        return Table(path, split, columns, Names(_roots(source, path)), [])
    pictures = [name for name in (source.image, source.mask) if name is not None]
    for name in pictures:
        kind = form.field(name).type
        if form.field(name).type.num_fields and not is_bytes(kind):
            raise DataError(
                f"{path}: expected files in column {name!r}, their names or their bytes, received {kind}, numbers that "
                "are pixels of an unknown shape; save each picture as the bytes of a PNG, or all of them as NumPy "
                'arrays with `numpy.savez("data.npz", images=…, labels=…)`'
            )
    named = [name for name in pictures if not is_bytes(form.field(name).type) and source.encoding is None]
    return Table(path, split, columns, Names(_roots(source, path), source.prefix or ""), named)


def _check_texts(column: pa.Field, path: Path) -> None:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not pa.types.is_string(kind) and not pa.types.is_large_string(kind):
        raise DataError(f"{path}: expected texts in column {column.name!r} (source.text), received {kind}")


def _roots(source: ManifestSource, path: Path) -> tuple[Path, ...]:
    named = (source.root or "",) if isinstance(source.root, str | None) else source.root
    roots = tuple((path.parent / Path(each).expanduser()).resolve() for each in named)
    for root in roots:
        if not root.is_dir():
            raise DataError(f"source.root: expected a folder, received {root}, which is none")
    return roots


def _columns(source: ManifestSource, names: list[str], path: Path) -> Columns:
    targets = [source.target] if isinstance(source.target, str) else list(source.target)
    answers = [("target", name) for name in targets] if source.mask is None else [("mask", source.mask)]
    answers = [("numbers", name) for name in source.numbers] or answers
    answers = [("labels", name) for name in source.label_columns] or answers
    if source.box or source.objects:
        answers = (
            [("objects", source.objects)] if source.objects else [*(("box", each) for each in source.box), *answers]
        )
    optional = [(key, name) for key, name in (("id", source.id), ("time", source.time)) if name is not None]
    given = ("image", source.image) if source.text is None else ("text", source.text)
    for key, name in [given, *answers, *optional]:
        if name not in names:
            raise DataError(
                f"{path}: expected a column {name!r} (source.{key}), received {some(names, MANY) or 'none'}"
            )
    return Columns(
        given=given[1],
        id=source.id,
        split=source.split if source.split in names else None,
        time=source.time,
        groups=rows.group_columns(names, source.groups, str(path)),
    )
