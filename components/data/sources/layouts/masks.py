"""Pictures and their masks, in folders beside each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from components.data.sources.base.formats import is_image
from components.data.sources.base.rows import is_leftover, split_named
from components.data.sources.layouts.form import Found, Layout, Told, images_below, images_in, splits_of
from components.data.sources.layouts.listing import Contents, Folder
from components.data.sources.tables.tabular import SUFFIXES as TABLES

_MASKS = (
    "masks",
    "mask",
    "labels",
    "label",
    "annotations",
    "annotation",
    "segmentation",
    "segmentations",
    "gt",
    "gtfine",
)
_MASKS_OF = (
    "_masks",
    "_mask",
    "_labels",
    "_label",
    "annot",
    "_annot",
    "_gt",
    "-masks",
)  # behind the pictures' folder's name
_IMAGES = ("images", "image", "imgs", "img", "pictures", "photos", "leftimg8bit", "jpegimages", "original", "input")
# What a mask's name ends with, and its picture's does not; and what its picture's ends with then.
_ENDINGS = (
    *(("", ""), ("", "_mask"), ("", "_masks"), ("", "_seg"), ("", "_segmentation"), ("", "_label"), ("", "_gt")),
    *(("", "_L"), ("", "-mask"), ("", " mask"), ("", "_matte"), ("_leftImg8bit", "_gtFine_labelIds")),
)
_PEEKED = 5  # pictures whose masks are looked for
_MOST = 100_000  # names that are read for it


def _beside(contents: Contents, top: Folder) -> Iterator[Found]:
    """`images/` and `masks/`, and no table that says which belong together."""
    if any(PurePosixPath(name).suffix.lower() in TABLES for name in top.names):
        return
    for images, masks in _couples(top):
        if (ending := _ending(contents, images, masks)) is not None:
            keys = {"images": images.name, "masks": masks.name, **_of(ending)}
            yield Found("masks", f"pictures in {images.name}, masks in {masks.name}", keys=_unusual(keys))
            return


def _in_splits(contents: Contents, top: Folder) -> Iterator[Found]:
    """`train/images/`, `train/masks/`; or `train/` and `train_masks/`, one a split."""
    splits = splits_of(top)
    found: dict[str, dict[str, str]] = {"images": {}, "masks": {}}
    endings = set()
    for split, folder in splits.items():
        couples = [(images, masks) for images, masks in _couples(folder)]
        aside = [
            each for name, each in top.folders.items() if name.lower().removeprefix(folder.name.lower()) in _MASKS_OF
        ]
        couples += [(folder, each) for each in aside if images_in(folder)]
        for images, masks in couples[:1]:
            ending = _ending(contents, images, masks)
            if ending is not None:
                endings.add(ending)
                start = f"{top.path}/" if top.path else ""
                found["images"][split] = images.path.removeprefix(start)
                found["masks"][split] = masks.path.removeprefix(start)
    if found["images"] and set(found["images"]) == set(splits) and len(endings) == 1:
        says = f"pictures and masks, one folder of each a split ({', '.join(found['images'].values())})"
        yield Found("masks", says, keys={**found, **_of(endings.pop())})


def _together(contents: Contents, top: Folder) -> Iterator[Found]:
    """Masks beside their pictures, by their names' ends."""
    if not images_below(top) or any(folder.names for folder in top.walk()):
        return
    names = set(_names(contents, top, _MOST))
    for _, ending in _ENDINGS[1:]:
        masks = [name for name in names if name.endswith(ending)]
        if len(masks) > 1 and all(name.removesuffix(ending) in names for name in masks):
            keys = {"images": ".", "masks": ".", "mask": ending}
            yield Found("masks", f"masks beside their pictures, called *{ending}", keys=keys)
            return


def _several(contents: Contents, top: Folder) -> Iterator[Told]:
    """Several masks a picture, one an object, in one folder per picture."""
    folders = list(islice(top.folders.values(), _PEEKED))
    couples = [(images, masks) for folder in folders for images, masks in _couples(folder)]
    alone = len(couples) == len(folders) > 1 and all(images_in(images) == 1 for images, _ in couples)
    if alone and not all(split_named(folder.name) for folder in folders):
        yield Told(
            "these pictures have a folder each, with one mask per object: draw each picture's objects into one "
            "mask, a PNG "
            "whose pixels are numbers of classes, as `images/NAME.png` and `masks/NAME.png`, or convert them to COCO's "
            "JSON"
        )


def _couples(top: Folder) -> Iterator[tuple[Folder, Folder]]:
    """Folders of pictures and of their masks, by their names."""
    lowered = {name.lower(): folder for name, folder in top.folders.items() if images_below(folder)}
    images = next((lowered[name] for name in _IMAGES if name in lowered), None)
    masks = next((lowered[name] for name in _MASKS if name in lowered), None)
    if images is not None and masks is not None:
        yield images, masks
        return
    for name, folder in lowered.items():
        for ending in _MASKS_OF:
            if f"{name}{ending}" in lowered and split_named(name) is None:
                yield folder, lowered[f"{name}{ending}"]
                return
    whole = [name for name in lowered if split_named(name) is None]
    if masks is not None and len(lowered) == 2 and len(whole) == 2:
        yield next(folder for folder in lowered.values() if folder is not masks), masks


def _ending(contents: Contents, images: Folder, masks: Folder) -> tuple[str, str] | None:
    """What pictures' and masks' names end with where they differ; None where they have nothing in common."""
    pictures = list(islice(_names(contents, images, _MOST), _PEEKED))
    answers = set(_names(contents, masks, _MOST))
    for picture, mask in _ENDINGS:
        stems = [name.removesuffix(picture) for name in pictures if name.endswith(picture)]
        if stems and sum(f"{stem}{mask}" in answers for stem in stems) > len(stems) // 2:
            return picture, mask
    return None


def _names(contents: Contents, folder: Folder, most: int) -> Iterator[str]:
    """Pictures in it and below by their paths without suffix, in order of name."""
    base, count = contents.base / folder.path, 0
    for at, folders, files in os.walk(base):
        folders[:] = sorted(name for name in folders if not is_leftover(name))
        for name in sorted(files):
            if is_image(name) and not is_leftover(name) and count < most:
                count += 1
                below = PurePosixPath(os.path.relpath(os.path.join(at, name), base))  # noqa: PTH118
                yield below.with_suffix("").as_posix()


def _of(ending: tuple[str, str]) -> dict[str, Any]:
    return {key: value for key, value in zip(("picture", "mask"), ending, strict=True) if value}


def _unusual(keys: dict[str, Any]) -> dict[str, Any]:
    usual = {"images": "images", "masks": "masks"}
    return {key: value for key, value in keys.items() if usual.get(key) != value}


LAYOUTS = (
    Layout(
        "`images/*.jpg`, `masks/*.png`; `images/train/`, `annotations/train/`", "ADE20K, Kaggle, Supervisely", _beside
    ),
    Layout("`train/images/`, `train/masks/`; `train/`, `train_masks/`", "CamVid, Carvana", _in_splits, sure=True),
    Layout("`1.png`, `1_mask.png`", "Kaggle", _together, sure=True),
    Layout("`ID/images/ID.png`, `ID/masks/*.png`", "Data Science Bowl", _several, sure=True),
)
