"""Against scikit-learn, on labels of which some classes are missing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from components.metrics import confusion

LABELS = [0, 1, 2, 3]


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, predictions and whole weights of 1 to 30 samples of 4 classes; small, so that classes are missing."""
    rows = draw(st.lists(st.tuples(*[st.sampled_from(LABELS)] * 2, st.integers(0, 3)), min_size=1, max_size=30))
    target, prediction, weights = np.array(rows).T
    return target, prediction, weights.astype(np.float64)


def matrix(target: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return confusion.weighted(confusion.label_counts(target, prediction, len(LABELS)), weights[None])


@given(judged())
@settings(max_examples=100, deadline=None)
def test_weighted_figures_of_labels_are_those_of_scikit_learn(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    target, prediction, weights = rows
    if not weights.any():
        weights = weights + 1
    ours = matrix(target, prediction, weights)
    about = {"y_true": target, "y_pred": prediction, "sample_weight": weights}
    np.testing.assert_allclose(ours[0], metrics.confusion_matrix(**about, labels=LABELS))
    assert confusion.accuracy(ours)[0] == pytest.approx(metrics.accuracy_score(**about))
    each = {"labels": LABELS, "average": None, "zero_division": np.nan}
    np.testing.assert_allclose(confusion.recall(ours)[0], metrics.recall_score(**about, **each))
    np.testing.assert_allclose(confusion.precision(ours)[0], metrics.precision_score(**about, **each))
    np.testing.assert_allclose(confusion.f1(ours)[0], metrics.f1_score(**about, **each))
    present = weights > 0  # scikit-learn's mean is over every label that it is given, even one of no weight
    seen = {"labels": np.unique([target[present], prediction[present]])}
    assert confusion.mean_of_classes(confusion.f1(ours))[0] == pytest.approx(
        metrics.f1_score(**about, **seen, average="macro", zero_division=np.nan)
    )
    assert confusion.mean_of_classes(confusion.intersection_over_union(ours))[0] == pytest.approx(
        metrics.jaccard_score(**about, **seen, average="macro", zero_division=0.0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about labels that are predicted and never true
        balanced = metrics.balanced_accuracy_score(target[present], prediction[present], sample_weight=weights[present])
    recall = confusion.recall(ours)
    assert confusion.mean_of_classes(recall)[0] == pytest.approx(balanced)
    assert confusion.worst_of_classes(recall)[0] == pytest.approx(np.nanmin(recall))


@given(judged())
@settings(max_examples=100, deadline=None)
def test_a_whole_weight_is_as_many_repeated_rows(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    target, prediction, weights = rows
    again = np.repeat(np.arange(len(target)), weights.astype(int))
    repeated = matrix(target[again], prediction[again], np.ones(len(again)))
    np.testing.assert_array_equal(matrix(target, prediction, weights), repeated)


@given(judged(), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_many_weightings_at_once_are_each_as_if_alone(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    target, prediction, _ = rows
    weights = np.random.default_rng(seed).random((5, len(target)))
    together = confusion.weighted(confusion.label_counts(target, prediction, 4), weights)
    for number, alone in enumerate(weights):
        np.testing.assert_allclose(together[number], matrix(target, prediction, alone)[0])


def test_masks_are_counted_pixel_by_pixel_and_sample_by_sample() -> None:
    random = np.random.default_rng(0)
    target = random.integers(0, 4, (6, 5, 7)).astype(np.uint8)
    prediction = np.where(random.random(target.shape) < 0.7, target, random.integers(0, 4, target.shape))
    counts = confusion.mask_counts(target, prediction, 4)
    for row, truth, said in zip(counts, target, prediction, strict=True):
        np.testing.assert_array_equal(
            row.reshape(4, 4), metrics.confusion_matrix(truth.ravel(), said.ravel(), labels=LABELS)
        )
    whole = confusion.weighted(counts, np.ones((1, 6)))
    np.testing.assert_allclose(
        confusion.intersection_over_union(whole)[0],
        metrics.jaccard_score(target.ravel(), prediction.ravel(), average=None, labels=LABELS),
    )
    assert confusion.accuracy(whole)[0] == pytest.approx((target == prediction).mean())


@pytest.mark.parametrize("wrong", ["target", "prediction"])
def test_a_pixel_of_an_unknown_class_is_not_counted_for_the_next_sample(wrong: str) -> None:
    masks = {name: np.zeros((2, 2, 2), np.uint8) for name in ("target", "prediction")}
    masks[wrong][0, 0, 0] = 5
    with pytest.raises(ValueError, match=f"{wrong}: expected classes 0 to 2, received 0 to 5"):
        confusion.mask_counts(masks["target"], masks["prediction"], 3)


def test_what_cannot_be_computed_is_nan_and_does_not_count_in_a_mean() -> None:
    # given two classes: of the second there is nothing and it is never said
    only_first = np.array([[[3.0, 0.0], [0.0, 0.0]]])
    for figure in (confusion.recall, confusion.precision, confusion.f1, confusion.intersection_over_union):
        np.testing.assert_array_equal(figure(only_first), [[1.0, np.nan]])
        assert confusion.mean_of_classes(figure(only_first))[0] == 1.0
    # given a second class that is never said: not found is 0, and precision is unknown
    missed = np.array([[[3.0, 0.0], [1.0, 0.0]]])
    assert confusion.recall(missed)[0, 1] == 0.0
    assert np.isnan(confusion.precision(missed)[0, 1])
    # given nothing at all
    nothing = np.zeros((1, 2, 2))
    assert np.isnan(confusion.accuracy(nothing)[0])
    assert np.isnan(confusion.mean_of_classes(confusion.recall(nothing))[0])
    assert np.isnan(confusion.worst_of_classes(confusion.recall(nothing))[0])


def test_no_masks_have_no_counts() -> None:
    empty = np.zeros((0, 4, 4), np.int64)
    assert confusion.mask_counts(empty, empty, 3).shape == (0, 9)
