"""Boxes of a manifest's pictures: one row per object, or one row per picture with a list of its objects.

A picture whose row has no box, or an empty list, shows no object. Of a picture with several rows the first says its
split, groups and time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import decoding
from components.config import ManifestSource
from components.data.errors import DataError
from components.data.sources.annotations import boxes, frames, objects
from components.data.sources.annotations.frames import Frame
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Faults, Kind, named, shown
from components.data.sources.base.form import SourceData, schema
from components.data.sources.tables.manifest_tables import Table
from components.data.sources.tables.objects import NO_CLASS, Listed, of_cell, of_row
from components.data.sources.tables.tabular import bytes_of, held, parts

NO_NAME = Kind("row", "rows", "that name their picture", "without its name")
TWICE = Kind("row", "rows", "of a picture each", "whose picture another row has too")
OTHERWISE = Kind("row", "rows", "of their picture's split, groups and time", "that say otherwise than its first row")


@dataclass
class Picture:
    """One picture and what is listed in it; `frame` is None until its header has been read."""

    id: str
    table: Table
    row: int  # its first
    file: Path | None  # None: its bytes are in the table
    values: dict[str, Any]  # of the split, the groups and the time, as they stand there
    listed: list[Listed] = field(default_factory=list)
    frame: Frame | None = None
    objects: list[objects.Object] = field(default_factory=list)


def pictures(source: ManifestSource, tables: list[Table], where: str) -> SourceData:
    """The pictures of these tables; `where` names them in messages."""
    faults = Faults(where, source.faulty)
    found: dict[str, Picture] = {}
    for table in tables:
        _add(found, table, source, faults, several=len(tables) > 1)
    framed = list(faults.kept(_framed(found)))
    _place(framed, source, faults, where)
    faults.tell()
    names = source.names or rows.ordered(each.label for one in framed for each in one.objects if not each.ignored)
    if not any(one.objects for one in framed):
        raise DataError(f"{where}: expected objects, received {len(framed):,} pictures without any")
    labels = names if source.names is None else tuple(map(str, range(len(names))))
    groups = tuple(sorted({group for each in tables for group in each.columns.groups}))
    timed = source.time is not None
    taken = rows.tables(schema("boxes", groups, timed), _rows(framed, rows.numbers(labels), source, groups))
    return SourceData(names, "boxes", taken, groups, timed, faults.notes)


# -- rows → pictures -------------------------------------------------------------------------------------------------


def _add(found: dict[str, Picture], table: Table, source: ManifestSource, faults: Faults, *, several: bool) -> None:
    """What a table's rows list; several rows of one picture are one."""
    columns = table.columns
    own = [*source.box, str(source.target)] if source.box else [str(source.objects)]
    content = held(table.path, list(dict.fromkeys([*columns.small, *table.names_of_files, *own])))
    if source.box and not table.names_of_files:
        raise DataError(
            f"{table.path}: expected names of pictures in {columns.given!r} beside one box per row, received bytes"
        )
    before = f"{table.split}/" if several else ""
    for index, row in enumerate(content.to_pylist()):
        name = (
            rows.text(row.get(columns.id or columns.given))
            if columns.id or table.names_of_files
            else f"row-{index:07d}"
        )
        if name is None:
            faults.add(Fault(NO_NAME, f"{table.row(index)} has nothing in {columns.id or columns.given!r}"))
            continue
        values = {key: row.get(key) for key in (columns.split, columns.time, *columns.groups.values()) if key}
        picture = found.get(before + name)
        if picture is None:
            file = _file(row, table, index) if table.names_of_files else None
            if isinstance(file, Fault):
                faults.add(file)
                continue
            picture = found.setdefault(before + name, Picture(before + name, table, index, file, values))
        elif not source.box:
            faults.add(Fault(TWICE, f"{table.row(index)} is {named(name)} again, as {table.row(picture.row)}"))
            continue
        elif picture.values != values:
            faults.add(Fault(OTHERWISE, f"{table.row(index)}, of {named(name)}"))
            continue
        if source.box:
            listed = of_row([row[key] for key in source.box], row[str(source.target)], table.row(index), source)
        else:
            listed = of_cell(row[str(source.objects)], table.row(index), table.where(index), source)
        picture.listed.extend(faults.kept(listed))


