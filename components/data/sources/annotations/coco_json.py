"""COCO's JSON → images and their objects: every reference resolves, every id is one.

Boxes, outlines and sizes are taken as they stand in the file; whether they fit the pictures, `boxes`, `outlines` and
`frames` find out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.artifacts import Split
from components.data.errors import DataError
from components.data.sources.base import boundary, rows
from components.data.sources.base.faults import Fault, Faults, Kind, named, shown
from components.data.sources.tables import plain_json

NO_IMAGE = Kind("annotation", "annotations", "of images that are listed", "of another image")
NO_CATEGORY = Kind("annotation", "annotations", "of categories that are listed", "of another category")
ID_TWICE = Kind("annotation", "annotations", "with an id of their own", "with the id of another")


@dataclass(frozen=True)
class Thing:
    """One annotation. `where` names it in messages."""

    id: str
    label: str
    box: Any  # four numbers, if all is well; None where there is none
    outline: Any  # polygons or run lengths, if all is well; None where there is none
    crowd: bool
    where: str


@dataclass(frozen=True)
class Picture:
    """One image and what is annotated in it."""

    id: str
    name: str  # of the file, below the folder of images
    size: tuple[Any, Any]  # width, height, if all is well; None where there is none
    published: Split | None
    groups: Mapping[str, str | None]
    where: str
    things: list[Thing] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # annotations that are faulty, in words


@dataclass(frozen=True)
class Document:
    """A whole JSON: the categories' names in order of their ids, and the images in the file's order."""

    path: Path
    labels: tuple[str, ...]
    pictures: tuple[Picture, ...]


def load(path: Path, faults: Faults, split: Split | None = None, *, several: bool = False) -> Document:
    """Parse and check one JSON; with `several` of them, ids start with the split's name.

    Annotations that belong to nothing, or whose id another one has, go into `faults`. Raises DataError that names the
    image, annotation or category for anything else that is wrong.
    """
    with boundary.reading(path, "COCO's JSON"):
        content = plain_json.parsed(path.read_bytes(), f"{path}", "COCO's JSON")
    parts = [_list(content, key, path) for key in ("images", "annotations", "categories")]
    labels = _labels(parts[2], path)
    pictures = _pictures(parts[0], path, split, f"{split}/" if several else "")
    for picture, thing in faults.kept(_things(parts[1], path, labels, pictures)):
        picture.things.append(thing)
    return Document(path, tuple(labels[number] for number in sorted(labels, key=_in_order)), tuple(pictures.values()))


def _things(
    items: list[Any],
    path: Path,
    labels: Mapping[int | str, str],
    pictures: Mapping[int | str, Picture],
) -> Iterator[tuple[Picture, Thing] | Fault]:
    """Each annotation with its picture."""
    first: dict[str, str] = {}
    for item in items:
        number = _value(item, "id", (int, str), f"{path}: an annotation")
        where = f"annotation {_id(number)}"
        picture = pictures.get(_value(item, "image_id", (int, str), f"{path}: {where}"))
        if picture is None:
            yield Fault(NO_IMAGE, f"{where} of image_id {shown(item['image_id'])}")
            continue
        where += f" of {picture.where}"
        label = labels.get(_value(item, "category_id", (int, str), f"{path}: {where}"))
        if label is None:
            picture.lost.append(where)
            yield Fault(NO_CATEGORY, f"{where}, category_id {shown(item['category_id'])}")
        elif str(number) in first:
            picture.lost.append(where)
            yield Fault(ID_TWICE, f"{where} has that of {first[str(number)]}")
        else:
            first[str(number)] = where
            crowd = bool(item.get("iscrowd", 0))
            yield picture, Thing(str(number), label, item.get("bbox"), item.get("segmentation"), crowd, where)


def _labels(items: list[Any], path: Path) -> dict[int | str, str]:
    """Category id → name."""
    labels: dict[int | str, str] = {}
    for item in items:
        where = f"{path}: category {shown(item.get('name') if isinstance(item, dict) else item)}"
        number, name = _value(item, "id", (int, str), where), _value(item, "name", (str,), where)
        if number in labels or name in labels.values():
            raise DataError(
                f"{where}: expected an id and a name of its own, received {shown(number)} and {shown(name)} again"
            )
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
        where = f"image {_id(number)}"
        if number in pictures:
            files = f"{shown(pictures[number].name)} and {shown(item.get('file_name'))}"
            raise DataError(f"{path}: {where}: expected an id of its own, received one that two images have, {files}")
        name = _value(item, "file_name", (str,), f"{path}: {where}")
        size = (item.get("width"), item.get("height"))
        values = {group: rows.text(item.get(group)) for group in groups}
        pictures[number] = Picture(f"{before}{name}", name, size, split, values, f"{where} ({before}{named(name)})")
    return pictures


def _id(number: int | str) -> str:
    """As a person writes it; the longest is cut."""
    return named(number) if isinstance(number, str) else shown(number)


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
        raise DataError(f"{where}: expected {expected} as {key}, received {shown(value)}")
    return value
