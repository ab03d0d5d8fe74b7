"""Objects → images of their own: the boxes of annotated images, cut out upright."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from components import decoding
from components.data.sources.annotations import frames
from components.data.sources.annotations.boxes import NOISE, Box
from components.data.sources.annotations.frames import Frame
from components.data.sources.base import rows
from components.data.sources.base.faults import Fault
from components.inputs import png
from components.inputs.png import Pixels


@dataclass(frozen=True)
class Cutting:
    """An image, and what is cut out of it. `where` names it in messages."""

    frame: Frame
    where: str
    boxes: list[tuple[Box, dict[str, Any]]]  # in pixels of the frame; and the row that it becomes, without its `image`


def crops(cuttings: Iterable[Cutting]) -> Iterator[dict[str, Any] | Fault]:
    """One row per box, none of which `boxes` has anything against; an image that cannot be decoded is one fault."""
    for some in rows.in_order(_cut, cuttings, lambda each: math.prod(each.frame.size)):
        yield from some


def _cut(each: Cutting) -> list[dict[str, Any] | Fault]:
    frame = each.frame
    try:
        image = decoding.decode(frame.path.read_bytes()).image
    except decoding.UndecodableError as error:
        early = "; objects are cut out before `image:` is read, so convert the image itself" if error.key else ""
        return [Fault(frames.UNREADABLE, f"{each.where} {error}{early}")]
    if image.size != frame.upright:
        return [Fault(frames.UNREADABLE, f"{each.where} was changed while it was read")]
    pixels = decoding.to_array(image)
    return [
        row | {"image": crop(pixels, frames.turned_box(box, frame.size, frame.orientation))} for box, row in each.boxes
    ]


def crop(pixels: Pixels, box: Box) -> bytes:
    """The part `box` of `(H, W, C)` pixels as PNG, touched pixels included, what is over the edge cut off."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    columns = slice(max(0, math.floor(left + NOISE)), min(width, math.ceil(right - NOISE)))
    lines = slice(max(0, math.floor(top + NOISE)), min(height, math.ceil(bottom - NOISE)))
    content: bytes = png.encode(pixels[lines, columns][None])[0].as_py()
    return content
