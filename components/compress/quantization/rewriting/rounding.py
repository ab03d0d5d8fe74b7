"""Numbers in fewer bits: how weights are rounded to integers with a scale an output channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Shares of the largest value at which the range may end. With 16 levels it pays to cut off what is rare; with 256 the
# first, which is all of it, nearly always wins (an MSE search as in Nagel et al. 2021, section 3.2).
SHARES = np.linspace(1.0, 0.4, 13)


@dataclass(frozen=True)
class Rounded:
    """Integers within ±(2^(bits−1) − 1), and what one of them is worth in each channel along `axis`."""

    integers: npt.NDArray[np.int8]
    scales: Floats  # (channels,)
    axis: int

    @property
    def values(self) -> Floats:
        """What the integers stand for."""
        values: Floats = self.integers * _along(self.scales, self.integers.ndim, self.axis)
        return values


def rounded(values: Floats, axis: int, bits: int, *, search: bool = False) -> Rounded:
    """The values in so many bits, symmetric around 0; with `search`, ranges have the least squared error.

    Without it a channel's range ends at its largest value, as ONNX Runtime's does for weights.
    """
    most = 2 ** (bits - 1) - 1
    others = tuple(other for other in range(values.ndim) if other != axis)
    largest = np.abs(values).max(axis=others, initial=0.0)
    best: Rounded | None = None
    least = np.full(largest.shape, np.inf)
    for share in SHARES if search else SHARES[:1]:
        # A channel of nothing but zeros has no range, and any will do.
        scales = (np.where(largest > 0, largest, 1.0) * share / most).astype(np.float32)
        exact = values / _along(scales, values.ndim, axis)
        found = Rounded(np.clip(np.rint(exact), -most, most).astype(np.int8), scales, axis)
        error = ((found.values - values) ** 2).sum(axis=others)
        better = error < least
        best = found if best is None else _merged(best, found, better)
        least = np.minimum(error, least)
    assert best is not None  # noqa: S101 — there is always one share
    return best


def _merged(one: Rounded, other: Rounded, better: npt.NDArray[np.bool_]) -> Rounded:
    choice = _along(better, one.integers.ndim, one.axis)
    return Rounded(np.where(choice, other.integers, one.integers), np.where(better, other.scales, one.scales), one.axis)


def _along(values: npt.NDArray[Any], dimensions: int, axis: int) -> npt.NDArray[Any]:
    shape = [1] * dimensions
    shape[axis] = -1
    return values.reshape(shape)
