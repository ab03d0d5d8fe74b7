from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from components.metrics import bootstrap


def all_weights(samples: int, count: int, seed: int) -> np.ndarray:
    return np.concatenate(list(bootstrap.resamples(samples, count, seed)))


def test_equal_seeds_give_equal_weights_and_others_others() -> None:
    np.testing.assert_array_equal(all_weights(20, 7, 3), all_weights(20, 7, 3))
    assert not np.array_equal(all_weights(20, 7, 3), all_weights(20, 7, 4))


@pytest.mark.parametrize("count", [1, bootstrap.CHUNK, 2 * bootstrap.CHUNK + 50])
def test_there_are_as_many_resamples_as_were_asked_for_each_as_large_as_the_data(count: int) -> None:
    weights = all_weights(13, count, 0)
    assert weights.shape == (count, 13)
    assert (weights.sum(axis=1) == 13).all()
    assert (weights == weights.astype(int)).all()


def test_weights_are_multinomial_and_no_chunk_repeats_another() -> None:
    """Drawing with replacement leaves out a sample with probability (1 − 1/N)^N; without, it never would."""
    weights = all_weights(50, 3 * bootstrap.CHUNK, 0)
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.05)
    assert len(np.unique(weights, axis=0)) == len(weights)


def test_the_distribution_of_a_mean_is_that_of_scipys_bootstrap() -> None:
    data = np.random.default_rng(0).exponential(size=80)
    values = bootstrap.distribution(lambda weights: {"mean": weights @ data / weights.sum(axis=1)}, 80, 10_000, seed=1)
    theirs = stats.bootstrap((data,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2))
    low, high = bootstrap.interval(values["mean"], 0.95)
    # Each limit of 10,000 resamples has a standard error of 0.003.
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.015)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.015)
    assert values["mean"].std() == pytest.approx(theirs.standard_error, rel=0.05)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_an_interval_covers_the_truth_as_often_as_it_says(confidence: float) -> None:
    """Accuracy of 120 answers that are right with probability 0.8: 300 experiments, each with its own interval."""
    random = np.random.default_rng(0)
    covered = 0
    for experiment in range(300):
        right = (random.random(120) < 0.8).astype(np.float64)
        values = bootstrap.distribution(
            lambda weights, right=right: {"accuracy": weights @ right / 120}, 120, 200, experiment
        )
        low, high = bootstrap.interval(values["accuracy"], confidence)
        covered += low <= 0.8 <= high
    # ± 0.05 is three standard errors of a share of 300 at 0.95, and two at 0.8
    assert covered / 300 == pytest.approx(confidence, abs=0.05)


def test_an_interval_is_the_central_share_and_grows_with_confidence() -> None:
    values = np.arange(101.0)
    assert bootstrap.interval(values, 0.9) == pytest.approx((5.0, 95.0))
    assert bootstrap.interval(values, 0.5) == pytest.approx((25.0, 75.0))


def test_a_figure_that_is_unknown_in_one_resample_has_no_interval() -> None:
    assert all(math.isnan(limit) for limit in bootstrap.interval(np.array([0.1, np.nan, 0.3]), 0.9))
