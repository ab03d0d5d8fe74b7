"""Figures of answers that say any number of labels, under weights `(B, N)` of N samples: arrays of B values.

`true` and `said` are `(N, C)` flags, `scores` `(N, C)` numbers of which the greater ones are surer. Formulas are
scikit-learn's, which the tests compare with; of a class that is neither there nor said there is no figure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from components.metrics.errors import mean

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def precision(true: Bools, said: Bools, weights: Floats) -> Floats:
    """`(B, C)`: share of what is said of each class that is true; NaN where it is not said."""
    return _share(_sums(true & said, weights), _sums(said, weights))


def recall(true: Bools, said: Bools, weights: Floats) -> Floats:
    """`(B, C)`: share of what is true of each class that is said; NaN where it is not there."""
    return _share(_sums(true & said, weights), _sums(true, weights))


def f1(true: Bools, said: Bools, weights: Floats) -> Floats:
    """`(B, C)`: harmonic mean of both; NaN where the class is neither there nor said."""
    return _share(2.0 * _sums(true & said, weights), _sums(true, weights) + _sums(said, weights))


def micro_f1(true: Bools, said: Bools, weights: Floats) -> Floats:
    """`(B,)`: the same of all classes together."""
    hits, counted = ((weights @ each.sum(axis=1).astype(np.float64))[:, None] for each in (true & said, true))
    answered = (weights @ said.sum(axis=1).astype(np.float64))[:, None]
    return _share(2.0 * hits, counted + answered)[:, 0]


def exact_match(true: Bools, said: Bools, weights: Floats) -> Floats:
    """`(B,)`: share of the samples whose labels are all said, and no others."""
    return mean((true == said).all(axis=1).astype(np.float64), weights)


def hamming_loss(true: Bools, said: Bools, weights: Floats) -> Floats:
    """`(B,)`: share of all decisions, one a sample and class, that are wrong."""
    return mean((true != said).mean(axis=1), weights)


def average_precision(true: Bools, scores: Floats, weights: Floats) -> Floats:
    """`(B, C)`: precision, mean over the recalls that thresholds of the class's score reach; NaN without a positive.

    Samples of equal scores pass a threshold together.
    """
    found = np.full((len(weights), true.shape[1]), np.nan)
    for number in range(true.shape[1]):
        order = np.argsort(-scores[:, number], kind="stable")
        ordered, own = scores[order, number], weights[:, order]
        ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)])
        right = np.cumsum(own * true[order, number], axis=1)[:, ends]
        passed = np.cumsum(own, axis=1)[:, ends]
        positive = right[:, -1:] if len(ends) else np.zeros((len(weights), 1))
        shares = np.divide(right, passed, out=np.zeros_like(right), where=passed > 0)
        gained = np.diff(right, axis=1, prepend=0.0)
        found[:, number] = _share((shares * gained).sum(axis=1, keepdims=True), positive)[:, 0]
    return found


def best_threshold(true: Bools, scores: Floats) -> Floats:
    """`(C,)`: the score from which on saying the class has the best F1, the greatest of equal ones; NaN without a
    positive."""
    found = np.full(true.shape[1], np.nan)
    for number in range(true.shape[1]):
        order = np.argsort(-scores[:, number], kind="stable")
        ordered, own = scores[order, number], true[order, number]
        if own.any():
            ends = np.append(ordered[1:] != ordered[:-1], True)
            figures = 2.0 * np.cumsum(own) / (np.arange(1, len(own) + 1) + own.sum())
            found[number] = ordered[np.where(ends, figures, 0.0).argmax()]
    return found


def _sums(flags: Bools, weights: Floats) -> Floats:
    return weights @ flags.astype(np.float64)


def _share(part: Floats, whole: Floats) -> Floats:
    share: Floats = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return share
