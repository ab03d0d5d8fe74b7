"""Masks that lie in files of their own → the masks of their pictures: of their size, and turned as they are.

A mask belongs to the picture as people see it. Where only the stored pixels of a picture that lies on its side are of
the mask's size, it was drawn over those, and is turned with them (see `frames`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components import decoding
from components.data import images
from components.data.sources import frames
from components.data.sources.faults import Fault, Kind

_CLASSES = frozenset({"L", "P", "1", "I;16", "I;16B", "I;16L"})  # of one channel, whose values are whole numbers
_AS_THEY_ARE = frozenset({"L", "P"})
_MOST = 255  # of a pixel's number, since masks are kept in bytes
_BACK = {6: 8, 8: 6}  # what undoes an orientation; the others undo themselves

UNREADABLE = Kind("mask", "masks", "that can be read", "unreadable")
NO_CLASSES = Kind(
    *("mask", "masks"), "of one channel whose pixels are numbers of classes (PNG of mode L or P)", "of something else"
)
UNNAMED = Kind("mask", "masks", "of the values that `source.values` lists", "of another value")
OTHER_SIZE = Kind("mask", "masks", "of the size of their pictures", "of another size")


class File(NamedTuple):
    """A file's content, and how messages call it."""

    content: bytes
    name: str


def aligned(image: File, mask: File) -> bytes | Fault:
    """The mask of a picture as PNG of its upright size: the file itself, where it is that.

    What is no picture is left to the inspection, which says so of all of them.
    """
    try:
        picture = decoding.header(image.content)
    except decoding.UndecodableError:
        return mask.content
    try:
        return _fitted(decoding.header(mask.content), picture, image, mask)
    except decoding.UndecodableError as error:
        return Fault(UNREADABLE, f"{mask.name} {error}")


def used(content: bytes) -> list[int]:
    """The numbers of a mask's pixels as its file has them; none where it is no mask."""
    try:
        image = decoding.load(content)
    except decoding.UndecodableError:
        return []
    if image.mode not in _CLASSES:
        return []
    pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        return np.flatnonzero(images.class_counts(pixels)).tolist()
    found: list[int] = np.unique(pixels).astype(np.int64).tolist()
    return found


def renumbered(mask: File, values: Sequence[int | Sequence[int]]) -> bytes | Fault:
    """An aligned mask whose pixels are `values` (or one of several) → one whose pixels are these values' places."""
    number = np.full(256, len(values), dtype=np.uint8)
    for place, each in enumerate(values):
        number[np.atleast_1d(each)] = place
    try:
        pixels = decoding.indices(mask.content)
    except decoding.UndecodableError as error:
        return Fault(UNREADABLE, f"{mask.name} {error}")
    other = np.flatnonzero((number == len(values)) & (images.class_counts(pixels) > 0))
    if len(other):
        return Fault(UNNAMED, f"{mask.name} has {listed(other.tolist())}")
    content: bytes = images.encode(number[pixels][None])[0].as_py()
    return content


def listed(values: Sequence[int]) -> str:
    """`0, 128, 255`; of many the first and the last."""
    some = [*map(str, values[:4]), "…", str(values[-1])] if len(values) > 6 else list(map(str, values))
    return ", ".join(some)


def _fitted(head: decoding.Header, picture: decoding.Header, image: File, mask: File) -> bytes | Fault:
    mode = head.mode.split()[0]  # whatever is see-through
    if mode in _AS_THEY_ARE and head.size == picture.size:
        return mask.content
    if mode not in _CLASSES:
        return Fault(NO_CLASSES, f"{mask.name} has mode {mode}")
    pixels = _turned(np.asarray(decoding.load(mask.content)), head, picture)
    if pixels is None:
        (width, height), (wide, high) = head.size, picture.size
        return Fault(OTHER_SIZE, f"{mask.name} is {width}×{height}, {image.name} {wide}×{high}")
    if pixels.max(initial=0) > _MOST:
        return Fault(NO_CLASSES, f"{mask.name} has numbers to {pixels.max():,} (mode {mode})")
    content: bytes = images.encode(pixels.astype(np.uint8)[None])[0].as_py()
    return content


def _turned(pixels: npt.NDArray[Any], mask: decoding.Header, picture: decoding.Header) -> npt.NDArray[Any] | None:
    """A mask `(H, W)`, which has been turned as its own file says, as its picture is; None where no turning fits."""
    if mask.size == picture.size:
        return pixels
    stored = frames.turned(pixels, _BACK.get(mask.orientation, mask.orientation))
    if mask.stored == picture.size:  # it is upright, and what its file says of turning was copied from elsewhere
        return stored
    return frames.turned(stored, picture.orientation) if mask.stored == picture.stored else None
