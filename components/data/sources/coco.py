"""COCO's JSON (Lin et al. 2014): objects of images, as crops, as semantic masks or as boxes.

`crops`: every object that is no crowd is a sample, cut out of its image, which is its `group_image`.
`masks`: every image is a sample. Crowds lie at the bottom of its mask, then the objects from the largest to the
smallest, so that a small thing in front of a large one is seen; everything else is background. Categories that the
entry ignores are drawn like any others, as pixels of no class.
`boxes`: every image is a sample, whether it shows an object or not. Crowds are ignored: neither learnt nor judged.
`labels`: every image is a sample, and which categories it shows is asked; crowds are shown like any objects.
The JSON is read whole, and held against the images' headers before the first of them is decoded; they follow a few at a
time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import SPLITS, Split
from components.config import CocoSource
from components.data.errors import DataError
from components.data.sources.annotations import boxes, coco_json, cut, frames, mask_files, objects, outlines
from components.data.sources.annotations.coco_json import Document, Picture, Thing
from components.data.sources.annotations.frames import Frame
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Faults, Kind, shown, some
from components.data.sources.base.form import SourceData, schema
from components.data.sources.base.named_files import Names, no_name, way
from components.data.sources.layouts import coco as layouts
from components.data.sources.places import place
from components.inputs import png

LAYOUTS = layouts.LAYOUTS

BACKGROUND = "background"
NOT_WHOLE = Kind("image", "images", "all of whose objects can be drawn", "with objects that cannot be drawn")
_ASKED = 3  # images that are looked for elsewhere
_MOST_CLASSES = 255  # of a mask of bytes: 255 itself says "unknown" (see `prepare`)

Listed = list[tuple[Picture, Path]]  # each image, and the folder that its file's name is relative to


@dataclass(frozen=True)
class Annotated:
    """An image that is there, and those of its objects that are taken: boxes or outlines in pixels of its frame."""

    picture: Picture
    frame: Frame
    things: list[tuple[Thing, Any]]


def read(source: CocoSource, project: Path) -> SourceData:
    path = place.local(source, project)
    jsons = _jsons(source, path)
    where = jsons[0][1] if len(jsons) == 1 else path
    faults = Faults(str(where), source.faulty)
    documents, listed = _documents(source, path, jsons, faults)
    rows.unique((picture.id, f"{where}: {picture.where}") for picture, _ in listed)
    found = _framed(listed, source, faults, where)
    _ADD[source.take](found, source, faults, where)
    faults.tell()
    found = list(faults.kept(map(_whole, found))) if source.take == "masks" else found
    labels = _labels(documents, found, source)
    named = {name for picture, _ in listed for name in picture.groups}
    if source.take == "crops":
        groups = tuple(sorted({"group_image", *named}))
        crops = cut.crops(_cutting(each, rows.numbers(labels), groups) for each in found if each.things)
        taken = rows.tables(schema("class", groups), faults.sound(crops))
        return SourceData(labels, "class", taken, groups, notes=faults.notes)
    groups = tuple(sorted(named))
    if source.take == "labels":
        labelled = (_labelled(each, rows.numbers(labels), groups) for each in found)
        return SourceData(labels, "labels", rows.tables(schema("labels", groups), labelled), groups, notes=faults.notes)
    if source.take == "boxes":
        boxed = (_boxed(each, rows.numbers(labels), groups) for each in found)
        return SourceData(labels, "boxes", rows.tables(schema("boxes", groups), boxed), groups, notes=faults.notes)
    known = {name for document in documents for name in document.labels} - {BACKGROUND}
    if unknown := [name for name in source.ignore if name not in known]:
        raise DataError(
            f"source.ignore: expected categories of {where} ({some(labels)}), received {shown(unknown[0])}, "
            "which is none that can be ignored"
        )
    classes = (BACKGROUND, *(name for name in labels if name != BACKGROUND and name not in source.ignore))
    most = _MOST_CLASSES - bool(source.ignore)  # ignored is another one
    if len(classes) > most:
        raise DataError(f"{source.path}: expected at most {most - 1} categories for masks, received {len(labels)}")
    number = rows.numbers(classes) | dict.fromkeys(source.ignore, png.IGNORED)
    masks = rows.in_order(lambda each: _masked(each, number, groups), found, _pixels)
    taken, about = rows.tables(schema("mask", groups), faults.sound(masks)), mask_files.about(source.ignore)
    return SourceData(classes, "mask", taken, groups, notes=faults.notes, about=about)


def listing(source: CocoSource, project: Path) -> str | None:
    """As `place.listing`, with the folders of images where they lie elsewhere than below a local `path`."""
    there = place.listing(source, project)
    if there is None or place.is_remote(source.path):
        return there
    path = place.located(source, project)
    base = path if path.is_dir() else path.parent
    named = source.images.values() if isinstance(source.images, dict) else [source.images or ""]
    folders = {(base / name).resolve() for name in named} if path.suffix == ".json" or path.is_dir() else set()
    apart = sorted(folder for folder in folders if path.is_file() or not folder.is_relative_to(base))
    files = [file for folder in apart for file in place.files_of(folder)]
    return hashlib.sha256((there + place.touched(files)).encode()).hexdigest()


# -- which files -----------------------------------------------------------------------------------------------------


def _jsons(source: CocoSource, path: Path) -> list[tuple[Split | None, Path]]:
    if isinstance(source.annotations, dict):
        named = source.annotations
        return [(split, _json(path, named[split])) for split in SPLITS if split in named]
    return [(None, _json(path, source.annotations))]


def _documents(
    source: CocoSource, path: Path, jsons: list[tuple[Split | None, Path]], faults: Faults
) -> tuple[list[Document], Listed]:
    """The JSONs, and their images."""
    documents: list[Document] = []
    listed: Listed = []
    for split, json in jsons:
        document = coco_json.load(json, faults, split, several=len(jsons) > 1)
        named = source.images.get(split or "train") if isinstance(source.images, dict) else source.images
        folder = _images(path, json, named, document, source.prefix or "")
        documents.append(document)
        listed += [(picture, folder) for picture in document.pictures]
    return documents, listed


def _json(path: Path, name: str | None) -> Path:
    if path.is_file():
        return path
    if name is not None:
        return rows.inside(path, name, "source.annotations")
    there = sorted({*path.glob("*.json"), *path.glob("annotations/*.json")})
    if len(there) != 1:
        raise DataError(
            f"{path}: expected one .json in it or in annotations/, received "
            f"{', '.join(each.relative_to(path).as_posix() for each in there) or 'none'}; name it as source.annotations"
        )
    return there[0]


def _images(path: Path, json: Path, name: str | None, document: Document, prefix: str) -> Path:
    """The folder that the JSON's file names are relative to: as named, or the first that holds the first image."""
    base = path if path.is_dir() else path.parent
    if name is not None:
        folders = [base / Path(name).expanduser()]
    else:
        folders = list(dict.fromkeys([json.parent, json.parent / "images", base, base / "images"]))
    if not document.pictures:
        raise DataError(f"{json}: expected images, received none")
    first = document.pictures[0]
    for folder in folders:
        if Names((folder.resolve(),), prefix).path(first.name) is not None:
            return folder.resolve()
    if (said := no_name(first.name)) is not None:
        raise DataError(f"{json}: {first.where}: {said}")
    names = [each.name for each in document.pictures[:_ASKED]]
    if (found := way(names, base.resolve())) is not None and len(found.roots) == 1:
        raise DataError(
            f"{json}: {first.where}: expected its file in {folders[0]}, received none; it is found with "
            f"{found.said('images', '.')} under `source:`"
        )
    raise DataError(
        f"{json}: {first.where}: expected its file in {' or '.join(map(str, folders))}, received none; "
        "name the folder of the images as source.images"
    )


