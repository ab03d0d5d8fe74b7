"""Entities as tables have them: a list in a column, as JSON, of objects or of three values each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Kind, named, shown
from components.data.sources.tables import plain_json
from components.data.sources.tables.numbers import number

NO_SPANS = Kind("row", "rows", "with a list of entities", "with something else")
NO_PLACE = Kind("entity", "entities", "with a start and an end in characters, whole numbers", "with something else")
NO_CLASS = Kind("entity", "entities", "with a class", "without one, or of another")
EMPTY = Kind("entity", "entities", "with a character at least", "without one")
OUTSIDE = Kind("entity", "entities", "within their text", "that are not")
OVERLAPPING = Kind("entity", "entities", "apart from each other", "that overlap the one before")

# What the keys of an entity are called, in small letters; the first that is there is meant.
_STARTS = ("start", "start_offset", "start_char", "begin", "from")
_ENDS = ("end", "end_offset", "end_char", "stop", "to")
_CLASSES = ("label", "entity", "type", "class", "tag", "entity_group", "ner", "labels")


@dataclass(frozen=True)
class Span:
    """One entity in characters of its text; `where` names it in messages."""

    start: int
    end: int
    label: str
    where: str


def of_cell(value: Any, text: str, where: str, place: str) -> list[Span | Fault]:
    """The entities of a row's list, in the order of the text, and what is wrong with others.

    `place` is the row with its file. None at all is a list without any.
    """
    try:
        listed = _listed(value, place)
    except DataError:
        listed = None
    if listed is None:
        return [Fault(NO_SPANS, f"{where}, {shown(value)}")]
    found = [_span(each, text, f"{where}, entity {at}") for at, each in enumerate(listed, start=1)]
    return apart(found)


def apart(found: Sequence[Span | Fault]) -> list[Span | Fault]:
    """In the order of the text, faults first; an entity that overlaps the one before is a fault."""
    kept: list[Span | Fault] = [each for each in found if isinstance(each, Fault)]
    reached = 0
    for each in sorted((each for each in found if isinstance(each, Span)), key=lambda span: span.start):
        if each.start < reached:
            kept.append(Fault(OVERLAPPING, f"{each.where}, {each.start:,} to {each.end:,} after {reached:,}"))
            continue
        kept.append(each)
        reached = each.end
    return kept


def is_spans(value: Any) -> bool:
    """Whether a cell is a list of entities, an empty one too."""
    try:
        listed = _listed(value, "")
    except DataError:
        return False
    return listed is not None and all(_values(each) is not None for each in listed)


def _listed(value: Any, place: str) -> list[Any] | None:
    if value is None:
        return []
    plain = plain_json.parsed(str(value), place)
    return plain if isinstance(plain, list) else None


def _values(each: Any) -> tuple[Any, Any, Any] | None:
    """Start, end and class as they stand there."""
    if isinstance(each, list | tuple) and len(each) == 3:
        start, end, label = each
        return start, end, label
    if not isinstance(each, Mapping):
        return None
    keyed = {str(key).lower(): value for key, value in each.items()}
    start, end, label = (
        next((keyed[key] for key in keys if key in keyed), None) for keys in (_STARTS, _ENDS, _CLASSES)
    )
    if isinstance(label, list) and len(label) == 1:  # as Label Studio writes it
        (label,) = label
    return None if start is None or end is None else (start, end, label)


def _span(each: Any, text: str, where: str) -> Span | Fault:
    values = _values(each)
    ends = [number(value) for value in values[:2]] if values else []
    if values is None or any(value is None or not value.is_integer() for value in ends):
        return Fault(NO_PLACE, f"{where}, {shown(each)}")
    start, end = (int(value) for value in ends if value is not None)
    label = None if isinstance(values[2], list | dict) else rows.text(values[2])
    if label is None:
        return Fault(NO_CLASS, f"{where}, {shown(each)}")
    if end <= start:
        return Fault(EMPTY, f"{where}, {start:,} to {end:,}")
    if start < 0 or end > len(text):
        return Fault(OUTSIDE, f"{where}, {start:,} to {end:,} of {len(text):,}")
    return Span(start, end, label, f"{where}, {named(text[start:end])}")
