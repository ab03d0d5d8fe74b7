"""Errors of numbers against scikit-learn's, under weights, and where they cannot be computed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from components.metrics import errors


@pytest.fixture
def some() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets and predictions (50,), weights (8, 50) of which some are 0."""
    random = np.random.default_rng(0)
    target = random.normal(1000.0, 3.0, 50)
    return target, target + random.standard_t(2, 50), random.integers(0, 4, (8, 50)).astype(np.float64)


def test_they_are_scikit_learns_under_every_weighting(some: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, prediction, weights = some
    gap = prediction - target
    for row, each in enumerate(weights):
        by_hand = {"sample_weight": each}
        assert errors.root_mean_square(gap, weights)[row] == pytest.approx(
            root_mean_squared_error(target, prediction, **by_hand)
        )
        assert errors.mean_absolute(gap, weights)[row] == pytest.approx(
            mean_absolute_error(target, prediction, **by_hand)
        )
        assert errors.explained(target, gap, weights)[row] == pytest.approx(
            r2_score(target, prediction, **by_hand), rel=1e-6
        )


def test_coverage_counts_truths_between_the_ends(some: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, prediction, weights = some
    low, high = prediction - 1.0, prediction + 1.0
    inside = np.abs(target - prediction) <= 1.0
    by_hand = (weights * inside).sum(axis=1) / weights.sum(axis=1)
    np.testing.assert_allclose(errors.coverage(target, low, high, weights), by_hand)
    assert errors.coverage(target, np.full(50, np.nan), high, np.ones((1, 50)))[0] == 0.0


def test_an_answer_that_is_no_number_is_the_worst_wherever_it_counts() -> None:
    gap = np.array([1.0, np.nan, np.inf])
    weights = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 0.0, 2.0]])
    assert errors.root_mean_square(gap, weights).tolist() == [np.inf, 1.0, np.inf]
    assert errors.mean_absolute(gap, weights).tolist() == [np.inf, 1.0, np.inf]
    assert errors.explained(np.array([1.0, 2.0, 3.0]), gap, np.ones((1, 3)))[0] == -np.inf


def test_nothing_is_said_of_nothing_and_no_variance_is_explained_where_there_is_none() -> None:
    nothing = np.zeros((1, 3))
    assert np.isnan(errors.mean(np.ones(3), nothing)).all()
    assert np.isnan(errors.explained(np.arange(3.0), np.zeros(3), nothing)).all()
    assert np.isnan(errors.explained(np.full(3, 0.1), np.zeros(3), np.ones((1, 3)))).all()
