"""Stacking (Wolpert 1992): a multinomial logistic regression on the learners' log-probabilities.

(Of numbers it is a ridge regression: `least_squares`.) It is fitted on answers to samples that the one who answers has
not been trained on. Where members are trained without one fold of the training split each, those are the folds that
they have not seen, and the validation split stays out of it; otherwise they are the validation split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from components.artifacts import Dataset, Model
from components.compress.ensembling.answers import Together, ask, together
from components.data.reading.folds import folds_of
from components.data.reading.loading import Arrays, load_split
from components.export.errors import CompressionError
from components.models.ensemble import Stacked, learned
from components.runtimes.protocol import Answerer
from components.tasks.protocol import Task

INVERSE_PENALTY = 1.0  # scikit-learn's own default: it matters where there are few samples, and hardly otherwise
# Log-probabilities are badly scaled and alike: L-BFGS takes thousands of steps where Newton's method takes a dozen, but
# that has the square of the parameters in memory, and above this many (32 MB) it is left to L-BFGS.
NEWTON_PARAMETERS = 2_000
ITERATIONS = 5000  # at most; the fit is convex
# Of the gradient. With scikit-learn's own 1e-4, L-BFGS's fits of the same samples in two orders answered up to 0.02
# apart; with 1e-6, 0.0003 (two networks on digits).
TOLERANCE = 1e-6


def fit_stacking(answers: Together, classes: int, learners: int) -> Stacked:
    """The layer, fitted on answers of L learners (or of their K members, which it then takes the mean of).

    Raises CompressionError where a class has no sample: it would never be answered.
    """
    features = learned(answers.outputs, learners).transpose(0, 1).flatten(start_dim=1).double().numpy()
    targets: npt.NDArray[np.int64] = np.asarray(answers.targets, dtype=np.int64)
    missing = sorted(set(range(classes)) - set(targets.tolist()))
    if missing:
        raise CompressionError(
            f"stacking: expected samples of every class to fit it on, found none of class {missing[0]}"
        )
    solver = "newton-cholesky" if (features.shape[1] + 1) * classes <= NEWTON_PARAMETERS else "lbfgs"
    regression = LogisticRegression(C=INVERSE_PENALTY, solver=solver, max_iter=ITERATIONS, tol=TOLERANCE)
    fitted = regression.fit(features, targets)
    weight, bias = fitted.coef_, fitted.intercept_
    if classes == 2:  # scikit-learn then fits the second class's logit alone, against 0
        weight, bias = np.concatenate([np.zeros_like(weight), weight]), np.concatenate([np.zeros(1), bias])
    layer = Stacked(learners, classes, learners)
    layer.weight.copy_(torch.from_numpy(weight))
    layer.bias.copy_(torch.from_numpy(bias))
    return layer


def learners_of(members: Sequence[Model]) -> int | None:
    """How many learners there are of which each fold of the training split is left out by one member, in order.

    None where members have seen all of it, or folds are missing.
    """
    folds = [member.card.fold for member in members]
    if not folds or folds[0] is None:
        return None
    count = folds[0][1]
    complete = folds == [(number % count, count) for number in range(len(members))] and len(members) % count == 0
    alike = all(
        member.card.network == members[number - number % count].card.network for number, member in enumerate(members)
    )
    return len(members) // count if complete and alike else None


def out_of_fold(task: Task, answerers: Sequence[Answerer], folds: int, dataset: Dataset) -> Together:
    """Each learner's answers `(L, N, C)` on the training split, fold by fold those of the member that has not seen it.

    `answerers` are the members', in order. Rows come fold after fold.
    """
    training, fold = load_split(dataset, "train"), folds_of(dataset, folds)
    parts = [np.flatnonzero(fold == number) for number in range(folds)]
    learners = []
    for first in range(0, len(answerers), folds):
        said = [
            together([ask(task, answerers[first + number], taken(training, rows), dataset.card)], training.targets)
            for number, rows in enumerate(parts)
        ]
        learners.append(_one_after_another(said))
    targets = training.targets[np.concatenate(parts)]
    fusible = [each.fusible for each in learners if each.fusible is not None]
    return Together(np.concatenate([each.units for each in learners]), np.concatenate(fusible), targets)


def _one_after_another(parts: Sequence[Together]) -> Together:
    fusible = [part.fusible for part in parts if part.fusible is not None]
    units = np.concatenate([part.units for part in parts], axis=1)
    return Together(units, np.concatenate(fusible, axis=1), np.concatenate([part.targets for part in parts]))


def taken(samples: Arrays, rows: npt.NDArray[np.int64]) -> Arrays:
    """Those samples at `rows`, without their groups."""
    return Arrays(samples.ids[rows], samples.inputs[rows], samples.targets[rows], {})
