"""Boxes as annotation files write them → boxes in pixels, and whether a file's boxes can be meant as they are read.

A box that does not lie in its picture is a fault of its own; many that would fit if they were read otherwise (as
corners, as centres, as shares of the picture) are one mistake about the whole file, and cropping what happens to fit
would teach the wrong pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from components.config import BoxForm, BoxUnit
from components.data.errors import DataError
from components.data.sources.base.faults import Fault, Kind

# What a box may reach over its picture's edge before it is refused, and is cut off: annotation tools count pixels from
# 0 or 1 and round outwards, which together is less than one pixel.
OVER_THE_EDGE = 1.0
MOST = 0.95  # of a file's boxes: what fits that many is how they were meant, the rest being slips
FEW = 0.9  # what fits fewer is not how they were meant, if another reading fits
SEVERAL = 10  # boxes from which on it is no chance that another reading fits every one of them
NOISE = 1e-3  # pixels, of coordinates that were whole before they were multiplied and divided
_ROUNDING = 0.01  # of a share of 1, of a percentage of 100: six digits are rounded, and boxes reach over the edge
# Pixels: boxes in percent end within the first 202, where nearly all of a large picture's objects would have to lie.
_LARGE = 400

FORMS: dict[BoxForm, str] = {
    "xywh": "x, y, width, height",
    "xyxy": "left, top, right, bottom",
    "cxcywh": "centre x, centre y, width, height",
}
_FULL: dict[BoxUnit, float] = {"shares": 1.0, "percent": 100.0}
_UNITS: dict[BoxUnit, str] = {"shares": "shares of the picture (0 to 1)", "percent": "percent of it (0 to 100)"}

NO_BOX = Kind("object", "objects", "with a bbox to cut them out by", "without a bbox")
NO_NUMBERS = Kind("box", "boxes", "of four numbers", "of something else")
NO_AREA = Kind("box", "boxes", "with an area", "without an area")
TINY = Kind("box", "boxes", "of a pixel at least", "smaller than a pixel")
OUTSIDE = Kind("box", "boxes", "inside their pictures", "outside of the picture")

Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels from 0; right and bottom are outside
Size = tuple[int, int]  # width, height
Floats = npt.NDArray[np.float64]


def numbers(value: Any) -> Box | None:
    """Four finite numbers as they stand in the file; None where they are something else."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    found = [number(each) for each in value]
    return None if None in found else tuple(found)  # type: ignore[return-value]


