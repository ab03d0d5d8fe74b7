"""Objects as tables have them: four columns of a row, or a list of objects in one, as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.config import BoxForm, ManifestSource
from components.data.errors import DataError
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Kind, shown
from components.data.sources.tables import plain_json
from components.data.sources.tables.numbers import number

NO_OBJECTS = Kind("row", "rows", "with a list of objects", "with something else")
NO_NUMBERS = Kind("object", "objects", "with a box of four numbers", "with something else")
NO_CLASS = Kind("object", "objects", "with a class", "without one, or of another")

# What the keys of an object are called, in small letters; the first that is there is meant.
_LISTS = ("bbox", "box")  # four numbers as `source.boxes` says, by default COCO's: left, top, width, height
_CORNERS = (
    ("left", "top", "right", "bottom"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
)
_EXTENTS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_CLASSES = ("label", "class", "category", "class_name", "category_name", "name", "category_id", "labels", "categories")
_IGNORED = ("ignored", "ignore", "iscrowd", "crowd", "difficult")
_VISIBLE = ("visible", "visibility")

Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class Listed:
    """One object; its box in the form and unit in which it is written. `where` names it in messages."""

    label: str
    box: Four
    form: BoxForm | None  # None: COCO's, unless the boxes of the table can only be meant otherwise
    where: str
    ignored: bool = False
    visible: float = 1.0


def of_row(box: Sequence[Any], label: Any, where: str, source: ManifestSource) -> list[Listed | Fault]:
    """The object of a row; none where nothing stands in its columns."""
    if all(rows.text(value) is None for value in box):
        return []
    four, name = _four(box), rows.text(label)
    if four is None:
        return [Fault(NO_NUMBERS, f"{where}, {shown(list(box))}")]
    if name is None:
        return [Fault(NO_CLASS, where)]
    return [Listed(name, four, source.boxes or "xyxy", where)]


def of_cell(value: Any, where: str, place: str, source: ManifestSource) -> list[Listed | Fault]:
    """The objects of a row's list; `place` is the row with its file."""
    try:
        listed = [] if value is None else _each(plain_json.parsed(str(value), place))
    except DataError:
        listed = None
    if listed is None:
        return [Fault(NO_OBJECTS, f"{where}, {shown(value)}")]
    return [_object(each, f"{where}, object {at}", source) for at, each in enumerate(listed, start=1)]


def _each(value: Any) -> list[Any] | None:
    """A list as it is; an object of lists, as `datasets` writes them, turned into a list of objects."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return None
    columns = {key: each for key, each in value.items() if isinstance(each, list)}
    if not columns or len({len(each) for each in columns.values()}) != 1:
        return None
    return [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]


def _object(each: Any, where: str, source: ManifestSource) -> Listed | Fault:
    if not isinstance(each, dict):
        return Fault(NO_NUMBERS, f"{where}, {shown(each)}")
    keyed = {str(key).lower(): value for key, value in each.items()}
    found = _box(keyed, source)
    if found is None:
        return Fault(NO_NUMBERS, f"{where}, {shown(each)}")
    name = next((text for key in _CLASSES if (text := rows.text(keyed.get(key))) is not None), None)
    if name is None:
        return Fault(NO_CLASS, f"{where}, {shown(each)}")
    visible = next((share for key in _VISIBLE if (share := number(keyed.get(key))) is not None), 1.0)
    ignored = any(keyed.get(key) in (True, 1, "1", "true", "True") for key in _IGNORED)
    return Listed(name, found[0], found[1], where, ignored, min(max(visible, 0.0), 1.0))


def _box(keyed: Mapping[str, Any], source: ManifestSource) -> tuple[Four, BoxForm | None] | None:
    ways: tuple[tuple[Any, BoxForm | None], ...] = (
        *((keyed[key], source.boxes) for key in _LISTS if key in keyed),
        *(([keyed[key] for key in keys], "xyxy") for keys in _CORNERS if set(keys) <= set(keyed)),
        *(([keyed[key] for key in keys], "xywh") for keys in _EXTENTS if set(keys) <= set(keyed)),
    )
    if not ways or (four := _four(ways[0][0])) is None:
        return None
    return four, ways[0][1]


def _four(values: Any) -> Four | None:
    if not isinstance(values, list | tuple) or len(values) != 4:
        return None
    found = [number(value) for value in values]
    return None if None in found else tuple(found)  # type: ignore[return-value]
