"""Pascal VOC's folder (Everingham et al. 2010): boxes in XML as crops, or masks as they are.

`crops`: every object is a sample; its groups are its image (`group_image`) and VOC's flag (`group_difficult`).
`masks`: every image with a file in `SegmentationClass` is a sample; the border (255), which VOC leaves unjudged,
becomes background. `ImageSets` publishes the splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import ParseError, fromstring  # type: ignore[import-untyped]

from components import decoding
from components.artifacts import Split
from components.config import VocSource
from components.data import images
from components.data.errors import DataError
from components.data.sources import cut, place, rows
from components.data.sources.folder import SUFFIXES
from components.data.sources.registry import SourceData, schema

TWENTY = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
BORDER = 255
_SETS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}  # files of ImageSets → splits
_GROUPS = ("group_difficult", "group_image")


@dataclass(frozen=True)
class Thing:
    """One `<object>`. `where` names it in messages."""

    id: str
    label: str
    box: cut.Box
    difficult: str | None
    where: str


@dataclass(frozen=True)
class Picture:
    """One annotated image."""

    name: str
    path: Path
    size: tuple[int, int] | None  # width, height
    published: Split | None
    things: list[Thing]


def read(source: VocSource, project: Path) -> SourceData:
    folder = place.local(source, project)
    pictures = _files(folder, "JPEGImages", SUFFIXES)
    if source.take == "masks":
        masks = _files(folder, "SegmentationClass", (".png",))
        splits = _published(folder / "ImageSets" / "Segmentation", masks)
        classes = source.names or TWENTY
        found = rows.in_order(lambda name: _masked(folder, name, pictures, masks, splits, len(classes)), sorted(masks))
        return SourceData(classes, "mask", rows.tables(schema("mask"), found))
    annotations = _files(folder, "Annotations", (".xml",))
    splits = _published(folder / "ImageSets" / "Main", annotations)
    annotated = [
        _picture(name, path, _image(folder, name, pictures), splits.get(name))
        for name, path in sorted(annotations.items())
    ]
    classes = rows.ordered(thing.label for picture in annotated for thing in picture.things)
    number = rows.numbers(classes)
    taken = (row for some in rows.in_order(lambda each: _crops(each, number), annotated) for row in some)
    return SourceData(classes, "class", rows.tables(schema("class", _GROUPS), taken), _GROUPS)


# -- files -----------------------------------------------------------------------------------------------------------


def _files(folder: Path, name: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Name without suffix → file."""
    if not (folder / name).is_dir():
        raise DataError(f"{folder}: expected Pascal VOC's folder {name}, received none")
    found: dict[str, Path] = {}
    for path in sorted((folder / name).iterdir()):
        if path.name.startswith(".") or path.suffix.lower() not in suffixes:
            continue
        if path.stem in found:
            raise DataError(f"{path}: expected one file of this name, received {found[path.stem].name} too")
        found[path.stem] = rows.inside(folder, path.relative_to(folder).as_posix(), str(path))
    return found


def _image(folder: Path, name: str, pictures: dict[str, Path]) -> Path:
    if name not in pictures:
        raise DataError(f"{folder / 'JPEGImages' / name}.jpg: expected the image of an annotation, received none")
    return pictures[name]


def _published(folder: Path, annotated: dict[str, Path]) -> dict[str, Split]:
    """Image → split, from `train.txt`, `val.txt` and `test.txt` (`trainval.txt` where there is no `train.txt`)."""
    splits: dict[str, Split] = {}
    files = {name: folder / f"{name}.txt" for name in _SETS}
    if not files["train"].is_file():
        files["train"] = folder / "trainval.txt"
    for key, path in files.items():
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for name in (line.split()[0] for line in lines if line.strip()):
            if name not in annotated:
                raise DataError(f"{path}: expected names of annotated images, received {name}, which is none")
            if splits.get(name, _SETS[key]) != _SETS[key]:
                raise DataError(f"{path}: expected an image in one split, received {name}, which is {splits[name]} too")
            splits[name] = _SETS[key]
    return splits


# -- crops -----------------------------------------------------------------------------------------------------------


def _picture(name: str, path: Path, image: Path, published: Split | None) -> Picture:
    try:
        root = fromstring(path.read_bytes(), forbid_dtd=True)
    except (ParseError, ValueError, LookupError) as error:  # a document type can be a bomb, and VOC has none
        why = "a document type, which is not read" if isinstance(error, DefusedXmlException) else error
        raise DataError(f"{path}: expected Pascal VOC's XML, received {why}") from None
    things = []
    for index, item in enumerate(root.iter("object")):
        where = f"{path}: object {index}"
        label = (item.findtext("name") or "").strip()
        if not label:
            raise DataError(f"{where}: expected a name, received none")
        flag = (item.findtext("difficult") or "").strip()
        difficult = {"1": "yes", "0": "no"}.get(flag)
        things.append(Thing(f"{name}#{index}", label, _box(item, where), difficult, where))
    size = root.find("size")
    stated = None if size is None else (_number(size, "width", str(path)), _number(size, "height", str(path)))
    return Picture(name, image, None if stated is None else (int(stated[0]), int(stated[1])), published, things)


def _box(item: Any, where: str) -> cut.Box:
    """VOC counts pixels from 1, the last one included."""
    box = item.find("bndbox")
    if box is None:
        raise DataError(f"{where}: expected a bndbox, received none")
    left, top, right, bottom = (_number(box, key, where) for key in ("xmin", "ymin", "xmax", "ymax"))
    return (left - 1, top - 1, right, bottom)


def _number(item: Any, key: str, where: str) -> float:
    text = item.findtext(key)
    try:
        return float(text)
    except (TypeError, ValueError):
        raise DataError(f"{where}: expected a number as {key}, received {text!r}") from None


def _crops(picture: Picture, number: dict[str, int]) -> list[dict[str, Any]]:
    if not picture.things:
        return []
    where = str(picture.path)
    pixels = cut.upright(picture.path, where)
    if picture.size is not None and all(picture.size):  # some programs leave 0 there
        cut.same_size((pixels.shape[1], pixels.shape[0]), picture.size, where)
    return [
        {
            "id": thing.id,
            "image": cut.crop(pixels, thing.box, thing.where),
            "target": number[thing.label],
            "published": picture.published,
            "group_difficult": thing.difficult,
            "group_image": picture.name,
        }
        for thing in picture.things
    ]


# -- masks -----------------------------------------------------------------------------------------------------------


def _masked(
    folder: Path, name: str, pictures: dict[str, Path], masks: dict[str, Path], splits: dict[str, Split], classes: int
) -> dict[str, Any]:
    return {
        "id": name,
        "image": _image(folder, name, pictures).read_bytes(),
        "target": images.encode(mask(masks[name], classes)[None])[0].as_py(),
        "published": splits.get(name),
    }


def mask(path: Path, classes: int) -> images.Pixels:
    """`(H, W)` indices of classes, the border as background; raises DataError for colours and for unknown indices."""
    try:
        image = decoding.load(path.read_bytes())
    except decoding.UndecodableError as error:
        raise DataError(f"{path}: expected a PNG mask; it {error}") from None
    if image.mode not in ("L", "P"):
        raise DataError(
            f"{path}: expected a mask whose pixels are numbers of classes (PNG of mode P or L), received mode "
            f"{image.mode}"
        )
    pixels = np.array(image)
    pixels[pixels == BORDER] = 0
    largest = int(pixels.max(initial=0))
    if largest >= classes:
        raise DataError(f"{path}: expected classes below {classes}, received {largest}; name them as source.names")
    return pixels