def _labels(documents: list[Document], found: list[Annotated], source: CocoSource) -> tuple[str, ...]:
    """The categories that have an object that is taken, in order of their ids: of others nothing can be learnt."""
    crowded = source.take in ("masks", "labels")  # a crowd is shown there, and else neither learnt nor judged
    seen = {thing.label for each in found for thing, _ in each.things if crowded or not thing.crowd}
    labels = tuple(dict.fromkeys(name for document in documents for name in document.labels if name in seen))
    if not labels:
        raise DataError(f"{documents[0].path}: expected annotations of objects, received none")
    return labels


# -- what fits -------------------------------------------------------------------------------------------------------


def _framed(listed: Listed, source: CocoSource, faults: Faults, path: Path) -> list[Annotated]:
    """The images that are there and of the size that is stated; of crops, those with an object."""

    def framed(each: tuple[Picture, Path]) -> Annotated | Fault:
        picture, folder = each
        file = frames.located(folder, picture.name, picture.where, path, source.prefix or "")
        frame = frames.frame(file, picture.size, picture.where)
        return frame if isinstance(frame, Fault) else Annotated(picture, frame, [])

    cutting = source.take == "crops"
    wanted = (each for each in listed if not cutting or any(not thing.crowd for thing in each[0].things))
    return list(faults.kept(rows.in_order(framed, wanted)))


def _add_boxes(found: list[Annotated], source: CocoSource, faults: Faults, path: Path) -> None:
    """Add the boxes of their objects; of crops, crowds aside."""
    cutting = source.take == "crops"
    taken: list[tuple[Annotated, Thing, boxes.Box]] = []
    for each in found:
        for thing in (thing for thing in each.picture.things if not (cutting and thing.crowd)):
            written = boxes.numbers(thing.box)
            if written is not None:
                taken.append((each, thing, written))
            elif thing.box:
                faults.add(Fault(boxes.NO_NUMBERS, f"{thing.where}, {shown(thing.box)}"))
            else:
                faults.add(Fault(boxes.NO_BOX if cutting else objects.NO_BOX, thing.where))
    written_boxes = [(thing.where, written, each.frame.size) for each, thing, written in taken]
    placed = boxes.placed(written_boxes, source.boxes, source.unit, path, least=1.0 if cutting else 0.0)
    for (each, thing, _), box in zip(taken, placed, strict=True):
        each.things.extend((thing, one) for one in faults.kept([box]))