def _file(row: Mapping[str, Any], table: Table, index: int) -> Path | Fault:
    name = row[table.columns.given]
    if name is None or table.names.path(str(name)) is None:
        if name is not None and (said := table.names.hint([str(name)])) is not None:
            raise DataError(f"{table.where(index)}: {said}")
        return Fault(frames.MISSING, f"{table.row(index)}, {named(str(name or '')) or 'nothing'}")
    return table.names.file(str(name), table.where(index))


def _framed(found: Mapping[str, Picture]) -> Iterator[Picture | Fault]:
    """The pictures with their sizes, by their headers."""
    files = [each for each in found.values() if each.file is not None]

    def framed(each: Picture) -> Picture | Fault:
        frame = frames.frame(each.file or Path(), (None, None), f"{each.table.row(each.row)}, {named(each.id)}")
        if isinstance(frame, Fault):
            return frame
        each.frame = frame
        return each

    yield from rows.in_order(framed, files)
    for table, kept in _in_tables(found.values()):
        for index, content in _contents(table):
            if index not in kept:
                continue
            try:
                size = decoding.header(content or b"").size
            except decoding.UndecodableError as error:
                yield Fault(frames.UNREADABLE, f"{table.row(index)} {error}")
                continue
            kept[index].frame = Frame(Path(), size, size, 1)
            yield kept[index]


def _in_tables(found: Any) -> list[tuple[Table, dict[int, Picture]]]:
    """The tables that hold pictures, and of each its pictures by row."""
    tables: dict[Path, tuple[Table, dict[int, Picture]]] = {}
    for each in found:
        if each.file is None:
            tables.setdefault(each.table.path, (each.table, {}))[1][each.row] = each
    return list(tables.values())


def _contents(table: Table) -> Iterator[tuple[int, bytes | None]]:
    at = 0
    for part in parts(table.path, [table.columns.given]):
        for index, value in enumerate(part.column(table.columns.given), start=at):
            yield index, bytes_of(value.as_py())
        at += len(part)


# -- what is in them -------------------------------------------------------------------------------------------------


def _place(framed: list[Picture], source: ManifestSource, faults: Faults, where: str) -> None:
    """Add the objects, their boxes in pixels."""
    taken = [(each, one) for each in framed for one in each.listed]
    for form in dict.fromkeys(one.form for _, one in taken):
        some = [(each, one) for each, one in taken if one.form == form]
        written = [(one.where, one.box, each.frame.size) for each, one in some if each.frame is not None]
        placed = boxes.placed(written, form, source.unit, Path(where), least=0.0)
        for (each, one), box in zip(some, placed, strict=True):
            if isinstance(box, Fault):
                faults.add(box)
            elif source.names is not None and not _numbers(one.label, len(source.names)):
                faults.add(
                    Fault(NO_CLASS, f"{one.where} has {shown(one.label)}, expected a number below {len(source.names)}")
                )
            else:
                each.objects.append(objects.Object(one.label, box, one.ignored, one.visible))


def _numbers(label: str, classes: int) -> bool:
    return label.isdecimal() and str(int(label)) == label and int(label) < classes


def _rows(
    framed: list[Picture], number: dict[str, int], source: ManifestSource, groups: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    for each in framed:
        if each.file is not None:
            yield _row(each, each.file.read_bytes(), number, groups)
    for table, kept in _in_tables(framed):
        for index, content in _contents(table):
            if index in kept:
                yield _row(kept[index], content or b"", number, groups)


def _row(each: Picture, content: bytes, number: dict[str, int], groups: tuple[str, ...]) -> dict[str, Any]:
    columns, where = each.table.columns, each.table.where(each.row)
    published = rows.text(each.values[columns.split]) if columns.split else each.table.split
    return {
        "id": each.id,
        "image": content,
        "target": objects.target(each.objects, each.frame or Frame(Path(), (0, 0), (0, 0), 1), number),
        "published": rows.published(published, where),
        **{group: rows.text(each.values.get(columns.groups.get(group, ""))) for group in groups},
        **({"time": rows.seconds(each.values[columns.time], where)} if columns.time else {}),
    }
