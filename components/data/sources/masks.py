"""Pictures in one folder and their masks in another (or the same), under the same names: `images/1.jpg`, `masks/1.png`.

Folders within them count too, so that `images/train/1.jpg` goes with `masks/train/1.png`; the first that is called
after a split publishes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import SPLITS, Split
from components.config import MasksSource
from components.data.errors import DataError
from components.data.sources.annotations import mask_files
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault, Faults, Kind, named
from components.data.sources.base.form import SourceData, schema
from components.data.sources.base.formats import is_image
from components.data.sources.layouts import masks as layouts
from components.data.sources.places import place

LAYOUTS = layouts.LAYOUTS

NO_MASK = Kind("picture", "pictures", "with a mask", "without one")
NO_PICTURE = Kind("mask", "masks", "with a picture", "without one")


@dataclass(frozen=True)
class Pair:
    """A picture and its mask; `name` is the picture's path below the source, `/` between."""

    name: str
    image: Path
    mask: Path
    published: Split | None


def read(source: MasksSource, project: Path) -> SourceData:
    path = place.local(source, project)
    if not path.is_dir():
        raise DataError(f"source.path: expected a folder with pictures and masks, received {path}, which is none")
    faults = Faults(str(path), source.faulty)
    pairs = [
        pair
        for images, folder, split in _folders(source, path)
        for pair in faults.kept(_pairs(source, path, images, folder, split))
    ]
    faults.tell()
    if not pairs:
        raise DataError(
            f"{path}: expected pictures in {source.images} with masks of the same names in {source.masks}, received "
            "none; name the folders as source.images and source.masks, and what their names end with as "
            "source.picture and source.mask"
        )
    contents = (pair.mask.read_bytes() for pair in pairs)
    classes = source.names or mask_files.numbered(contents, str(path), "its masks", source.ignore)
    masked = rows.in_order(lambda pair: _masked(pair, source, path), pairs)
    taken, about = rows.tables(schema("mask"), faults.sound(masked)), mask_files.about(source.ignore)
    return SourceData(classes, "mask", taken, notes=faults.notes, about=about)


def _folders(source: MasksSource, path: Path) -> Iterator[tuple[Path, Path, Split | None]]:
    if isinstance(source.images, str) and isinstance(source.masks, str):
        yield _folder(path, source.images, "source.images"), _folder(path, source.masks, "source.masks"), None
    elif isinstance(source.images, dict) and isinstance(source.masks, dict):
        for split in (each for each in SPLITS if each in source.images):
            images, folder = source.images[split], source.masks[split]
            yield _folder(path, images, "source.images"), _folder(path, folder, "source.masks"), split


def _folder(path: Path, name: str, key: str) -> Path:
    return rows.folder_inside(path, name, key)


def _pairs(source: MasksSource, path: Path, images: Path, folder: Path, split: Split | None) -> Iterator[Pair | Fault]:
    """Each picture with its mask, in order of name."""
    there = _files(folder, path)
    pictures = there if folder == images else _files(images, path)
    if folder == images and not source.mask and not source.picture:
        raise DataError(
            f"{images}: expected source.mask, what the names of masks end with, since pictures lie there too"
        )
    answers = {key: file for name, file in there.items() if (key := _key(name, source.mask)) is not None}
    for name, file in pictures.items():
        key = _key(name, source.picture)
        if key is None or (folder == images and _key(name, source.mask) is not None and source.mask):
            continue
        said = (images / file).relative_to(path).as_posix()
        if key not in answers:
            yield Fault(NO_MASK, named(said))
            continue
        yield Pair(said, images / file, folder / answers.pop(key), split or _published(file))
    for file in answers.values():
        if folder != images:
            yield Fault(NO_PICTURE, named((folder / file).relative_to(path).as_posix()))


def _key(name: str, ending: str) -> str | None:
    """What picture and mask have in common; None for a name that has not the ending."""
    return name.removesuffix(ending) if name.endswith(ending) else None


def _files(folder: Path, path: Path) -> dict[str, str]:
    """Path without suffix → path, below the folder, of all pictures in and below it."""
    found: dict[str, str] = {}
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not rows.is_leftover(name))
        for name in sorted(files):
            if rows.is_leftover(name) or not is_image(name):
                continue
            file = rows.inside(path, Path(base, name).relative_to(path).as_posix(), str(path))
            below = file.relative_to(folder).as_posix()
            stem = below[: -len(file.suffix)]
            if stem in found:
                raise DataError(f"{file}: expected one file of this name, received {found[stem]} too; rename one")
            found[stem] = below
    return found


def _published(file: str) -> Split | None:
    """The split that a folder on the way is called after."""
    return next((split for part in Path(file).parts[:-1] if (split := rows.split_named(part)) is not None), None)


def _masked(pair: Pair, source: MasksSource, path: Path) -> dict[str, Any] | Fault:
    image = mask_files.File(pair.image.read_bytes(), named(pair.name))
    mask = mask_files.File(pair.mask.read_bytes(), named(pair.mask.relative_to(path).as_posix()))
    target = mask_files.target(image, mask, source.values, source.ignore)
    if isinstance(target, Fault):
        return target
    return {"id": pair.name, "image": image.content, "target": target, "published": pair.published}
