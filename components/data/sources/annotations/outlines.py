"""COCO's outlines (polygons, run lengths) → masks, by `pycocotools`.

Its C code believes every number that it is given. So nothing of a file reaches it before coordinates, lengths and sizes
were compared with the picture: what `fault` has nothing against may be drawn, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.config import BoxUnit
from components.data.sources.annotations import boxes
from components.data.sources.annotations.boxes import Box, Floats, Size
from components.data.sources.base.faults import Fault, Kind, shown
from components.inputs.png import Pixels

# Pixels that an outline may reach over its picture's edge, where it is cut off: tools let a point be dragged beside the
# picture, and curves that are simplified to polygons overshoot, by a few pixels.
OVER_THE_EDGE = 3.0
# Pixels of length, of one outline and of all of a picture's: `pycocotools` takes a hundred bytes a pixel of the first
# while it draws, and keeps up to eight a pixel of the second. The edge of a 64-megapixel picture is 32,000 long.
LONGEST, LONGEST_TOGETHER = 1_000_000, 20_000_000
MOST_POLYGONS = 2_000  # of one outline: they are laid over each other one by one
_DIGITS = 7  # characters of a run in compressed form: 35 bits, and no picture has more pixels

NO_OUTLINE = Kind("outline", "outlines", "of polygons of at least three points or of run lengths", "of something else")
OUTSIDE = Kind("outline", "outlines", "inside their pictures", "outside of the picture")
TOO_LONG = Kind(
    *("outline", "outlines"), f"of at most {MOST_POLYGONS:,} polygons and {LONGEST:,} pixels' length", "beyond that"
)
TOO_LONG_TOGETHER = Kind(
    *("outline", "outlines"), f"of at most {LONGEST_TOGETHER:,} pixels' length together in a picture", "beyond that"
)
WRONG_RUNS = Kind("outline", "outlines", "whose run lengths cover their pictures", "whose run lengths do not")


@dataclass(frozen=True)
class Outline:
    """A `segmentation`: polygons, each `(N, 2)` points, or run lengths as they stand in the file."""

    polygons: tuple[Floats, ...] = ()
    counts: Any = None
    size: Any = None  # that run lengths are of, height and width

    @property
    def length(self) -> int:
        """Pixels, about: what drawing it costs."""
        return sum(map(_length, self.polygons)) if self.polygons else len(self.counts)

    @property
    def bounds(self) -> Box:
        """Left, top, right and bottom of polygons."""
        points = np.concatenate(self.polygons)
        return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())

    def in_pixels(self, size: Size, unit: BoxUnit) -> Outline:
        """The same, its polygons being written in `unit` of a picture of width and height."""
        if unit == "pixels" or not self.polygons:
            return self
        scale = np.array(size) / {"shares": 1.0, "percent": 100.0}[unit]
        with np.errstate(over="ignore"):  # what becomes infinite is outside of its picture, and is told so
            return Outline(tuple(each * scale for each in self.polygons))


def parse(segmentation: Any) -> Outline | None:
    """What an annotation has as `segmentation`; None where it is no outline."""
    if isinstance(segmentation, dict):
        return Outline(counts=segmentation.get("counts"), size=segmentation.get("size"))
    if not isinstance(segmentation, list) or not segmentation:
        return None
    polygons = [_points(each) for each in segmentation]
    return None if any(each is None for each in polygons) else Outline(tuple(polygons))  # type: ignore[arg-type]


def fault(outline: Outline, size: Size, place: str) -> Fault | None:
    """What is wrong with an outline in pixels of a picture of width and height; None where it may be drawn."""
    if not outline.polygons:
        said = _wrong_runs(outline, size)
        return None if said is None else Fault(WRONG_RUNS, f"{place}, {said}")
    left, top, right, bottom = outline.bounds
    if min(left, top) < -OVER_THE_EDGE or right > size[0] + OVER_THE_EDGE or bottom > size[1] + OVER_THE_EDGE:
        return Fault(OUTSIDE, f"{place}, {left:g}, {top:g} to {right:g}, {bottom:g} of {size[0]}×{size[1]}")
    if len(outline.polygons) > MOST_POLYGONS or outline.length > LONGEST:
        return Fault(TOO_LONG, f"{place}, {len(outline.polygons):,} that are {outline.length:,} long")
    return None


def refuse_misread(found: Iterable[tuple[Size, Outline]], unit: BoxUnit | None, path: Path) -> None:
    """Raises DataError where the polygons of a file are in another unit than it is said; see `boxes.refuse_misread`."""
    drawn = [(size, outline.bounds) for size, outline in found if outline.polygons]
    written = np.array([bounds for _, bounds in drawn], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([size for size, _ in drawn], dtype=np.float64).reshape(-1, 2)
    boxes.refuse_misread(written, sizes, "xyxy", unit, path, "polygons")


def coded(outline: Outline, size: Size) -> dict[str, Any]:
    """An outline without a fault in `pycocotools`' compressed form."""
    from pycocotools import mask as coding

    width, height = size
    if outline.polygons:
        polygons = [each.ravel().tolist() for each in outline.polygons]
        return dict(coding.merge(coding.frPyObjects(polygons, height, width)))
    if isinstance(outline.counts, str):
        return {"size": [height, width], "counts": outline.counts.encode("ascii")}
    return dict(coding.frPyObjects({"size": [height, width], "counts": outline.counts}, height, width))


