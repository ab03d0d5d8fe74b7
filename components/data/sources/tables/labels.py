"""What stands as the class of each row of a manifest's tables → class names, and each row's index among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from components.config import ManifestSource
from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Kind, shown
from components.data.sources.tables.manifest_tables import Table
from components.data.sources.tables.tabular import is_bytes

NO_CLASS = Kind("row", "rows", "with a class", "without one")
NO_NAME = Kind("row", "rows", "whose class is a name or a whole number", "of something else")
UNNAMED = Kind("row", "rows", "of the classes that `source.names` numbers", "of another")
NOT_ONE = Kind("row", "rows", "in which one class's column is 1 and the others are 0", "in which several are, or none")
_MANY = 4  # columns of an example in a message


class Labels:
    """The classes of all rows, gathered table by table; of masks nothing is."""

    def __init__(self, source: ManifestSource) -> None:
        self._source = source
        self._targets = (source.target,) if isinstance(source.target, str) else source.target
        self._found: dict[Path, list[str | Fault]] = {}
        self._number: dict[str, int] = {}

    def columns(self, table: Table) -> list[str]:
        """Those that hold classes."""
        return [] if self._source.mask is not None else list(self._targets)

    def add(self, table: Table, content: pa.Table) -> None:
        """Read the classes of a table; raises DataError where its column can hold none."""
        if self._source.mask is not None:
            return
        for name in self._targets:
            kind = content.schema.field(name).type
            if is_bytes(kind) or pa.types.is_nested(kind):
                raise DataError(f"{table.path}: expected names or numbers in {name!r}, received {kind}")
        columns = [content.column(name).to_pylist() for name in self._targets]
        if len(columns) == 1 and isinstance(self._source.target, str):
            found = [self._class(value, table, index) for index, value in enumerate(columns[0])]
        else:
            found = [self._marked(values, table, index) for index, values in enumerate(zip(*columns, strict=True))]
        self._found[table.path] = found

    def of(self, table: Table, index: int) -> str | Fault:
        """A row's class as it stands there, or what is wrong with it."""
        return "" if self._source.mask is not None else self._found[table.path][index]

    def classes(self, where: str) -> tuple[str, ...]:
        """The classes that there are: as named, or all that occur in order."""
        if self._source.names is None:
            if isinstance(self._source.target, str):
                every = rows.ordered(each for found in self._found.values() for each in found if isinstance(each, str))
            else:
                every = self._targets
            self._number = rows.numbers(every)
            return every
        self._number = {str(index): index for index in range(len(self._source.names))}
        return self._source.names

    def target(self, table: Table, index: int) -> int:
        """The index of a sound row's class."""
        return self._number[str(self.of(table, index))]

    def _class(self, value: Any, table: Table, index: int) -> str | Fault:
        name = rows.text(value)
        if name is None:
            return Fault(NO_CLASS, f"{table.row(index)} has nothing in {self._targets[0]!r}")
        if isinstance(value, float) and not value.is_integer():
            return Fault(NO_NAME, f"{table.row(index)} has {value} in {self._targets[0]!r}")
        names = self._source.names
        if names is not None and not (name.isdecimal() and str(int(name)) == name and int(name) < len(names)):
            return Fault(UNNAMED, f"{table.row(index)} has {shown(name)}, expected a number below {len(names)}")
        return name

    def _marked(self, values: tuple[Any, ...], table: Table, index: int) -> str | Fault:
        """The column that is 1 where the others are 0."""
        numbers = [truth(value) for value in values]
        if None not in numbers and sum(map(bool, numbers)) == 1:
            place = numbers.index(True)
            return self._targets[place] if self._source.names is None else str(place)
        marked = [name for name, number in zip(self._targets, numbers, strict=True) if number]
        if None in numbers:
            place = numbers.index(None)
            return Fault(NOT_ONE, f"{table.row(index)} has {shown(values[place])} in {self._targets[place]!r}")
        said = " and ".join(map(repr, marked[:_MANY])) + (f" and {len(marked) - _MANY} more" if marked[_MANY:] else "")
        return Fault(NOT_ONE, f"{table.row(index)} is {said or 'none of them'}")


def truth(value: Any) -> bool | None:
    """0, 1, and how else they are written; None for anything else."""
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true"):
        return True
    return False if text in ("0", "0.0", "false", "", "none") else None
