"""The numbers that stand in each row of a manifest's tables, column by column."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.config import ManifestSource
from components.data.errors import DataError
from components.data.sources.base.faults import Fault, Kind, shown
from components.data.sources.tables.manifest_tables import Table
from components.data.sources.tables.tabular import is_bytes

NO_NUMBER = Kind("row", "rows", "of finite numbers", "with something else")


class Numbers:
    """The values of all rows, gathered table by table."""

    def __init__(self, source: ManifestSource) -> None:
        self._named = tuple(source.numbers)
        self._found: dict[Path, list[tuple[float, ...] | Fault]] = {}

    def columns(self, table: Table) -> list[str]:
        """Those that hold numbers."""
        return list(self._named)

    def add(self, table: Table, content: pa.Table) -> None:
        """Read the numbers of a table; raises DataError where a column can hold none."""
        for name in self._named:
            kind = content.schema.field(name).type
            if is_bytes(kind) or pa.types.is_nested(kind):
                raise DataError(f"{table.path}: expected numbers in {name!r}, received {kind}")
        columns = [content.column(name).to_pylist() for name in self._named]
        self._found[table.path] = [
            self._values(values, table, index) for index, values in enumerate(zip(*columns, strict=True))
        ]

    def of(self, table: Table, index: int) -> tuple[float, ...] | Fault:
        """A row's numbers, or what is wrong with them."""
        return self._found[table.path][index]

    def target(self, table: Table, index: int) -> list[float]:
        """A sound row's numbers, as they are stored."""
        return [value for value in self._found[table.path][index] if isinstance(value, float)]  # type: ignore[union-attr]

    def _values(self, values: tuple[Any, ...], table: Table, index: int) -> tuple[float, ...] | Fault:
        found = [number(value) for value in values]
        if None not in found:
            return tuple(value for value in found if value is not None)
        place = found.index(None)
        said = "nothing" if values[place] in (None, "") else shown(values[place])
        return Fault(NO_NUMBER, f"{table.row(index)} has {said} in {self._named[place]!r}")


def number(value: Any) -> float | None:
    """A finite number, or a text that is one, with a point; None for anything else."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value.strip() if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
