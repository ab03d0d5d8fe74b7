"""What coordinates and masks belong to: the picture as people see it, or its pixels as they are stored.

A photograph may lie on its side in its file, and a tag (EXIF) says how to turn it upright. Everybody else in this
project sees pictures upright only. Annotations belong to the upright picture too, unless their size says that they were
drawn over the stored pixels: then they are turned with these. Of a square picture both sizes are one: upright is meant.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components import decoding
from components.data.sources.annotations.boxes import Box, Size
from components.data.sources.base.faults import Fault, Kind, shown
from components.data.sources.base.named_files import Names

MISSING = Kind("file", "files", "of all images", "missing")
UNREADABLE = Kind("picture", "pictures", "that can be read", "unreadable")
_BEGINNING = 2**18  # bytes of a JPEG that hold its header, nearly always: the largest of its blocks have a quarter
RESIZED = Kind("picture", "pictures", "of the size that is stated", "of another size")


@dataclass(frozen=True)
class Frame:
    """A picture's file, and what its annotations are relative to."""

    path: Path
    size: Size  # that coordinates are of
    upright: Size  # of the picture as people see it
    orientation: int  # EXIF's number for what turns coordinates and masks upright; 1: they are


def located(folder: Path, name: str, where: str, file: Path, prefix: str = "") -> Path | Fault:
    """The picture `folder/name`, which `where` in `file` names; raises DataError for one outside of the folder."""
    names = Names((folder,), prefix)
    below = name.removeprefix(prefix)
    if ".." not in Path(below).parts and names.path(name) is None and not os.path.lexists(folder / below):
        return Fault(MISSING, where)
    return names.file(name, f"{file}: {where}")


def frame(path: Path | Fault, stated: tuple[Any, Any], where: str) -> Frame | Fault:
    """The frame of a picture of which annotations say that it is as wide and high as `stated`.

    Only its header is read. Where nothing is stated, or 0, it is upright.
    """
    if isinstance(path, Fault):
        return path
    try:
        head = header(path)
    except decoding.UndecodableError as error:
        return Fault(UNREADABLE, f"{where} {error}")
    said = tuple(map(_whole, stated))
    if not all(said) or said == head.size:
        return Frame(path, head.size, head.size, 1)
    if said == head.stored:
        return Frame(path, head.stored, head.size, head.orientation)
    return Fault(RESIZED, f"{where} is {head.size[0]}×{head.size[1]}, stated {'×'.join(map(str, map(shown, said)))}")


def header(path: Path) -> decoding.Header:
    """What a picture's file says of itself; raises UndecodableError."""
    with path.open("rb") as file:
        content = file.read(_BEGINNING)
        if content.startswith(b"\xff\xd8\xff"):
            try:
                return decoding.header(content)
            except decoding.UndecodableError:
                pass  # not whole, or no picture: the rest will tell
        return decoding.header(content + file.read())


def _whole(value: Any) -> Any:
    """A whole number that may stand as a text or a float; 0 where nothing is stated, anything else as it is."""
    if value is None or value == "":
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return value
    return int(number) if number.is_integer() else value


def turned_box(box: Box, size: Size, orientation: int) -> Box:
    """A box in a picture of `size`, where the picture is turned as EXIF's `orientation` says."""
    (left, top, right, bottom), (width, height) = box, size
    if orientation in (2, 3, 7, 8):  # what is turned from right to left, before or after x and y change places
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation >= 5 else (left, top, right, bottom)


def turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """`(H, W)` pixels as stored → upright, as EXIF's `orientation` says."""
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels.T if orientation >= 5 else pixels)
