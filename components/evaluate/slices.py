"""Slices: groups of samples found in the images themselves, where the data declares no groups.

A slice is a quantile of brightness or of contrast, so that every one holds about as many samples. Slices are
properties of pictures and are named so; they say nothing about people.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

PREFIX = "slice_"
ENDS = {"slice_brightness": ("darkest", "brightest"), "slice_contrast": ("flattest", "starkest")}


def by_image(images: npt.NDArray[np.uint8], count: int) -> dict[str, npt.NDArray[np.str_]]:
    """`slice_brightness` and `slice_contrast` of images `(N, H, W, C)`: each a slice's name a sample, `(N,)`."""
    brightness, contrast = image_statistics(images)
    return {
        name: quantile_slices(values, count, ENDS[name])
        for name, values in (("slice_brightness", brightness), ("slice_contrast", contrast))
    }


def image_statistics(images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of each image's pixels, in [0, 1]: `(N, H, W, C)` → `(N,)`, `(N,)`."""
    flat = images.reshape(len(images), -1)
    mean = flat.mean(axis=1, dtype=np.float64)
    square = np.einsum("ij,ij->i", flat, flat, dtype=np.float64) / flat.shape[1]
    return mean / 255.0, np.sqrt(np.maximum(square - mean**2, 0.0)) / 255.0


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
