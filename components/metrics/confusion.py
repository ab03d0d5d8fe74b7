"""Metrics that are functions of a confusion matrix, for many weightings of the samples at once.

A sample contributes a `(C, C)` matrix of counts, row = target, column = prediction: one count for a classified image,
one a pixel for a mask. Weighted sums of those are all that these metrics need, so a bootstrap over 10,000 samples is a
matrix product. Formulas as in scikit-learn, which the tests compare with.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

Floats = npt.NDArray[np.float64]


def label_counts(target: npt.NDArray[np.int64], prediction: npt.NDArray[np.int64], classes: int) -> sparse.csr_matrix:
    """Each sample's confusion as a row: `(N,)`, `(N,)` → sparse `(N, C·C)` with a single 1 a row."""
    samples = len(target)
    cells = target * classes + prediction
    return sparse.csr_matrix((np.ones(samples), (np.arange(samples), cells)), shape=(samples, classes * classes))


def mask_counts(
    target: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer], classes: int, ignore: int | None = None
) -> npt.NDArray[np.int64]:
    """Pixel counts of each sample: `(N, H, W)`, `(N, H, W)` → `(N, C·C)`; raises ValueError for an unknown class.

    Pixels whose target is `ignore` are not counted.
    """
    samples = len(target)
    if ignore is not None:
        judged = target != ignore
        first = np.arange(samples).repeat(judged.reshape(samples, -1).sum(axis=1))
        return _counts(first, target[judged], prediction[judged], samples, classes)
    first = np.arange(samples)[:, None, None]
    return _counts(first, target, prediction, samples, classes)


def _counts(
    sample: npt.NDArray[np.int64],
    target: npt.NDArray[np.integer],
    prediction: npt.NDArray[np.integer],
    samples: int,
    classes: int,
) -> npt.NDArray[np.int64]:
    """`(N, C·C)`, by the sample, target and prediction of each unit."""
    for name, pixels in (("target", target), ("prediction", prediction)):
        # It would not fail below: the pixel would be counted for the sample that comes next.
        if pixels.size and not 0 <= pixels.min() <= pixels.max() < classes:
            raise ValueError(f"{name}: expected classes 0 to {classes - 1}, received {pixels.min()} to {pixels.max()}")
    cells = target.astype(np.int64) * classes + prediction.astype(np.int64)
    cells += sample * classes * classes
    counts: npt.NDArray[np.int64] = np.bincount(cells.ravel(), minlength=samples * classes * classes)
    return counts.reshape(samples, classes * classes)


def weighted(counts: sparse.csr_matrix | npt.NDArray[np.int64], weights: Floats) -> Floats:
    """Confusion matrices under B weightings: `(N, C·C)`, `(B, N)` → `(B, C, C)`."""
    total = (counts.T @ weights.T).T if sparse.issparse(counts) else weights @ np.asarray(counts, dtype=np.float64)
    classes = round(np.sqrt(total.shape[1]))
    return np.asarray(total, dtype=np.float64).reshape(len(weights), classes, classes)


def accuracy(confusion: Floats) -> Floats:
    """Share of units on the diagonal: `(B, C, C)` → `(B,)`."""
    return _divide(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))


def recall(confusion: Floats) -> Floats:
    """Share of each class's units that were found: `(B, C, C)` → `(B, C)`; NaN for a class with no unit."""
    return _divide(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2))


def precision(confusion: Floats) -> Floats:
    """Share of the units called a class that are of it: `(B, C, C)` → `(B, C)`; NaN for a class never predicted."""
    return _divide(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=1))


def f1(confusion: Floats) -> Floats:
    """Harmonic mean of precision and recall a class: `(B, C, C)` → `(B, C)`; NaN where a class is never there."""
    diagonal = np.diagonal(confusion, axis1=1, axis2=2)
    return _divide(2 * diagonal, confusion.sum(axis=1) + confusion.sum(axis=2))


def intersection_over_union(confusion: Floats) -> Floats:
    """Jaccard index a class: `(B, C, C)` → `(B, C)`; NaN where a class neither is nor is said."""
    diagonal = np.diagonal(confusion, axis1=1, axis2=2)
    return _divide(diagonal, confusion.sum(axis=1) + confusion.sum(axis=2) - diagonal)


def mean_of_classes(values: Floats) -> Floats:
    """Mean over the classes that have a value: `(B, C)` → `(B,)`; NaN where none has."""
    known = ~np.isnan(values)
    return _divide(np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1).astype(np.float64))


def worst_of_classes(values: Floats) -> Floats:
    """Least value over the classes that have one: `(B, C)` → `(B,)`; NaN where none has."""
    worst: Floats = np.where(np.isnan(values), np.inf, values).min(axis=1)
    return np.where(np.isinf(worst), np.nan, worst)


def _divide(numerator: Floats, denominator: Floats) -> Floats:
    denominator = np.asarray(denominator, dtype=np.float64)
    quotient: Floats = np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)
    return quotient
