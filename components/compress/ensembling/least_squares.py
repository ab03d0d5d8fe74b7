"""Numbers of least squared error: the weights of a mean, and the layer of stacking. All in deviations."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from sklearn.linear_model import Ridge

from components.compress.ensembling.answers import Floats, Together
from components.models.ensemble import StackedNumbers, learned_values

PENALTY = 1.0  # scikit-learn's own default: it matters where there are few samples, and hardly otherwise


def fit_squares(errors: Floats) -> Floats:
    """Weights `(K,)` on the simplex under which the mean of K members, off by `errors` `(K, M)`, errs least.

    With nonnegative weights of any sum s, ‖w·errors‖² + (s - 1)² is least where w / s is what is looked for: a problem
    of nonnegative least squares, which is solved exactly (Lawson and Hanson 1974). Of members that are equal, one may
    get all the weight. Raises ValueError where there is nothing to fit on.
    """
    members, units = errors.shape
    if members == 0 or units == 0:
        raise ValueError(f"errors: expected at least one member and one unit, received shape {errors.shape}")
    scale = float(np.sqrt(np.square(errors).mean(axis=1).min())) or 1.0  # so that both terms count, however small
    triangle = np.linalg.qr(errors.T / (scale * np.sqrt(units)), mode="r")  # of the same sums of squares
    system = np.concatenate([triangle, np.ones((1, members))])
    weights, _ = nnls(system, np.append(np.zeros(len(triangle)), 1.0))
    fitted: Floats = weights / weights.sum()
    return fitted


def fit_ridge(answers: Together, outputs: int, learners: int, deviations: Floats) -> StackedNumbers:
    """The layer, fitted on answers of L learners (or of their K members, which it then takes the mean of).

    `deviations` `(V,)` are those of the values: the penalty is on weights between values that are counted in them.
    """
    values = learned_values(answers.outputs, learners).transpose(0, 1).double().numpy()  # (N, L, V)
    targets = np.asarray(answers.targets, dtype=np.float64)
    features = (values / deviations).reshape(len(targets), -1)
    fitted = Ridge(alpha=PENALTY).fit(features, targets / deviations)
    weight, bias = np.atleast_2d(fitted.coef_), np.atleast_1d(fitted.intercept_)
    layer = StackedNumbers(learners, outputs, learners)
    layer.weight.copy_(torch.from_numpy(weight * deviations[:, None] / np.tile(deviations, learners)))
    layer.bias.copy_(torch.from_numpy(bias * deviations))
    return layer
