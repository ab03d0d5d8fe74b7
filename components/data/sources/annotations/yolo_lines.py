"""YOLO's label files: a line an object, its class's number and its box or outline in shares of the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.data.sources.annotations.boxes import Box
from components.data.sources.base import boundary
from components.data.sources.base.faults import Fault, Kind, shown

_LARGEST = 8 * 2**20  # bytes of one file: ten thousand outlines of fifty points
BROKEN = Kind("file", "files", "of YOLO's labels", "that cannot be read")
NO_LINE = Kind("line", "lines", "of a class's number and a box or an outline", "of something else")
NO_CLASS = Kind("line", "lines", "of the classes that are named", "of another class")


@dataclass(frozen=True)
class Line:
    """One object. `where` names it in messages."""

    number: int  # of its class
    box: Box  # centre x, centre y, width, height
    where: str


def lines(path: Path, where: str, classes: int | None, points: bool = False) -> list[Line | Fault]:
    """The objects of a label file, or what is wrong with it; of outlines the boxes around them.

    With `points` what follows a box are points of the body, no outline. `classes` is how many there are, if that is
    known.
    """
    if (size := path.stat().st_size) > _LARGEST:
        return [Fault(BROKEN, f"{where}: has {size:,} bytes, more than the {_LARGEST:,} that are read")]
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        return [Fault(BROKEN, f"{where}: {boundary.words(error)}")]
    return list(_parsed(text, where, classes, points))


def _parsed(text: str, where: str, classes: int | None, points: bool) -> Iterator[Line | Fault]:
    for at, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{where}, line {at}"
        values = _numbers(line)
        if values is None or not (len(values) == 5 or (len(values) > 6 and (points or len(values) % 2))):
            yield Fault(NO_LINE, f"{place}, {shown(line.strip())}")
            continue
        first, *rest = values
        if not first.is_integer() or first < 0 or (classes is not None and first >= classes):
            of = "" if classes is None else f" of {classes}"
            yield Fault(NO_CLASS, f"{place}, {shown(line.split()[0])}{of}")
            continue
        yield Line(int(first), _around(rest) if len(rest) > 4 and not points else tuple(rest[:4]), place)  # type: ignore[arg-type]


def _numbers(line: str) -> list[float] | None:
    try:
        found = [float(each) for each in line.split()]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None


def _around(points: list[float]) -> Box:
    """The box of an outline x, y, x, y, …: centre and size."""
    across, down = points[::2], points[1::2]
    left, top, right, bottom = min(across), min(down), max(across), max(down)
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
