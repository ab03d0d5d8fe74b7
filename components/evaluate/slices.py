"""Slices: groups of samples found in the inputs themselves, where the data declares no groups.

A slice is a quantile of a statistic that the kind of input names, of pictures brightness or contrast, so that every one
holds about as many samples. Slices are properties of inputs and are named so; they say nothing about people.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from components.inputs.protocol import InputKind, Values

PREFIX = "slice_"


def of_inputs(kind: InputKind, values: Values, count: int) -> dict[str, npt.NDArray[np.str_]]:
    """`slice_STATISTIC` of N inputs, for pictures `slice_brightness` and `slice_contrast`: the slice's name, `(N,)`."""
    found = kind.sliced(values)
    return {f"{PREFIX}{name}": quantile_slices(found[name], count, ends) for name, ends in kind.slices.items()}


def quantile_slices(
    values: npt.NDArray[np.float64], count: int, ends: tuple[str, str] = ("lowest", "highest")
) -> npt.NDArray[np.str_]:
    """Each value's slice, `1 of 4 (darkest)` … `4 of 4 (brightest)`.

    Equal values are never parted, so where many are equal there are fewer slices than asked for.
    """
    inner = np.unique(np.quantile(values, np.arange(1, count) / count)) if len(values) else np.empty(0)
    ranks = np.searchsorted(inner, values, side="left")
    present, ranks = np.unique(ranks, return_inverse=True)
    total = len(present)
    names = [f"{number} of {total}" for number in range(1, total + 1)]
    if total > 1:
        names[0], names[-1] = f"{names[0]} ({ends[0]})", f"{names[-1]} ({ends[1]})"
    return np.array(names, dtype=np.str_)[ranks] if total else np.empty(0, dtype=np.str_)


def columns(names: Iterable[str]) -> list[str]:
    """Those columns of a table that tell groups or slices apart."""
    return [name for name in names if name.startswith(("group_", PREFIX))]
