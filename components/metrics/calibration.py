"""Expected calibration error from additive bins, for many weightings of the samples at once.

Guo et al., "On Calibration of Modern Neural Networks" (2017): units are put into equal-width bins of confidence, and
the gap between a bin's mean confidence and its accuracy is averaged with the bins' shares. A sample is kept as three
sums a bin (units, confidence, correct), so masks of any size cost no more than labels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BINS = 15  # Guo et al. 2017


def bin_sums(
    confidence: npt.NDArray[np.floating],
    correct: npt.NDArray[np.bool_],
    bins: int = BINS,
    judged: npt.NDArray[np.bool_] | None = None,
) -> Floats:
    """`(N, …)`, `(N, …)` → `(N, 3·bins)`: units, sum of confidence and number correct in each bin of each sample.

    Where there is `judged` `(N, …)`, of those units alone.
    """
    samples = len(confidence)
    flat = confidence.reshape(samples, math.prod(confidence.shape[1:])).astype(np.float64)
    # Right-closed bins, as in the paper: a confidence of exactly 1 belongs to the last one.
    index = np.clip(np.ceil(flat * bins).astype(np.int64) - 1, 0, bins - 1) + (np.arange(samples) * bins)[:, None]
    kept = slice(None) if judged is None else judged.ravel()
    sums = [
        np.bincount(index.ravel()[kept], weights=values.ravel()[kept], minlength=samples * bins).reshape(samples, bins)
        for values in (np.ones_like(flat), flat, correct.reshape(flat.shape).astype(np.float64))
    ]
    return np.concatenate(sums, axis=1)


def weighted_bins(sums: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """`(N, 3·bins)`, `(B, N)` → units, confidence and correct, each `(B, bins)`."""
    total = weights @ sums
    units, confidence, correct = np.split(total, 3, axis=1)
    return units, confidence, correct


def expected_calibration_error(sums: Floats, weights: Floats) -> Floats:
    """Mean gap between confidence and accuracy: `(N, 3·bins)`, `(B, N)` → `(B,)`; NaN where all weights are 0."""
    units, confidence, correct = weighted_bins(sums, weights)
    total = units.sum(axis=1)
    gap = np.abs(confidence - correct).sum(axis=1)
    error: Floats = np.divide(gap, total, out=np.full(total.shape, np.nan), where=total > 0)
    return error
