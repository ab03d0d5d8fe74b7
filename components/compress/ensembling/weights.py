"""Weights of a mean of probabilities: those of greatest likelihood. What the likelihoods are of is others' business."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.compress.ensembling.answers import Floats
from components.tasks.softmax import LEAST_LIKELIHOOD

GAP = 1e-6  # nats a unit by which the fitted likelihood may fall short of the greatest: far below what a figure shows
STEPS = 5000  # EM is slow only where members are all but equal, and there the gap closes long before


@dataclass(frozen=True)
class Fit:
    """Weights `(K,)` on the simplex, and the way there."""

    weights: Floats
    log_losses: tuple[float, ...]  # before each step and after the last: never rising
    gap: float  # nats a unit by which better weights could lower the last one at most


def fit_weights(likelihoods: Floats, *, gap: float = GAP, steps: int = STEPS) -> Fit:
    """Mixture weights of greatest likelihood for `likelihoods` `(K, M)`: what K members give M truths.

    Expectation maximisation with fixed components (Dempster, Laird and Rubin 1977, section 4.3): each weight becomes
    its member's mean responsibility. Starts from equal weights and never lowers the likelihood, so the result is never
    worse than equal weights. The problem is concave, so with g_k = mean_m p_km / mixture_m the mean log-likelihood lies
    at most max_k g_k − 1 below the greatest: stops once that is under `gap`.
    Raises ValueError where there is nothing to fit on.
    """
    members, units = likelihoods.shape
    if members == 0 or units == 0:
        raise ValueError(f"likelihoods: expected at least one member and one unit, received shape {likelihoods.shape}")
    floored = np.maximum(likelihoods, LEAST_LIKELIHOOD)
    weights = np.full(members, 1.0 / members)
    log_losses = []
    for step in range(steps + 1):
        mixture = weights @ floored
        log_losses.append(float(-np.log(mixture).mean()))
        gradient = (floored / mixture).mean(axis=1)
        shortfall = float(gradient.max() - 1.0)
        if shortfall <= gap or step == steps:
            break
        weights = weights * gradient
        weights = weights / weights.sum()  # it is 1 already, but for rounding
    return Fit(weights, tuple(log_losses), max(shortfall, 0.0))


def log_loss(weights: Floats, likelihoods: Floats) -> float:
    """Mean negative log-likelihood of the mixture, nats a unit: `(K,)` and `(K, M)` → scalar."""
    return float(-np.log(weights @ np.maximum(likelihoods, LEAST_LIKELIHOOD)).mean())
