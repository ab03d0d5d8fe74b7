"""The labels that stand in each row of a manifest's tables, any number of them → class names, and their indices.

A column holds a list, a text with something between the names, or a text that is a list (JSON's, or Python's as pandas
writes it). Or there is a column a class, with 1 where a row has it and 0 where it has not. A row of no label is sound.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.config import ManifestSource
from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Kind, shown
from components.data.sources.tables.labels import NO_NAME, UNNAMED, truth
from components.data.sources.tables.manifest_tables import Table
from components.data.sources.tables.parquet import holds_lists
from components.data.sources.tables.tabular import is_bytes

NO_LIST = Kind("row", "rows", "of labels that are a list of names or whole numbers", "of something else")
NO_MARK = Kind("row", "rows", "in which each class's column is 1 or 0", "in which one is something else")

Labels = tuple[str, ...]


class Several:
    """The labels of all rows, gathered table by table."""

    def __init__(self, source: ManifestSource) -> None:
        self._source = source
        self._columns = source.label_columns
        self._marks = not isinstance(source.labels, str)
        self._found: dict[Path, list[Labels | Fault]] = {}
        self._number: dict[str, int] = {}

    def columns(self, table: Table) -> list[str]:
        """Those that hold labels."""
        return list(self._columns)

    def add(self, table: Table, content: pa.Table) -> None:
        """Read the labels of a table; raises DataError where its columns can hold none."""
        for name in self._columns:
            kind = content.schema.field(name).type
            if is_bytes(kind) or (pa.types.is_nested(kind) and (self._marks or not holds_lists(kind))):
                raise DataError(f"{table.path}: expected labels in {name!r} (source.labels), received {kind}")
        columns = [content.column(name).to_pylist() for name in self._columns]
        self._found[table.path] = [
            self._marked(values, table, index) if self._marks else self._listed(values[0], table, index)
            for index, values in enumerate(zip(*columns, strict=True))
        ]

    def of(self, table: Table, index: int) -> Labels | Fault:
        """A row's labels as they stand there, or what is wrong with them."""
        return self._found[table.path][index]

    def classes(self, where: str) -> Labels:
        """The classes that there are: as named, or all that occur in order; raises DataError where none does."""
        if self._source.names is not None:
            every = self._source.names
            self._number = {str(index): index for index in range(len(every))}
            return every
        labels = (each for found in self._found.values() for row in found if isinstance(row, tuple) for each in row)
        every = self._columns if self._marks else rows.ordered(labels)
        if not every:
            raise DataError(f"{where}: expected labels in {self._columns[0]!r} (source.labels), received none at all")
        self._number = rows.numbers(every)
        return every

    def target(self, table: Table, index: int) -> list[int]:
        """The indices of a sound row's labels."""
        found = self.of(table, index)
        return sorted(self._number[name] for name in found) if isinstance(found, tuple) else []

    def _listed(self, value: Any, table: Table, index: int) -> Labels | Fault:
        found = parted(value, self._source.separator)
        if found is None:
            return Fault(NO_LIST, f"{table.row(index)} has {shown(value)} in {self._columns[0]!r}")
        names: list[str] = []
        for each in found:
            name = rows.text(each.strip() if isinstance(each, str) else each)
            if isinstance(each, bool | list | dict) or (isinstance(each, float) and name and not each.is_integer()):
                return Fault(NO_NAME, f"{table.row(index)} has {shown(each)} in {self._columns[0]!r}")
            if name is None:
                continue
            given = self._source.names
            if given is not None and not (name.isdecimal() and str(int(name)) == name and int(name) < len(given)):
                return Fault(UNNAMED, f"{table.row(index)} has {shown(name)}, expected a number below {len(given)}")
            names.append(name)
        return tuple(dict.fromkeys(names))

    def _marked(self, values: tuple[Any, ...], table: Table, index: int) -> Labels | Fault:
        marks = [truth(value) for value in values]
        if None in marks:
            place = marks.index(None)
            return Fault(NO_MARK, f"{table.row(index)} has {shown(values[place])} in {self._columns[place]!r}")
        names = self._columns if self._source.names is None else [str(place) for place in range(len(marks))]
        return tuple(name for name, mark in zip(names, marks, strict=True) if mark)


def parted(value: Any, separator: str | None) -> Sequence[Any] | None:
    """The parts of a cell: of a list, of a text with `separator` between them, of a text that is a list.

    A text of neither kind is one part, and nothing at all is none. None for a list that is not closed.
    """
    if value is None or isinstance(value, list):
        return value or ()
    if not isinstance(value, str):
        return (value,)
    text = value.strip()
    if separator is not None and not is_list(text):
        return text.split(separator) if separator.strip() else text.split()
    if not text.startswith("["):
        return (text,)
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def is_list(text: str) -> bool:
    return text.startswith("[") and text.endswith("]")
