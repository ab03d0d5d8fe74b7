"""Masks that lie in files of their own → the masks of their pictures: of their size, and turned as they are.

A mask belongs to the picture as people see it. Where only the stored pixels of a picture that lies on its side are of
the mask's size, it was drawn over those, and is turned with them (see `frames`).
"""

from __future__ import annotations

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