def _add_outlines(found: list[Annotated], source: CocoSource, faults: Faults, path: Path) -> None:
    """Add the outlines of their objects."""
    for each in found:
        for thing in each.picture.things:
            outline = outlines.parse(thing.outline)
            if outline is None:
                faults.add(Fault(outlines.NO_OUTLINE, f"{thing.where}, {shown(thing.outline)}"))
            else:
                each.things.append((thing, outline))
    outlines.refuse_misread(
        ((each.frame.size, outline) for each in found for _, outline in each.things), source.unit, path
    )
    for each in found:
        shapes = [
            (thing, outline.in_pixels(each.frame.size, source.unit or "pixels")) for thing, outline in each.things
        ]
        each.things[:] = faults.kept(_drawable(each, shapes))


def _add_all(found: list[Annotated], source: CocoSource, faults: Faults, path: Path) -> None:
    """Add their objects, wherever in the image they are."""
    for each in found:
        each.things.extend((thing, None) for thing in each.picture.things)


_ADD = {"crops": _add_boxes, "boxes": _add_boxes, "masks": _add_outlines, "labels": _add_all}


def _whole(each: Annotated) -> Annotated | Fault:
    """An image all of whose objects can be drawn: one that is left out would be learnt as background."""
    whole = not each.picture.lost and len(each.things) == len(each.picture.things)
    return each if whole else Fault(NOT_WHOLE, each.picture.where)


def _drawable(
    each: Annotated, drawn: list[tuple[Thing, outlines.Outline]]
) -> Iterator[tuple[Thing, outlines.Outline] | Fault]:
    length = 0
    for thing, outline in drawn:
        fault = outlines.fault(outline, each.frame.size, thing.where)
        length += 0 if fault else outline.length
        if length > outlines.LONGEST_TOGETHER:
            fault = Fault(outlines.TOO_LONG_TOGETHER, thing.where)
        yield fault or (thing, outline)


# -- crops, boxes, labels and masks ----------------------------------------------------------------------------------


def _cutting(each: Annotated, number: dict[str, int], groups: tuple[str, ...]) -> cut.Cutting:
    picture = each.picture
    values = {group: picture.groups.get(group) for group in groups} | {"group_image": picture.id}
    return cut.Cutting(
        each.frame,
        picture.where,
        [
            (
                box,
                {
                    "id": f"{picture.id}#{thing.id}",
                    "target": number[thing.label],
                    "published": picture.published,
                    **values,
                },
            )
            for thing, box in each.things
        ],
    )


def _boxed(each: Annotated, number: dict[str, int], groups: tuple[str, ...]) -> dict[str, Any]:
    picture = each.picture
    every = (objects.Object(thing.label, box, ignored=thing.crowd) for thing, box in each.things)
    return {
        "id": picture.id,
        "image": each.frame.path.read_bytes(),
        "target": objects.target(every, each.frame, number),
        "published": picture.published,
        **{group: picture.groups.get(group) for group in groups},
    }


def _labelled(each: Annotated, number: dict[str, int], groups: tuple[str, ...]) -> dict[str, Any]:
    picture = each.picture
    return {
        "id": picture.id,
        "image": each.frame.path.read_bytes(),
        "target": sorted({number[thing.label] for thing, _ in each.things}),
        "published": picture.published,
        **{group: picture.groups.get(group) for group in groups},
    }


def _pixels(each: Annotated) -> int:
    return each.frame.size[0] * each.frame.size[1]


def _masked(each: Annotated, number: dict[str, int], groups: tuple[str, ...]) -> dict[str, Any] | Fault:
    picture, drawn = each.picture, mask(each, number)
    if (drawn == png.IGNORED).all():  # which is no class's number: there are too few of them
        return Fault(mask_files.NOTHING, picture.where)
    return {
        "id": picture.id,
        "image": each.frame.path.read_bytes(),
        "target": png.encode(drawn[None])[0].as_py(),
        "published": picture.published,
        **{group: picture.groups.get(group) for group in groups},
    }


def mask(each: Annotated, number: dict[str, int]) -> png.Pixels:
    """`(H, W)` numbers of classes, upright: crowds first, then objects from the largest to the smallest, each over the
    last."""
    size = each.frame.size
    coded = [(thing, outlines.coded(outline, size)) for thing, outline in each.things]
    coded.sort(key=lambda one: (not one[0].crowd, -outlines.area(one[1]), one[0].id))
    drawn = outlines.draw(((shape, number[thing.label]) for thing, shape in coded), size, number[BACKGROUND])
    return frames.turned(drawn, each.frame.orientation)
