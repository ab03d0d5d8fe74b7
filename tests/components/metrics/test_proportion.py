from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from components.metrics.proportion import exact


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("right", "samples"), [(0, 1), (1, 1), (0, 20), (20, 20), (36, 61), (7, 250), (249, 250)])
def test_the_interval_is_that_of_scipy(right: int, samples: int, confidence: float) -> None:
    expected = binomtest(right, samples).proportion_ci(confidence, method="exact")
    assert exact(right / samples, samples, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("samples", [20, 60, 250])
def test_no_proportion_passes_by_luck_more_often_than_is_said(samples: int) -> None:
    """Over all outcomes there are, weighed by how probable they are: nothing is drawn."""
    right = np.arange(samples + 1)
    lows = np.array([exact(each / samples, samples, 0.95)[0] for each in right])
    for true in np.linspace(0.05, 0.95, 91):
        assert binom.pmf(right, samples, true)[lows >= true].sum() <= 0.025 + 1e-9
