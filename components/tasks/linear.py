"""Linear models by which a task's networks can be measured (scikit-learn's): what features say without any depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Features = Any  # (N, F) float32, dense or sparse

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)  # of what holds the weights down; the best on samples held out is taken
HELD_OUT = 5  # one sample in so many
STEPS = 300


def logistic(features: Features, labels: npt.NDArray[np.int64], classes: int) -> Callable[[Features], Floats]:
    """Logistic regression over all classes: features → probabilities `(N, classes)`, 0 of classes that it never saw."""
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(labels)
    if len(seen) == 1:
        return lambda asked: np.tile(np.arange(classes) == seen[0], (asked.shape[0], 1)).astype(np.float64)

    def fit(strength: float, rows: npt.NDArray[np.int64]) -> Any:
        return LogisticRegression(C=1.0 / strength, max_iter=STEPS).fit(features[rows], labels[rows])

    def cost(strength: float) -> float:
        model = fit(strength, rest)
        known = np.searchsorted(model.classes_, labels[held]).clip(max=len(model.classes_) - 1)
        chances = model.predict_proba(features[held])[np.arange(len(held)), known]
        there = model.classes_[known] == labels[held]
        return float(-np.log(np.where(there, chances, 0.0).clip(1e-7)).mean())

    held, rest = _held_out(len(labels))
    # Of one class alone nothing can be learnt: then there is nothing to choose by.
    enough = len(held) > 0 and len(np.unique(labels[rest])) > 1
    best = _least(STRENGTHS, cost) if enough and features.shape[1] > 1 else 1.0
    model = fit(best, np.arange(len(labels)))

    def answer(asked: Features) -> Floats:
        found = np.zeros((asked.shape[0], classes))
        found[:, model.classes_] = model.predict_proba(asked)
        return found

    return answer


def ridge(features: Features, values: Floats) -> Callable[[Features], Floats]:
    """Ridge regression of `(N, K)` values at once: features → values `(N, K)`."""
    from sklearn.linear_model import Ridge

    def fit(strength: float, rows: npt.NDArray[np.int64]) -> Any:
        return Ridge(alpha=strength * len(rows)).fit(features[rows], values[rows])

    def cost(strength: float) -> float:
        gap = _whole(fit(strength, rest).predict(features[held]), len(held)) - values[held]
        return float((gap**2 / scale).mean())

    held, rest = _held_out(len(values))
    spread = values.var(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    best = _least(STRENGTHS, cost) if len(held) and len(rest) else 1.0
    model = fit(best, np.arange(len(values)))
    return lambda asked: _whole(model.predict(asked), asked.shape[0])


def _held_out(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Places that are held out, and the others: drawn, alike each time, since samples may lie class by class."""
    order = np.random.default_rng(0).permutation(count)
    return np.sort(order[: count // HELD_OUT]), np.sort(order[count // HELD_OUT :])


def _least(choices: Sequence[float], cost: Callable[[float], float]) -> float:
    return min(choices, key=cost)


def _whole(found: Any, count: int) -> Floats:
    """Values `(N, K)`, also where scikit-learn leaves out the second dimension."""
    values: Floats = np.asarray(found, dtype=np.float64).reshape(count, -1)
    return values
