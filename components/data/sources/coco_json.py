"""COCO's JSON → images and their objects, checked: every reference resolves, every number is one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.artifacts import Split
from components.data.errors import DataError
from components.data.sources import rows
from components.data.sources.cut import Box


@dataclass(frozen=True)
class Thing:
    """One annotation. `where` names it in messages."""

    id: str
    label: str
    box: Box | None
    outline: Any  # polygons or run lengths, as `pycocotools` takes them; None where there is none
    crowd: bool
    where: str


@dataclass(frozen=True)
class Picture:
    """One image and what is annotated in it."""

    id: str
    name: str  # of the file, below the folder of images
    size: tuple[int, int]  # width, height
    published: Split | None
    groups: Mapping[str, str | None]
    where: str
    things: list[Thing] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """A whole JSON: the categories' names in order of their ids, and the images in the file's order."""

    path: Path
    labels: tuple[str, ...]
    pictures: tuple[Picture, ...]


def load(path: Path, split: Split | None = None, *, several: bool = False) -> Document:
    """Parse and check one JSON; with `several` of them, ids start with the split's name.

    Raises DataError that names the image, annotation or category that is wrong.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: expected COCO's JSON, received a file that is none: {error}") from None
    parts = [_list(content, key, path) for key in ("images", "annotations", "categories")]
    labels = _labels(parts[2], path)
    pictures = _pictures(parts[0], path, split, f"{split}/" if several else "")
    for item in parts[1]:
        number = _value(item, "id", (int, str), f"{path}: an annotation")
        where = f"{path}: annotation {number}"
        picture = pictures.get(_value(item, "image_id", (int, str), where))
        if picture is None:
            raise DataError(f"{where}: expected the id of one of its images, received image_id {item['image_id']!r}")
        label = labels.get(_value(item, "category_id", (int, str), where))
        if label is None:
            known = ", ".join(map(str, labels))
            raise DataError(f"{where}: expected a category of {known}, received category_id {item['category_id']!r}")
        box = _box(item["bbox"], where) if item.get("bbox") else None
        crowd = bool(item.get("iscrowd", 0))
        picture.things.append(Thing(str(number), label, box, item.get("segmentation") or None, crowd, where))
    rows.unique((thing.id, thing.where) for picture in pictures.values() for thing in picture.things)
    return Document(path, tuple(labels[number] for number in sorted(labels, key=_in_order)), tuple(pictures.values()))


def _labels(items: list[Any], path: Path) -> dict[int | str, str]:
    """Category id → name."""
    labels: dict[int | str, str] = {}
    for item in items:
        where = f"{path}: category {item.get('name') if isinstance(item, dict) else item!r}"
        number, name = _value(item, "id", (int, str), where), _value(item, "name", (str,), where)
        if number in labels or name in labels.values():
            raise DataError(f"{where}: expected an id and a name of its own, received {number!r} and {name!r} again")
        labels[number] = name
    if not labels:
        raise DataError(f"{path}: expected categories, received none")
    return labels


def _pictures(items: list[Any], path: Path, split: Split | None, before: str) -> dict[int | str, Picture]:
    """Image id → image."""
    pictures: dict[int | str, Picture] = {}
    groups = sorted({key for item in items if isinstance(item, dict) for key in item if key.startswith("group_")})
    for item in items:
        number = _value(item, "id", (int, str), f"{path}: an image")
        where = f"{path}: image {number}"
        if number in pictures:
            raise DataError(f"{where}: expected an id of its own, received one that two images have")
        name = _value(item, "file_name", (str,), where)
        size = (_value(item, "width", (int,), where), _value(item, "height", (int,), where))
        values = {group: rows.text(item.get(group)) for group in groups}
        pictures[number] = Picture(f"{before}{name}", name, size, split, values, f"{where} ({name})")
    return pictures


def _in_order(number: int | str) -> tuple[bool, int | str]:
    return isinstance(number, str), number


def _list(content: Any, key: str, path: Path) -> list[Any]:
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, list):
        raise DataError(
            f"{path}: expected COCO's JSON with the lists images, annotations and categories, received none of {key}"
        )
    return found


def _value(item: Any, key: str, kinds: tuple[type, ...], where: str) -> Any:
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, kinds) or isinstance(value, bool):
        expected = " or ".join({int: "a whole number", str: "a text"}[kind] for kind in kinds)
        raise DataError(f"{where}: expected {expected} as {key}, received {value!r}")
    return value


def _box(value: Any, where: str) -> Box:
    """COCO's x, y, width, height as left, top, right, bottom."""
    fits = isinstance(value, list) and len(value) == 4
    if not fits or not all(isinstance(each, (int, float)) and math.isfinite(each) for each in value):
        raise DataError(f"{where}: expected a bbox of four numbers x, y, width, height, received {value!r}")
    return (value[0], value[1], value[0] + value[2], value[1] + value[3])
