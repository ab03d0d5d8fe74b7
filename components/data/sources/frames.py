"""What coordinates and masks belong to: the picture as people see it, or its pixels as they are stored.

A photograph may lie on its side in its file, and a tag (EXIF) says how to turn it upright. Everybody else in this
project sees pictures upright only. Annotations belong to the upright picture too, unless their size says that they were
drawn over the stored pixels: then they are turned with it. Of a square picture both sizes are one, and upright is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.data.images import Pixels
from components.data.sources import rows
from components.data.sources.boxes import Box, Size
from components.data.sources.faults import Fault, Kind, shown

MISSING = Kind("the files that are named", "that are not there")
UNREADABLE = Kind("pictures that can be read", "that cannot")
RESIZED = Kind("pictures of the size that is stated", "of another")


@dataclass(frozen=True)
class Frame:
    """A picture's file, and what its annotations are relative to."""

    path: Path
    size: Size  # that coordinates are of
    upright: Size  # of the picture as people see it
    orientation: int  # EXIF's number for what turns coordinates and masks upright; 1: they are


def frame(folder: Path, name: str, stated: tuple[Any, Any], where: str) -> Frame | Fault:
    """The frame of the picture `folder/name`, of which annotations say that it is as wide and high as `stated`.

    Only its header is read. Nothing, or 0, for a size: it is the file's. Raises DataError for a name that leads out of
    the folder.
    """
    if ".." not in Path(name).parts and not (folder / name).exists():
        return Fault(MISSING, where)
    path = rows.inside(folder, name, where)
    head = read_head(path)
    if isinstance(head, str):
        return Fault(UNREADABLE, f"{where}: {head}")
    said = tuple(map(_whole, stated))
    if not all(said) or said == head.upright:
        return Frame(path, head.upright, head.upright, 1)
    if said == head.stored:
        return Frame(path, head.stored, head.upright, head.orientation)
    received = "{}×{}".format(*head.upright)
    return Fault(RESIZED, f"{where} is {received}, stated {'×'.join(map(shown, stated))}")


def _whole(value: Any) -> Any:
    """A whole number that may stand as a text or a float; 0 where nothing is stated, anything else as it is."""
    if value is None or value == "":
        return 0
    try:
        return int(value) if float(value) == int(value) else value
    except (TypeError, ValueError, OverflowError):
        return value


def turned_box(box: Box, size: Size, orientation: int) -> Box:
    """A box in a picture of `size`, where the picture is turned as EXIF's `orientation` says."""
    (left, top, right, bottom), (width, height) = box, size
    if orientation in (2, 3, 7, 8):  # what is turned from right to left, before or after x and y change places
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """`(H, W)` pixels as stored → upright, as EXIF's `orientation` says."""
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels.T if orientation >= 5 else pixels)
