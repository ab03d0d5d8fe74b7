"""Weights of greatest likelihood, against an optimizer that knows nothing of mixtures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from components.compress.ensembling.weights import fit_weights, log_loss


def imagined(members: int, units: int, seed: int) -> np.ndarray:
    """Likelihoods of members of different skill that are right on different units."""
    random = np.random.default_rng(seed)
    skill = random.uniform(0.3, 3.0, (members, 1))
    return random.beta(skill, 1.0, (members, units))


@pytest.mark.parametrize("seed", range(4))
def test_fitted_weights_are_those_an_independent_optimizer_finds(seed: int) -> None:
    likelihoods = imagined(4, 400, seed)
    found = fit_weights(likelihoods, gap=1e-9, steps=100_000)
    reference = minimize(
        lambda weights: log_loss(weights, likelihoods),
        np.full(4, 0.25),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * 4,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1.0},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    assert found.log_losses[-1] == pytest.approx(reference.fun, abs=1e-7)
    np.testing.assert_allclose(found.weights, reference.x, atol=2e-3)
    assert found.weights.sum() == pytest.approx(1.0)


def test_fitting_never_takes_a_step_back_and_keeps_its_promise_about_the_gap() -> None:
    likelihoods = imagined(3, 300, 7)
    rough, exact = fit_weights(likelihoods, gap=1e-3), fit_weights(likelihoods, gap=1e-10, steps=100_000)
    assert len(exact.log_losses) > len(rough.log_losses) > 2
    assert np.all(np.diff(exact.log_losses) <= 1e-12)
    assert 0 <= rough.log_losses[-1] - exact.log_losses[-1] <= rough.gap <= 1e-3


def test_a_member_that_guesses_gets_no_weight() -> None:
    random = np.random.default_rng(0)
    good = random.beta(4.0, 1.0, (2, 2000))
    weights = fit_weights(np.stack([*good, np.full(2000, 0.1)])).weights
    assert weights[2] < 0.01
    assert weights[:2].min() > 0.3


def test_a_truth_that_every_member_calls_impossible_does_not_end_in_infinity() -> None:
    likelihoods = imagined(3, 50, 0)
    likelihoods[:, 4] = 0.0
    fit = fit_weights(likelihoods)
    assert np.isfinite(fit.weights).all()
    assert np.isfinite(fit.log_losses).all()


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one member and one unit, received shape \(3, 0\)"):
        fit_weights(np.empty((3, 0)))
