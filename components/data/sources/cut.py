"""Objects → images of their own: the boxes of annotated images, cut out upright."""

from __future__ import annotations

import math
from pathlib import Path

from components import decoding
from components.data import images
from components.data.errors import DataError
from components.data.images import Pixels

# What a box may reach over its image's edge before it is refused, and is cut off: annotation tools count pixels from
# 0 or 1 and round outwards, which together is less than one pixel.
OVER_THE_EDGE = 1.0
_NOISE = 1e-3  # of coordinates that were whole before they were multiplied and divided

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels from 0; right and bottom are outside


def upright(path: Path, where: str) -> Pixels:
    """`(H, W, C)`: the image as people see it (EXIF), C being 1 for greys; raises DataError for what is none."""
    try:
        return decoding.to_array(decoding.decode(path.read_bytes()).image)
    except decoding.UndecodableError as error:
        early = "; objects are cut out before `image:` is read, so convert the image itself" if error.key else ""
        raise DataError(f"{where}: {path}: {error}{early}") from None


def upright_size(content: bytes) -> tuple[int, int] | None:
    """Width and height as people see the image (EXIF), from its header; None where it has none to be read."""
    try:
        return decoding.header(content).size
    except decoding.UndecodableError:
        return None


def same_size(size: tuple[int, int], stated: tuple[int, int], where: str) -> None:
    """Raises DataError where annotations speak of an image of another size than the upright one's (width, height)."""
    if size != stated:
        turned = "; its pixels lie on their side, annotate it upright" if size == stated[::-1] else ""
        raise DataError(
            f"{where}: expected an image of {stated[0]}×{stated[1]}, as annotated, received {size[0]}×{size[1]}{turned}"
        )


def crop(pixels: Pixels, box: Box, where: str) -> bytes:
    """The part `box` of `(H, W, C)` pixels as PNG, touched pixels included; raises DataError for one outside of it."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    if not all(map(math.isfinite, box)) or right <= left or bottom <= top:
        raise DataError(f"{where}: expected a box with an area, received {_said(box)}")
    if min(left, top) < -OVER_THE_EDGE or right > width + OVER_THE_EDGE or bottom > height + OVER_THE_EDGE:
        raise DataError(f"{where}: expected a box inside the image of {width}×{height}, received {_said(box)}")
    columns = slice(max(0, math.floor(left + _NOISE)), min(width, math.ceil(right - _NOISE)))
    lines = slice(max(0, math.floor(top + _NOISE)), min(height, math.ceil(bottom - _NOISE)))
    part = pixels[lines, columns]
    if not part.size:
        raise DataError(f"{where}: expected a box inside the image of {width}×{height}, received {_said(box)}")
    content: bytes = images.encode(part[None])[0].as_py()
    return content


def _said(box: Box) -> str:
    return "{:g}, {:g} to {:g}, {:g}".format(*box)
