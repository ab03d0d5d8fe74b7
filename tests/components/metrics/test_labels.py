"""Figures of labels are scikit-learn's, under any weights; of what is not there, there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    precision_recall_curve,
    precision_score,
    recall_score,
)

from components.metrics import labels

CLASSES = 5


@pytest.fixture
def answers() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Truths, decisions and rounded scores, of which many are equal, and weights of which some are 0."""
    random = np.random.default_rng(0)
    true = random.random((80, CLASSES)) < [0.5, 0.3, 0.2, 0.2, 0.1]
    scores = np.round(np.clip(0.5 * true + random.normal(0.3, 0.3, true.shape), 0.0, 1.0), 1)
    weights = np.concatenate([np.ones((1, 80)), random.integers(0, 3, (4, 80))]).astype(np.float64)
    return true, scores >= 0.5, scores, weights


@pytest.mark.parametrize(
    ("found", "reference"),
    [(labels.precision, precision_score), (labels.recall, recall_score), (labels.f1, f1_score)],
)
def test_figures_of_each_class_are_those_of_scikit_learn(
    answers: tuple[np.ndarray, ...], found: Callable[..., np.ndarray], reference: Callable[..., np.ndarray]
) -> None:
    true, said, _, weights = answers
    for each, own in zip(weights, found(true, said, weights), strict=True):
        expected = reference(true, said, average=None, sample_weight=each, zero_division=np.nan)
        np.testing.assert_allclose(own, expected)


def test_figures_of_all_classes_are_those_of_scikit_learn(answers: tuple[np.ndarray, ...]) -> None:
    true, said, _, weights = answers
    micro = [f1_score(true, said, average="micro", sample_weight=each) for each in weights]
    np.testing.assert_allclose(labels.micro_f1(true, said, weights), micro)
    exact = [accuracy_score(true, said, sample_weight=each) for each in weights]
    np.testing.assert_allclose(labels.exact_match(true, said, weights), exact)
    wrong = [hamming_loss(true, said, sample_weight=each) for each in weights]
    np.testing.assert_allclose(labels.hamming_loss(true, said, weights), wrong)


def test_average_precision_is_that_of_scikit_learn_whatever_is_equal(answers: tuple[np.ndarray, ...]) -> None:
    true, _, scores, weights = answers
    for each, own in zip(weights, labels.average_precision(true, scores, weights), strict=True):
        assert (each @ true > 0).all()
        expected = [
            average_precision_score(true[:, number], scores[:, number], sample_weight=each) for number in range(CLASSES)
        ]
        np.testing.assert_allclose(own, expected)


def test_the_best_threshold_is_that_of_all_that_scikit_learn_tries(answers: tuple[np.ndarray, ...]) -> None:
    true, _, scores, _ = answers
    for number, best in enumerate(labels.best_threshold(true, scores)):
        precision, recall, thresholds = precision_recall_curve(true[:, number], scores[:, number])
        figures = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        own = f1_score(true[:, number], scores[:, number] >= best)
        assert own == pytest.approx(figures.max()) and best in thresholds


def test_of_a_class_that_neither_is_nor_is_said_there_is_no_figure() -> None:
    true, said = np.array([[True, False], [False, False]]), np.array([[True, False], [True, False]])
    once = np.ones((1, 2))
    for found in (labels.precision, labels.recall, labels.f1):
        assert np.isnan(found(true, said, once)[0]).tolist() == [False, True]
    scores = np.array([[0.9, 0.1], [0.2, 0.3]])
    assert np.isnan(labels.average_precision(true, scores, once)[0]).tolist() == [False, True]
    assert np.isnan(labels.best_threshold(true, scores)).tolist() == [False, True]
    nobody = np.zeros((0, 2), dtype=bool)
    assert np.isnan(labels.average_precision(nobody, nobody.astype(float), np.ones((1, 0)))).all()
