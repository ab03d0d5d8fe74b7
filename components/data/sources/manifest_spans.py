"""Entities of a manifest's texts: one row per text, with a list of what is named in it.

Two passes: lists are read first and held, texts follow a table at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from components.config import ManifestSource
from components.data.errors import DataError
from components.data.sources.base import limits, rows
from components.data.sources.base.faults import Fault, Faults, Kind, named, shown
from components.data.sources.base.form import SourceData, schema
from components.data.sources.tables.manifest_tables import Table
from components.data.sources.tables.spans import NO_CLASS, Span, of_cell
from components.data.sources.tables.tabular import parts

NO_ID = Kind("row", "rows", "with an id", "without one")
ID_TWICE = Kind("row", "rows", "with an id of their own", "whose id another row has too")
NO_TEXT = Kind("row", "rows", "with a text", "without one")
TOO_LONG = Kind("row", "rows", f"with a text of at most {limits.TEXT:,} bytes", "with a longer one")


@dataclass(frozen=True)
class Listed:
    """A row that is a sample, and the entities in it."""

    id: str
    spans: tuple[Span, ...]


def texts(source: ManifestSource, tables: list[Table], where: str) -> SourceData:
    """The texts of these tables; `where` names them in messages."""
    faults = Faults(where, source.faulty)
    seen: dict[str, str] = {}
    listed = [_listed(table, source, faults, seen, several=len(tables) > 1) for table in tables]
    faults.tell()
    names = source.names or rows.ordered(span.label for each in listed for row in each.values() for span in row.spans)
    if not names:
        raise DataError(f"{where}: expected entities in {source.spans!r} (source.spans), received texts without any")
    number = rows.numbers(names if source.names is None else map(str, range(len(names))))
    groups, timed = tuple(sorted({group for each in tables for group in each.columns.groups})), source.time is not None
    every = (
        row for table, each in zip(tables, listed, strict=True) for row in _rows(table, each, source, number, groups)
    )
    taken = rows.tables(schema("tags", groups, timed, "text"), every)
    return SourceData(names, "tags", taken, groups, timed, faults.notes, given="text")


def target(spans: tuple[Span, ...], number: dict[str, int]) -> list[dict[str, int]]:
    """As `components.targets.tags` stores it."""
    return [{"start": each.start, "end": each.end, "label": number[each.label]} for each in spans]


def _listed(
    table: Table, source: ManifestSource, faults: Faults, seen: dict[str, str], *, several: bool
) -> dict[int, Listed]:
    """Row → its id and entities, of the rows that are samples."""
    columns, found, at = table.columns, dict[int, Listed](), 0
    before = f"{table.split}/" if several else ""
    asked = [str(source.text), str(source.spans), *([columns.id] if columns.id else [])]
    for part in parts(table.path, list(dict.fromkeys(asked))):
        for index, row in enumerate(part.to_pylist(), start=at):
            where, text = table.row(index), row[source.text]
            name = rows.text(row[columns.id]) if columns.id else f"row-{index:07d}"
            if (wrong := _wrong(name, text, before, where, seen)) is not None:
                faults.add(wrong)
                continue
            limits.check_rows(table.path, index + 1, table.path.stat().st_size)
            seen[f"{before}{name}"] = where
            spans = tuple(faults.kept(of_cell(row[source.spans], text, where, table.where(index))))
            found[index] = Listed(f"{before}{name}", tuple(faults.kept(_known(each, source) for each in spans)))
        at += len(part)
    return found


def _wrong(name: str | None, text: str | None, before: str, where: str, seen: dict[str, str]) -> Fault | None:
    if name is None:
        return Fault(NO_ID, where)
    if not text:
        return Fault(NO_TEXT, where)
    if (size := len(text.encode("utf-8", "surrogatepass"))) > limits.TEXT:
        return Fault(TOO_LONG, f"{where} has {size:,}")
    if (first := seen.get(f"{before}{name}")) is not None:
        return Fault(ID_TWICE, f"{where} is {named(name)} again, as {first}")
    return None


def _known(span: Span, source: ManifestSource) -> Span | Fault:
    """Raised against the classes that `source.names` numbers."""
    names = source.names
    if names is None or (
        span.label.isdecimal() and str(int(span.label)) == span.label and int(span.label) < len(names)
    ):
        return span
    return Fault(NO_CLASS, f"{span.where} has {shown(span.label)}, expected a number below {len(names)}")


def _rows(
    table: Table, listed: dict[int, Listed], source: ManifestSource, number: dict[str, int], groups: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    columns, at = table.columns, 0
    for part in parts(table.path, list(dict.fromkeys([str(source.text), *columns.small]))):
        for index, values in enumerate(part.to_pylist(), start=at):
            if index not in listed:
                continue
            where = table.where(index)
            published = rows.text(values[columns.split]) if columns.split else table.split
            yield {
                "id": listed[index].id,
                "text": values[source.text],
                "target": target(listed[index].spans, number),
                "published": rows.published(published, where),
                **{group: rows.text(values.get(columns.groups.get(group, ""))) for group in groups},
                **({"time": rows.seconds(values[columns.time], where)} if columns.time else {}),
            }
        at += len(part)
