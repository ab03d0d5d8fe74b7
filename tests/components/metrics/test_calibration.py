"""Against a naive implementation that follows the paper's text: bins, gaps, shares."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from components.artifacts import Predictions
from components.metrics import calibration
from components.tasks import registry as tasks


def naive_error(confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray, bins: int) -> float:
    """Guo et al. 2017, equation 3, with bins ((m − 1)/M, m/M]; 0 belongs to the first."""
    error = 0.0
    for number in range(bins):
        low, high = number / bins, (number + 1) / bins
        inside = [i for i, value in enumerate(confidence) if low < value <= high or (number == 0 and value == 0)]
        share = sum(weights[i] for i in inside)
        if share:
            accuracy = sum(weights[i] * correct[i] for i in inside) / share
            mean = sum(weights[i] * confidence[i] for i in inside) / share
            error += share / sum(weights) * abs(accuracy - mean)
    return error


rows = st.lists(
    # Sixty-fourths, so that the edges of 16 bins are hit and are exact in binary.
    st.tuples(st.integers(0, 64).map(lambda value: value / 64), st.booleans(), st.integers(0, 3)),
    min_size=1,
    max_size=40,
)


@given(rows)
@settings(max_examples=150, deadline=None)
def test_calibration_error_is_that_of_the_paper_also_on_the_edges_of_bins(
    given_rows: list[tuple[float, bool, int]],
) -> None:
    confidence, correct, weights = (np.array(column) for column in zip(*given_rows, strict=True))
    sums = calibration.bin_sums(confidence, correct, 16)
    ours = calibration.expected_calibration_error(sums, weights[None].astype(np.float64))[0]
    if not weights.any():
        assert math.isnan(ours)
        return
    assert ours == pytest.approx(naive_error(confidence, correct, weights, 16), abs=1e-12)
    again = np.repeat(np.arange(len(weights)), weights)
    repeated = calibration.bin_sums(confidence[again], correct[again], 16)
    assert ours == pytest.approx(calibration.expected_calibration_error(repeated, np.ones((1, len(again))))[0])


def test_a_calibrated_judge_has_no_error_and_a_boaster_has_his_boast() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.3, 1.0, 200_000)
    honest = calibration.bin_sums(confidence, random.random(len(confidence)) < confidence)
    boasting = calibration.bin_sums(confidence, random.random(len(confidence)) < confidence - 0.2)
    one = np.ones((1, len(confidence)))
    assert calibration.expected_calibration_error(honest, one)[0] < 0.01
    assert calibration.expected_calibration_error(boasting, one)[0] == pytest.approx(0.2, abs=0.01)


def test_masks_are_pooled_over_pixels_not_averaged_over_samples() -> None:
    random = np.random.default_rng(1)
    confidence = random.uniform(0.2, 1.0, (5, 4, 6))
    correct = random.random(confidence.shape) < 0.6
    sums = calibration.bin_sums(confidence, correct)
    assert sums.shape == (5, 3 * calibration.BINS)
    pooled = naive_error(confidence.ravel(), correct.ravel(), np.ones(confidence.size), calibration.BINS)
    assert calibration.expected_calibration_error(sums, np.ones((1, 5)))[0] == pytest.approx(pooled)


@pytest.mark.parametrize("shape", [(0,), (0, 4, 4)])
def test_no_samples_have_no_sums(shape: tuple[int, ...]) -> None:
    assert calibration.bin_sums(np.zeros(shape), np.zeros(shape, bool)).shape == (0, 3 * calibration.BINS)


def test_log_loss_and_brier_score_are_those_of_the_textbook() -> None:
    random = np.random.default_rng(2)
    scores = random.dirichlet(np.ones(4), 60).astype(np.float32)
    target = random.integers(0, 4, 60)
    weights = random.integers(0, 3, (2, 60)).astype(np.float64)
    table = pa.table({"target": target, "prediction": scores.argmax(1), "scores": scores.tolist()})
    figures = tasks.get("classification").measure(Predictions(table, "m", "d", tuple("abcd")), weights)
    exact = scores.astype(np.float64)
    exact = exact / exact.sum(axis=1, keepdims=True)
    for number, weight in enumerate(weights):
        expected = metrics.log_loss(target, exact, sample_weight=weight, labels=range(4))
        assert figures["log_loss"][number] == pytest.approx(expected, rel=1e-5)
        squares = sum((exact[:, label] - (target == label)) ** 2 for label in range(4))  # Brier 1950
        assert figures["brier_score"][number] == pytest.approx(np.average(squares, weights=weight), rel=1e-5)


def test_a_sample_called_impossible_has_a_finite_price() -> None:
    table = pa.table({"target": [0], "prediction": [1], "scores": [[0.0, 1.0]]})
    figures = tasks.get("classification").measure(Predictions(table, "m", "d", ("a", "b")), np.ones((1, 1)))
    assert figures["log_loss"][0] == pytest.approx(-math.log(1e-7))
    assert figures["brier_score"][0] == 2.0
