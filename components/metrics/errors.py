"""How far numbers lie from the truth, under weights `(B, N)` of N samples: arrays of B values, each a sum of rows.

A sample whose answer is no finite number makes an error infinite wherever it counts, rather than vanish from it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def mean(values: Floats, weights: Floats) -> Floats:
    """Weighted mean of `(N,)` values; NaN where nothing has weight, infinite where what counts is not finite."""
    finite = np.isfinite(values)
    total = weights.sum(axis=1)
    found: Floats = np.full(len(weights), np.nan)
    np.divide(weights @ np.where(finite, values, 0.0), total, out=found, where=total > 0)
    found[weights[:, ~finite].sum(axis=1) > 0] = np.inf
    return found


def root_mean_square(errors: Floats, weights: Floats) -> Floats:
    """Of `(N,)` errors."""
    root: Floats = np.sqrt(mean(errors**2, weights))
    return root


def mean_absolute(errors: Floats, weights: Floats) -> Floats:
    """Of `(N,)` errors."""
    return mean(np.abs(errors), weights)


def explained(target: Floats, errors: Floats, weights: Floats) -> Floats:
    """R²: 1 less the squared error in parts of the variance of the `(N,)` targets; NaN where these do not vary."""
    variance = mean(target**2, weights) - mean(target, weights) ** 2
    # Of equal targets rounding leaves a little of either sign.
    varies = variance > 1e-12 * np.maximum(mean(target**2, weights), np.finfo(np.float64).tiny)
    found: Floats = np.full(len(weights), np.nan)
    np.divide(mean(errors**2, weights), variance, out=found, where=varies)
    return 1.0 - found


def coverage(target: Floats, low: Floats, high: Floats, weights: Floats) -> Floats:
    """Share of the `(N,)` targets that lie in their intervals, ends included; an end that is NaN includes none."""
    return mean(((target >= low) & (target <= high)).astype(np.float64), weights)