def area(each: dict[str, Any]) -> int:
    """Pixels of a coded outline."""
    from pycocotools import mask as coding

    return int(coding.area(each))


def draw(things: Iterable[tuple[dict[str, Any], int]], size: Size, background: int) -> Pixels:
    """`(H, W)`: coded outlines and the class of each, every one over those before it."""
    from pycocotools import mask as coding

    result = np.full((size[1], size[0]), background, dtype=np.uint8)
    for each, label in things:
        result[coding.decode(each).astype(bool)] = label
    return result


# -- polygons --------------------------------------------------------------------------------------------------------


def _points(polygon: Any) -> Floats | None:
    """`(N, 2)` of x, y, x, y, …; None where these are not at least three points of finite numbers."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return None
    if not all(type(each) is float or type(each) is int for each in polygon):
        return None
    try:
        points = np.array(polygon, dtype=np.float64)
    except OverflowError:  # a whole number beyond any float
        return None
    return points.reshape(-1, 2) if np.isfinite(points).all() else None


def _length(points: Floats) -> int:
    """Steps along the longer axis, and one a point, as `pycocotools` goes around them."""
    return int(np.abs(np.diff(points, axis=0, append=points[:1])).max(axis=1).sum()) + len(points)


# -- run lengths -----------------------------------------------------------------------------------------------------


def _wrong_runs(outline: Outline, size: Size) -> str | None:
    """What is wrong with run lengths, in words; None where they cover a picture of this size exactly."""
    width, height = size
    pixels, counts = width * height, outline.counts
    if outline.size != [height, width]:
        return f"of size {shown(outline.size)} instead of {[height, width]}"
    runs = None
    if isinstance(counts, str):
        runs = _unpacked(counts, pixels)
    elif isinstance(counts, list) and len(counts) <= pixels + 1:
        runs = counts if all(type(each) is int and 0 <= each <= pixels for each in counts) else None
    if runs is None:
        return f"counts of {shown(counts)}"
    return None if sum(runs) == pixels else f"{sum(runs):,} of {pixels:,} pixels"


def _unpacked(text: str, pixels: int) -> list[int] | None:
    """Compressed run lengths (LEB128-like, differences to the run before the last); None where they are none."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        part = ord(character) - 48
        if not 0 <= part < 64 or shift >= 5 * _DIGITS or len(runs) > pixels:
            return None
        value |= (part & 0x1F) << shift
        shift += 5
        if not part & 0x20:
            if part & 0x10:
                value |= -1 << shift
            run = value + (runs[-2] if len(runs) > 2 else 0)
            if not 0 <= run <= pixels:
                return None
            runs.append(run)
            value = shift = 0
    return None if shift or not runs else runs
