"""COCO's JSON (Lin et al. 2014): objects of images, as crops or as semantic masks.

`crops`: every object that is no crowd is a sample, cut out of its image, which is its `group_image`.
`masks`: every image is a sample. Crowds lie at the bottom of its mask, then the objects from the largest to the
smallest, so that a small thing in front of a large one is seen; everything else is background.
The JSON is read whole; images follow a few at a time. Coordinates are those of the upright image (EXIF).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import SPLITS, Split
from components.config import CocoSource
from components.data import images
from components.data.errors import DataError
from components.data.sources import coco_json, cut, place, rows
from components.data.sources.coco_json import Document, Picture, Thing
from components.data.sources.registry import SourceData, schema

BACKGROUND = "background"
_MOST_CLASSES = 255  # of a mask of bytes: 255 itself says "unknown" (see `prepare`)

Found = list[tuple[Document, Path]]  # each JSON and the folder of its images


def read(source: CocoSource, project: Path) -> SourceData:
    found = _documents(source, place.local(source, project))
    pictures = [(picture, folder) for document, folder in found for picture in document.pictures]
    rows.unique((picture.id, picture.where) for picture, _ in pictures)
    labels = _labels(source, found)
    named = {name for picture, _ in pictures for name in picture.groups}
    if source.take == "crops":
        groups = tuple(sorted({"group_image", *named}))
        number = rows.numbers(labels)
        crops = rows.in_order(lambda each: _crops(*each, number, groups), pictures)
        taken: Iterator[dict[str, Any]] = (row for some in crops for row in some)
        return SourceData(labels, "class", rows.tables(schema("class", groups), taken), groups)
    groups = tuple(sorted(named))
    classes = (BACKGROUND, *(name for name in labels if name != BACKGROUND))
    if len(classes) > _MOST_CLASSES:
        raise DataError(
            f"{source.path}: expected at most {_MOST_CLASSES - 1} categories for masks, received {len(labels)}"
        )
    number = rows.numbers(classes)
    masks = rows.in_order(lambda each: _masked(*each, number, groups), pictures)
    return SourceData(classes, "mask", rows.tables(schema("mask", groups), masks), groups)


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


def _documents(source: CocoSource, path: Path) -> Found:
    if isinstance(source.annotations, dict):
        several = len(source.annotations) > 1
        jsons: list[tuple[Split | None, Path]] = [
            (split, _json(path, source.annotations[split])) for split in SPLITS if split in source.annotations
        ]
    else:
        several, jsons = False, [(None, _json(path, source.annotations))]
    found = []
    for split, json in jsons:
        document = coco_json.load(json, split, several=several)
        named = source.images.get(split or "train") if isinstance(source.images, dict) else source.images
        found.append((document, _images(path, json, named, document)))
    return found


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


def _images(path: Path, json: Path, name: str | None, document: Document) -> Path:
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
        if (folder / first.name).is_file():
            return folder.resolve()
    raise DataError(
        f"{first.where}: expected its file in {' or '.join(map(str, folders))}, received none; "
        "name the folder of the images as source.images"
    )


def _labels(source: CocoSource, found: Found) -> tuple[str, ...]:
    """The categories that have an object to be taken, in order of their ids: of others nothing can be learnt."""
    seen = {
        thing.label
        for document, _ in found
        for picture in document.pictures
        for thing in picture.things
        if source.take == "masks" or not thing.crowd
    }
    labels = tuple(dict.fromkeys(name for document, _ in found for name in document.labels if name in seen))
    if not labels:
        raise DataError(f"{found[0][0].path}: expected annotations of objects, received none")
    return labels


# -- crops -----------------------------------------------------------------------------------------------------------


def _crops(picture: Picture, folder: Path, number: dict[str, int], groups: tuple[str, ...]) -> list[dict[str, Any]]:
    things = [thing for thing in picture.things if not thing.crowd]
    if not things:
        return []
    pixels = cut.upright(rows.inside(folder, picture.name, picture.where), picture.where)
    cut.same_size((pixels.shape[1], pixels.shape[0]), picture.size, picture.where)
    values = {group: picture.groups.get(group) for group in groups} | {"group_image": picture.id}
    return [
        {
            "id": f"{picture.id}#{thing.id}",
            "image": cut.crop(pixels, _box(thing), thing.where),
            "target": number[thing.label],
            "published": picture.published,
            **values,
        }
        for thing in things
    ]


def _box(thing: Thing) -> cut.Box:
    if thing.box is None:
        raise DataError(f"{thing.where}: expected a bbox to cut it out by, received none")
    return thing.box


# -- masks -----------------------------------------------------------------------------------------------------------


def _masked(picture: Picture, folder: Path, number: dict[str, int], groups: tuple[str, ...]) -> dict[str, Any]:
    content = rows.inside(folder, picture.name, picture.where).read_bytes()
    size = cut.upright_size(content)
    if size is not None:  # what is no image at all is found in `prepare`
        cut.same_size(size, picture.size, picture.where)
    return {
        "id": picture.id,
        "image": content,
        "target": images.encode(mask(picture, number)[None])[0].as_py(),
        "published": picture.published,
        **{group: picture.groups.get(group) for group in groups},
    }


def mask(picture: Picture, number: dict[str, int]) -> images.Pixels:
    """`(H, W)` indices of classes: crowds first, then objects from the largest to the smallest, each over the last."""
    from pycocotools import mask as coding

    width, height = picture.size
    result = np.full((height, width), number[BACKGROUND], dtype=np.uint8)
    coded = [(thing, _run_lengths(thing, height, width)) for thing in picture.things]
    for thing, lengths in sorted(coded, key=lambda each: (not each[0].crowd, -int(coding.area(each[1])), each[0].id)):
        result[coding.decode(lengths).astype(bool)] = number[thing.label]
    return result


def _run_lengths(thing: Thing, height: int, width: int) -> Any:
    """An outline in `pycocotools`' compressed form, checked first: its C code does not."""
    from pycocotools import mask as coding

    outline = thing.outline
    if isinstance(outline, dict):
        counts = outline.get("counts")
        if outline.get("size") != [height, width]:
            raise DataError(f"{thing.where}: expected run lengths of {[height, width]}, received {outline.get('size')}")
        if isinstance(counts, list) and all(isinstance(each, int) and each >= 0 for each in counts):
            if sum(counts) != height * width:
                raise DataError(f"{thing.where}: expected runs of {height * width} pixels, received {sum(counts)}")
            return coding.frPyObjects(outline, height, width)
        if isinstance(counts, str):
            return _checked_runs({"size": [height, width], "counts": counts.encode()}, thing, height * width)
    elif isinstance(outline, list) and outline and all(map(_is_polygon, outline)):
        return coding.merge(coding.frPyObjects(outline, height, width))
    raise DataError(
        f"{thing.where}: expected a segmentation, polygons of at least three points or run lengths, received "
        f"{str(outline)[:80]}"
    )


def _is_polygon(points: Any) -> bool:
    numbers = isinstance(points, list) and all(isinstance(each, (int, float)) for each in points)
    return numbers and len(points) >= 6 and len(points) % 2 == 0 and bool(np.isfinite(points).all())


def _checked_runs(coded: dict[str, Any], thing: Thing, pixels: int) -> dict[str, Any]:
    """Compressed run lengths (LEB128-like, differences to the run before the last) that fill the mask exactly."""
    runs: list[int] = []
    value = shift = 0
    for byte in coded["counts"]:
        part = byte - 48
        value |= (part & 0x1F) << shift
        shift += 5
        if not part & 0x20:
            if part & 0x10:
                value |= -1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift or min(runs, default=-1) < 0 or sum(runs) != pixels:
        raise DataError(f"{thing.where}: expected runs of {pixels} pixels, received others; export it again")
    return coded
