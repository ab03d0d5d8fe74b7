"""NumPy arrays and idx files: told by their headers."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import IO, Any

import numpy as np

from components.data.checking.layouts.found import Found, split_in
from components.data.checking.layouts.listing import Contents, Folder

_IDX = re.compile(r"(?P<stem>.*?)(?P<what>images|labels)[-.]idx(?P<rank>[13])[-.]ubyte(?:\.gz)?")

Header = tuple[tuple[int, ...], np.dtype[Any]]


def is_idx(name: str) -> bool:
    return _IDX.fullmatch(PurePosixPath(name).name) is not None


def arrays(contents: Contents, top: Folder) -> list[Found]:
    """One `.npz`, or `.npy` files of images and labels."""
    packed = [name for name in top.names if name.endswith(".npz")]
    if len(packed) == 1:
        found = npz(contents, contents.path_of(top, packed[0]))
        return [found] if found else []  # its reader looks for it
    shapes = {}
    for name in top.names:
        if name.endswith(".npy"):
            with contents.open(contents.path_of(top, name)) as binary:
                shapes[name.removesuffix(".npy")] = _shape(binary)
    found = _arrays(shapes, "a folder of .npy arrays")
    return [found] if found else []


def npz(contents: Contents, name: str) -> Found | None:
    with contents.open(name) as binary:
        try:
            with zipfile.ZipFile(binary) as archive:
                shapes = {}
                for member in archive.namelist():
                    with archive.open(member) as array:
                        shapes[member.removesuffix(".npy")] = _shape(array)
        except zipfile.BadZipFile:
            return None
    return _arrays(shapes, "an .npz of arrays")


def _shape(binary: IO[bytes]) -> Header | None:
    """Shape and type in the header of a `.npy`."""
    try:
        version = np.lib.format.read_magic(binary)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(binary)
    except ValueError:
        return None
    return shape, dtype


def _arrays(shapes: Mapping[str, Header | None], says: str) -> Found | None:
    """Images by the name, or the only array that can be some; labels likewise, as many as there are images."""
    images = {name: each[0] for name, each in shapes.items() if each and each[1] == np.uint8 and len(each[0]) in (3, 4)}
    image = "images" if "images" in images else next(iter(images)) if len(images) == 1 else None
    if image is None:
        return None
    extra = {"split", "time"}
    counted = [name for name, each in shapes.items() if each and each[0] == images[image][:1]]
    labels = [name for name in counted if name not in extra and not name.startswith("group_")]
    label = "labels" if "labels" in labels else labels[0] if len(labels) == 1 else None
    if label is None:
        return None
    named = {"images": image, "labels": label}
    keys = {key: name for key, name in named.items() if key != name}
    return Found("arrays", f"{says}: {image} {'×'.join(map(str, images[image]))}, {label}", keys=keys)


def idx(contents: Contents, top: Folder) -> list[Found]:
    """Pairs of idx files: those called test or t10k are the test split."""
    stems: dict[str, dict[str, str]] = {}
    for name in top.names:
        match = _IDX.fullmatch(name)
        if match and _has_idx_magic(contents, contents.path_of(top, name), int(match["rank"])):
            stems.setdefault(match["stem"], {})[match["what"]] = name.removesuffix(".gz")
    pairs = {stem: each for stem, each in stems.items() if len(each) == 2}
    tests = [stem for stem in pairs if split_in(stem)[0] == "test"]
    trains = [stem for stem in pairs if stem not in tests]
    if len(trains) != 1 or len(tests) > 1:
        return []
    keys = {key: pairs[trains[0]][key] for key in ("images", "labels")}
    if tests:
        keys |= {f"test_{key}": pairs[tests[0]][key] for key in ("images", "labels")}
    usual = {
        "images": "train-images-idx3-ubyte",
        "labels": "train-labels-idx1-ubyte",
        "test_images": "t10k-images-idx3-ubyte",
        "test_labels": "t10k-labels-idx1-ubyte",
    }
    return [Found("idx", "idx files", keys={key: name for key, name in keys.items() if name != usual[key]})]


def _has_idx_magic(contents: Contents, name: str, rank: int) -> bool:
    with contents.open(name) as binary:
        try:
            stream = gzip.GzipFile(fileobj=binary) if name.endswith(".gz") else binary
            return stream.read(4) == bytes([0, 0, 8, rank])
        except (OSError, EOFError):
            return False
