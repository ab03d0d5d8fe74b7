"""Pascal VOC's folder (Everingham et al. 2010): boxes in XML, as they are or as crops, or masks as they are.

`crops`: every object is a sample; its groups are its image (`group_image`) and, where a file says it, VOC's flag
(`group_difficult`). `masks`: every image with a file in `SegmentationClass` is a sample; the border (255), which VOC
leaves unjudged, is ignored where the entry says so, and background else. `boxes`: every annotated image is a sample,
whether it shows an object or not; difficult objects are ignored: neither learnt nor judged. `ImageSets` publishes the
splits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from components import decoding
from components.artifacts import SPLITS, Split
from components.config import VocSource
from components.data.errors import DataError
from components.data.sources.annotations import boxes, cut, frames, mask_files, objects
from components.data.sources.annotations.boxes import Box
from components.data.sources.annotations.frames import Frame
from components.data.sources.base import boundary, rows
from components.data.sources.base.faults import Fault, Faults, Kind, shown
from components.data.sources.base.form import SourceData, schema
from components.data.sources.base.formats import SUFFIXES
from components.data.sources.layouts import voc as layouts
from components.data.sources.places import place
from components.inputs import png

LAYOUTS = layouts.LAYOUTS

TWENTY = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
BORDER = 255
_LARGEST = (
    8 * 2**20
)  # bytes of one XML: ten thousand objects have a third of it, and in memory it is thirty times as much
_SETS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}  # files of ImageSets → splits
BROKEN = Kind("file", "files", "of Pascal VOC's XML", "that cannot be read")
NO_NAME = Kind("object", "objects", "with a name", "without a name")
UNKNOWN_CLASS = Kind("mask", "masks", "of the classes that `source.names` names", "of another class")


@dataclass(frozen=True)
class Thing:
    """One `<object>`. `where` names it in messages."""

    id: str
    label: str
    box: Any  # what stands as xmin, ymin, xmax and ymax; None where there is no bndbox
    difficult: bool | None  # None: nothing is said
    where: str


@dataclass(frozen=True)
class Picture:
    """One annotated image; `image` names its file below the source, in messages too where there is none."""

    name: str
    image: str
    file: Path | None
    size: tuple[Any, Any]  # what stands as width and height
    published: Split | None
    things: list[Thing]


@dataclass(frozen=True)
class Part:
    """A folder of pictures and one of their annotations: files by their names without suffix."""

    images: str  # the first folder, below the source
    before: str  # what ids start with
    pictures: dict[str, Path]
    annotations: dict[str, Path]
    splits: dict[str, Split]


@dataclass(frozen=True)
class Annotated:
    """An image that is there, and the objects whose boxes, in pixels of its frame, are cut out."""

    picture: Picture
    frame: Frame
    things: list[tuple[Thing, Box]]


def read(source: VocSource, project: Path) -> SourceData:
    folder = place.local(source, project)
    faults = Faults(str(folder), source.faulty)
    if source.take == "masks":
        if not isinstance(source.images, str):
            raise DataError("source.images: expected one folder where `take` is masks, received one a split")
        pictures = _files(folder, source.images, SUFFIXES, "source.images")
        files = _files(folder, "SegmentationClass", (".png",))
        splits = _published(folder / "ImageSets" / "Segmentation", files)
        classes = source.names or TWENTY
        masked = rows.in_order(
            lambda name: _masked(name, pictures, files, splits, classes, source.ignore), sorted(files)
        )
        taken, about = rows.tables(schema("mask"), faults.sound(masked)), mask_files.about(source.ignore)
        return SourceData(classes, "mask", taken, notes=faults.notes, about=about)
    every = (
        _picture(name, path, part, faults)
        for part in _parts(source, folder)
        for name, path in sorted(part.annotations.items())
    )
    annotated = [each for each in faults.kept(every) if each.things or source.take in ("boxes", "labels")]
    found = list(faults.kept(rows.in_order(_framed, annotated)))
    if source.take == "labels":
        faults.tell()
        classes = rows.ordered(thing.label for each in found for thing in each.picture.things)
        labelled = (_labelled(each, rows.numbers(classes)) for each in found)
        return SourceData(classes, "labels", rows.tables(schema("labels"), labelled), notes=faults.notes)
    _add_boxes(found, source, faults, folder)
    faults.tell()
    things = [thing for each in found for thing, _ in each.things]
    if source.take == "boxes":
        classes = rows.ordered(thing.label for thing in things if not thing.difficult)
        if not classes:
            raise DataError(f"{folder}: expected objects with a box, received none that are not difficult")
        boxed = (_boxed(each, rows.numbers(classes)) for each in found)
        return SourceData(classes, "boxes", rows.tables(schema("boxes"), boxed), notes=faults.notes)
    # Tools that know no flag leave it out, and where none has it, it groups nothing. VOC's own reader takes an object
    # without it for an easy one (VOCreadrecxml.m).
    flagged = any(thing.difficult is not None for thing in things)
    groups = ("group_difficult", "group_image") if flagged else ("group_image",)
    classes = rows.ordered(thing.label for thing in things)
    number = rows.numbers(classes)
    crops = cut.crops(_cutting(each, number, groups) for each in found if each.things)
    taken = rows.tables(schema("class", groups), faults.sound(crops))
    return SourceData(classes, "class", taken, groups, notes=faults.notes)


# -- files -----------------------------------------------------------------------------------------------------------


def _parts(source: VocSource, folder: Path) -> Iterator[Part]:
    """The folders of pictures and annotations: one of each, or one a split."""
    keys = [split for split in SPLITS if split in source.images] if isinstance(source.images, dict) else [None]
    if isinstance(source.annotations, dict):
        keys = [split for split in SPLITS if split in source.annotations]
    for split in keys:
        images = source.images if isinstance(source.images, str) else source.images.get(split or "train", "")
        named = source.annotations if isinstance(source.annotations, str) else source.annotations[split or "train"]
        annotations = _files(folder, named, (".xml",), "source.annotations")
        splits = dict.fromkeys(annotations, split) if split else _published(folder / "ImageSets" / "Main", annotations)
        pictures = _files(folder, images, SUFFIXES, "source.images")
        yield Part(images, f"{split}/" if split else "", pictures, annotations, splits)


def _files(folder: Path, name: str, suffixes: tuple[str, ...], key: str = "") -> dict[str, Path]:
    """Name without suffix → file."""
    if not (folder / name).is_dir():
        where = f"; name the one that is meant as {key}" if key else ""
        raise DataError(f"{folder}: expected Pascal VOC's folder {name}, received none{where}")
    rows.folder_inside(folder, name, key or name)
    found: dict[str, Path] = {}
    for path in sorted((folder / name).iterdir()):
        if rows.is_leftover(path.name) or path.suffix.lower() not in suffixes:
            continue
        if path.stem in found:
            raise DataError(f"{path}: expected one file of this name, received {found[path.stem].name} too")
        found[path.stem] = rows.inside(folder, path.relative_to(folder).as_posix(), str(path))
    return found


def _image(name: str, pictures: dict[str, Path], images: str) -> str:
    """The image of an annotation or mask, in messages."""
    file = pictures[name].name if name in pictures else f"{name}.jpg"
    return file if images == "." else f"{images}/{file}"


def _published(folder: Path, annotated: dict[str, Path]) -> dict[str, Split]:
    """Image → split, from `train.txt`, `val.txt` and `test.txt` (`trainval.txt` where there is no `train.txt`)."""
    splits: dict[str, Split] = {}
    files = {name: folder / f"{name}.txt" for name in _SETS}
    if not files["train"].is_file():
        files["train"] = folder / "trainval.txt"
    for key, path in files.items():
        with boundary.reading(path, "a text in UTF-8 with the name of an image a line"):
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for name in (line.split()[0] for line in lines if line.strip()):
            if name not in annotated:
                raise DataError(f"{path}: expected names of annotated images, received {name}, which is none")
            if splits.get(name, _SETS[key]) != _SETS[key]:
                raise DataError(f"{path}: expected an image in one split, received {name}, which is {splits[name]} too")
            splits[name] = _SETS[key]
    return splits


# -- crops and boxes -------------------------------------------------------------------------------------------------


def _picture(name: str, path: Path, part: Part, faults: Faults) -> Picture | Fault:
    if (size := path.stat().st_size) > _LARGEST:
        return Fault(BROKEN, f"{path.name}: has {size:,} bytes, more than the {_LARGEST:,} that are read")
    try:
        root = fromstring(path.read_bytes(), forbid_dtd=True)
    except Exception as error:  # a document type can be a bomb, and VOC has none
        why = "a document type, which is not read" if isinstance(error, DefusedXmlException) else boundary.words(error)
        return Fault(BROKEN, f"{path.name}: {why}")
    size = root.find("size")
    stated = (None, None) if size is None else (size.findtext("width"), size.findtext("height"))
    # An annotation is called like its picture; where it is not, it says how that is called.
    said = PureWindowsPath((root.findtext("filename") or "").strip()).stem
    stem = name if name in part.pictures or said not in part.pictures else said
    things = list(faults.kept(_things(f"{part.before}{name}", path, root)))
    image = _image(stem, part.pictures, part.images)
    return Picture(f"{part.before}{stem}", image, part.pictures.get(stem), stated, part.splits.get(name), things)


def _things(name: str, path: Path, root: Any) -> Iterator[Thing | Fault]:
    for index, item in enumerate(root.iter("object")):
        where = f"{path.name}, object {index}"
        label = (item.findtext("name") or "").strip()
        if not label:
            yield Fault(NO_NAME, where)
            continue
        flag = (item.findtext("difficult") or "").strip()
        box = item.find("bndbox")
        written = None if box is None else [box.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax")]
        yield Thing(f"{name}#{index}", label, written, {"1": True, "0": False}.get(flag), where)


def _framed(picture: Picture) -> Annotated | Fault:
    frame = frames.frame(picture.file or Fault(frames.MISSING, picture.image), picture.size, picture.image)
    return frame if isinstance(frame, Fault) else Annotated(picture, frame, [])


def _add_boxes(found: list[Annotated], source: VocSource, faults: Faults, folder: Path) -> None:
    """Add the boxes of their objects."""
    taken: list[tuple[Annotated, Thing, Box]] = []
    for each in found:
        for thing in each.picture.things:
            written = None if thing.box is None else boxes.numbers([_number(text) for text in thing.box])
            if written is not None:
                taken.append((each, thing, written))
            elif thing.box is None:
                faults.add(Fault(boxes.NO_BOX if source.take == "crops" else objects.NO_BOX, thing.where))
            else:
                faults.add(Fault(boxes.NO_NUMBERS, f"{thing.where}, {shown(thing.box)}"))
    found_boxes = [(thing.where, written, each.frame.size) for each, thing, written in taken]
    least = 1.0 if source.take == "crops" else 0.0
    placed = boxes.placed(found_boxes, "xyxy", source.unit, folder, first=1, least=least)
    for (each, thing, _), box in zip(taken, placed, strict=True):
        each.things.extend((thing, one) for one in faults.kept([box]))


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _cutting(each: Annotated, number: dict[str, int], groups: tuple[str, ...]) -> cut.Cutting:
    picture = each.picture
    return cut.Cutting(
        each.frame,
        picture.image,
        [(box, _row(picture, thing, number, groups)) for thing, box in each.things],
    )


def _row(picture: Picture, thing: Thing, number: dict[str, int], groups: tuple[str, ...]) -> dict[str, Any]:
    values = {"group_difficult": "yes" if thing.difficult else "no", "group_image": picture.name}
    return {
        "id": thing.id,
        "target": number[thing.label],
        "published": picture.published,
        **{group: values[group] for group in groups},
    }


def _boxed(each: Annotated, number: dict[str, int]) -> dict[str, Any]:
    every = (objects.Object(thing.label, box, ignored=bool(thing.difficult)) for thing, box in each.things)
    return {
        "id": each.picture.name,
        "image": each.frame.path.read_bytes(),
        "target": objects.target(every, each.frame, number),
        "published": each.picture.published,
    }


def _labelled(each: Annotated, number: dict[str, int]) -> dict[str, Any]:
    return {
        "id": each.picture.name,
        "image": each.frame.path.read_bytes(),
        "target": sorted({number[thing.label] for thing in each.picture.things}),
        "published": each.picture.published,
    }


# -- masks -----------------------------------------------------------------------------------------------------------


def _masked(
    name: str,
    pictures: dict[str, Path],
    files: dict[str, Path],
    splits: dict[str, Split],
    classes: tuple[str, ...],
    ignored: tuple[int, ...],
) -> dict[str, Any] | Fault:
    said = _image(name, pictures, pictures[name].parent.name if name in pictures else "JPEGImages")
    if name not in pictures:
        return Fault(frames.MISSING, said)
    image = mask_files.File(pictures[name].read_bytes(), said)
    mask = mask_files.File(files[name].read_bytes(), f"SegmentationClass/{name}.png")
    target = mask_files.aligned(image, mask)
    if isinstance(target, Fault):
        return target
    try:
        pixels = np.array(decoding.indices(target))
    except decoding.UndecodableError as error:
        return Fault(mask_files.UNREADABLE, f"{mask.name} {error}")
    unjudged = np.isin(pixels, ignored)
    pixels[(pixels == BORDER) | unjudged] = 0
    largest = int(pixels.max(initial=0))
    if largest >= len(classes):
        return Fault(UNKNOWN_CLASS, f"{mask.name} has {largest} of {len(classes)}")
    if unjudged.all():
        return Fault(mask_files.NOTHING, mask.name)
    pixels[unjudged] = png.IGNORED
    return {
        "id": name,
        "image": image.content,
        "target": png.encode(pixels[None])[0].as_py(),
        "published": splits.get(name),
    }