def number(value: Any) -> float | None:
    """A finite number of a file; None for anything else, as are whole numbers too large for a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if np.isfinite(float(value)) else None
    except OverflowError:
        return None


def placed(
    found: Sequence[tuple[str, Box, Size]],
    form: BoxForm | None,
    unit: BoxUnit | None,
    path: Path,
    first: int = 0,
    least: float = 1.0,
) -> list[Box | Fault]:
    """Each box in pixels of its picture, or what is wrong with it.

    `found` has each box's place in words, its four numbers as they stand in the file `path`, and its picture's size;
    `first` is the number of the first pixel where boxes count pixels, the last one included; `least` what a side has at
    least, in pixels. Raises DataError as `refuse_misread`.
    """
    written = np.array([box for _, box, _ in found], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([size for _, _, size in found], dtype=np.float64).reshape(-1, 2)
    refuse_misread(written, sizes, form, unit, path)
    if unit in (None, "pixels"):
        written[:, :2] -= first
    corners = in_pixels(written, sizes, form or "xywh", unit or "pixels")
    wrong = _faults(corners, sizes, [where for where, _, _ in found], least)
    return [fault or tuple(box) for box, fault in zip(corners.tolist(), wrong, strict=True)]


def in_pixels(written: Floats, sizes: Floats, form: BoxForm, unit: BoxUnit) -> Floats:
    """`(N, 4)` as written, in pictures `(N, 2)` of width and height → `(N, 4)` left, top, right, bottom in pixels."""
    scale = np.tile(sizes / _FULL[unit], (1, 2)) if unit in _FULL else 1.0
    first, second = np.hsplit(written, 2)
    with np.errstate(over="ignore"):  # what becomes infinite is outside of its picture, and is told so
        if form == "cxcywh":
            first, second = first - second / 2, first + second / 2
        elif form == "xywh":
            second = first + second
        corners: Floats = np.hstack([first, second]) * scale
    return corners


def _faults(corners: Floats, sizes: Floats, places: Sequence[str], least: float) -> list[Fault | None]:
    """What is wrong with each of `(N, 4)` boxes in pixels; None where nothing is. `places` name them."""
    extent = corners[:, 2:] - corners[:, :2]
    flat, tiny = ~_all(extent > 2 * NOISE), _all(extent < least)
    inside = _inside(corners, sizes)
    found: list[Fault | None] = [None] * len(corners)
    for at in np.flatnonzero(flat | tiny | ~inside).tolist():
        says = f"{places[at]}, {said(corners[at])}"
        if flat[at]:
            found[at] = Fault(NO_AREA, says)
        elif not inside[at]:
            found[at] = Fault(OUTSIDE, "{} of {:g}×{:g}".format(says, *sizes[at]))
        else:
            found[at] = Fault(TINY, says)
    return found


def said(box: Sequence[float] | Floats) -> str:
    """`2, 5 to 22, 17`."""
    return "{:g}, {:g} to {:g}, {:g}".format(*box)


def refuse_misread(
    written: Floats, sizes: Floats, form: BoxForm | None, unit: BoxUnit | None, path: Path, what: str = "boxes"
) -> None:
    """Raises DataError where a file's boxes cannot be meant as x, y, width, height in pixels, and says what to declare.

    `written` is `(N, 4)` as they stand in the file, `sizes` `(N, 2)` their pictures' width and height. What is declared
    (not None) is not doubted.
    """
    if not len(written):
        return
    said = (None if unit else _in_other_unit(written, sizes, form, what)) or _misread(written, sizes, form, unit, what)
    if said is not None:
        raise DataError(f"{path}: expected {what} {said}")


def _in_other_unit(written: Floats, sizes: Floats, form: BoxForm | None, what: str) -> str | None:
    """By their range alone: as pixels they would lie in a corner of every picture."""
    unit: BoxUnit
    if _all(np.abs(written) <= 1 + _ROUNDING).mean() >= MOST:
        unit = "shares"
    elif len(written) >= SEVERAL and all(
        part.mean() >= MOST for part in (_all(sizes >= _LARGE), _all(np.abs(written) <= 100 * (1 + _ROUNDING)))
    ):
        unit = "percent"
    else:
        return None
    share: dict[BoxForm, float] = {other: _fits(written, sizes, other, unit).mean() for other in FORMS}
    best = max(share.items(), key=lambda item: item[1])[0] if form is None else form
    return (
        f"in pixels, received {len(written):,} {what} in {_UNITS[unit]}; "
        f"{_declare(form, best, unit)} if they are, `unit: pixels` if not"
    )


def _misread(written: Floats, sizes: Floats, form: BoxForm | None, unit: BoxUnit | None, what: str) -> str | None:
    """By how many of them lie inside their pictures."""
    own: tuple[BoxForm, BoxUnit] = (form or "xywh", unit or "pixels")
    fitting = _fits(written, sizes, *own)
    if fitting.all():
        return None
    missed = f"received {int((~fitting).sum()):,} of {len(written):,} {what} that do not fit"
    for other in FORMS if form is None else ():
        fits = _fits(written, sizes, other, own[1])
        if (fitting.mean() < FEW and fits.mean() >= MOST) or (len(written) >= SEVERAL and fits.all()):
            return (
                f"as {FORMS[own[0]]}, {missed} their pictures so, while {_share(fits)} do as {FORMS[other]}; "
                f"say {_declared([f'boxes: {other}'])} if that is what they are, `boxes: {own[0]}` if not"
            )
    if unit is None and fitting.mean() < FEW and (np.abs(written) <= 100 * (1 + _ROUNDING)).all():
        for each in [form] if form is not None else list(FORMS):
            fits = _fits(written, sizes, each, "percent")
            if fits.mean() >= MOST:
                return (
                    f"in pixels, {missed} their pictures so, while {_share(fits)} do in {_UNITS['percent']}; "
                    f"{_declare(form, each, 'percent')} if they are, `unit: pixels` if not"
                )
    return None


def _declare(form: BoxForm | None, other: BoxForm, unit: BoxUnit) -> str:
    return f"say {_declared([f'unit: {unit}', *([f'boxes: {other}'] if other not in (form, 'xywh') else [])])}"


def _declared(keys: Sequence[str]) -> str:
    options = " ".join(f"-S {key.replace(': ', '=')}" for key in keys)
    return f"{' and '.join(f'`{key}`' for key in keys)} under `source:` (`{options}`)"


def _share(fits: npt.NDArray[np.bool_]) -> str:
    return "all" if fits.all() else f"{fits.mean():.0%}"


def _fits(written: Floats, sizes: Floats, form: BoxForm, unit: BoxUnit) -> npt.NDArray[np.bool_]:
    """Which boxes have an area, and lie in their pictures."""
    corners = in_pixels(written, sizes, form, unit)
    return _all(corners[:, 2:] > corners[:, :2]) & _inside(corners, sizes)


def _inside(corners: Floats, sizes: Floats) -> npt.NDArray[np.bool_]:
    """Which boxes lie in their pictures, or reach but little over the edge."""
    first, second = np.hsplit(corners, 2)
    reaching = (first >= -OVER_THE_EDGE) & (second <= sizes + OVER_THE_EDGE)
    return _all(reaching & (second > NOISE) & (first < sizes - NOISE))


def _all(conditions: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Of `(N, …)` conditions, where all of a row hold."""
    hold: npt.NDArray[np.bool_] = np.logical_and.reduce(conditions, axis=1)
    return hold
