"""NumPy arrays: told by their headers."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np

from components.artifacts import SPLITS, Split
from components.data.sources.base.faults import some
from components.data.sources.base.rows import split_named
from components.data.sources.layouts.form import Found, Layout, Told
from components.data.sources.layouts.listing import Contents, Folder

Header = tuple[tuple[int, ...], np.dtype[Any]]

_WORD = re.compile(r"[_ -]+")
_IMAGES = ("images", "image", "imgs", "x", "data", "pictures")
_LABELS = ("labels", "label", "y", "targets", "target", "classes")


def _arrays(contents: Contents, top: Folder) -> Iterator[Found | Told]:
    """One `.npz`, or `.npy` files of images and labels."""
    packed = [name for name in top.names if name.endswith(".npz")]
    if len(packed) == 1:
        found = _npz(contents, contents.path_of(top, packed[0]))
        yield from [found] if found else []  # its reader looks for it
    elif packed:
        yield Told(f"there are several archives of arrays ({some(packed)}): give the one that is meant")
    else:
        shapes = {}
        for name in top.names:
            if name.endswith(".npy"):
                with contents.open(contents.path_of(top, name)) as binary:
                    shapes[name.removesuffix(".npy")] = _shape(binary)
        found = _seen(shapes, "a folder of .npy arrays")
        yield from [found] if found else []


def _of_file(contents: Contents, name: str) -> Found | Told | None:
    return _npz(contents, name) if PurePosixPath(name).suffix.lower() == ".npz" else None


def _npz(contents: Contents, name: str) -> Found | Told | None:
    with contents.open(name) as binary:
        try:
            with zipfile.ZipFile(binary) as archive:
                shapes = {}
                for member in archive.namelist():
                    with archive.open(member) as array:
                        shapes[member.removesuffix(".npy")] = _shape(array)
        except zipfile.BadZipFile:
            return None
    return _seen(shapes, "an .npz of arrays")


def _shape(binary: IO[bytes]) -> Header | None:
    """Shape and type in the header of a `.npy`."""
    try:
        version = np.lib.format.read_magic(binary)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(binary)
    except ValueError:
        return None
    return shape, dtype


def _seen(shapes: Mapping[str, Header | None], says: str) -> Found | Told | None:
    """Images by the name, or the only array that can be some; labels likewise, as many as there are images."""
    of_splits = _in_splits(shapes)
    if of_splits is not None:
        return of_splits
    images = {name: each[0] for name, each in shapes.items() if each and each[1] == np.uint8 and len(each[0]) in (3, 4)}
    image = next((name for name in images if name.lower() in _IMAGES), None)
    image = image or (next(iter(images)) if len(images) == 1 else None)
    if image is None:
        return _listed(shapes)
    count = images[image][0]
    extra = {"split", "time", "id"}
    counted = [
        name
        for name, each in shapes.items()
        if name != image and each and len(each[0]) in (1, 2) and each[0][0] == count
    ]
    labels = [name for name in counted if name not in extra and not name.startswith("group_")]
    label = next((name for name in labels if name.lower() in _LABELS), labels[0] if len(labels) == 1 else None)
    if label is None:
        return _listed(shapes)
    named = {"images": image, "labels": label}
    keys = {key: name for key, name in named.items() if key != name}
    return Found("arrays", f"{says}: {image} {'×'.join(map(str, images[image]))}, {label}", keys=keys)


def _in_splits(shapes: Mapping[str, Header | None]) -> Found | None:
    """An array of images and one of labels for each split, as `train_images` and `y_test`."""
    images: dict[Split, str] = {}
    labels: dict[Split, str] = {}
    for name in shapes:
        words = _WORD.split(name.lower())
        split = next((found for word in words if (found := split_named(word)) is not None), None)
        for into, known in ((images, _IMAGES), (labels, _LABELS)):
            if split is not None and set(words) & set(known):
                into.setdefault(split, name)
    there = [split for split in SPLITS if split in images and split in labels]
    if len(there) < 2:
        return None
    keys = {"images": {split: images[split] for split in there}, "labels": {split: labels[split] for split in there}}
    return Found(
        "arrays", f"arrays of images and labels, one of each a split ({', '.join(keys['images'].values())})", keys=keys
    )


def _listed(shapes: Mapping[str, Header | None]) -> Told | None:
    """That there are arrays, and none that must be the images."""
    said = [f"{name} {each[1]} {'×'.join(map(str, each[0]))}" for name, each in shapes.items() if each]
    if not said:
        return None
    return Told(
        f"there are the arrays {some(said)}: with `--kind arrays -S images=NAME -S labels=NAME` say which holds the "
        "images, (N, H, W) or (N, H, W, 3) of uint8, and which a class for each of them"
    )


LAYOUTS = (
    Layout("`cells.npz`, or `images.npy` and `labels.npy`", "NumPy", _arrays, _of_file),
    Layout("`train_images`, `train_labels` (N, 1), `val_images`, …", "MedMNIST"),
    Layout("`x_train`, `y_train`, `x_test`, `y_test`", "Keras"),
)
