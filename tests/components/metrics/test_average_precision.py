"""Figures of detections against COCO's evaluator (faster-coco-eval), and against data in which images are repeated."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.metrics import average_precision as figures
from components.metrics import faults
from components.metrics.average_precision import Matches
from tests.components.metrics.detection_builders import Judged, coco, distinct, drawn, one_image


def every_figure(matches: Matches, weights: np.ndarray) -> dict[str, np.ndarray]:
    by_size = {
        f"{size} {name}": value
        for size, each in figures.by_size(matches, weights).items()
        for name, value in each.items()
    }
    return {
        **figures.figures(matches, weights),
        **{f"class's {name}": value for name, value in figures.by_class(matches, weights).items()},
        **by_size,
        **figures.by_visibility(matches, weights, precision=0.5),
        **faults.faults(matches, weights, 0.3),
    }


# -- COCO's evaluator -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("detections", "grid"), [(40, 4.0), (40, 0.37), (420, 4.0)])
@pytest.mark.parametrize("seed", range(3))
def test_precision_and_recall_are_those_of_cocos_evaluator(seed: int, detections: int, grid: float) -> None:
    judged = drawn(seed, detections=detections, grid=grid)
    _are_those_of_coco(judged)


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 8), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_they_are_so_for_a_few_images(seed: int, images: int, detections: int, truths: int) -> None:
    judged = drawn(seed, images, detections, truths, grid=8.0)
    judged.answer["valid"][-1, 0] = True  # the evaluator refuses an answer without any detection
    _are_those_of_coco(judged)


def _are_those_of_coco(judged: Judged) -> None:
    matches, weights, evaluator = judged.matches, np.ones((1, len(judged))), coco(judged)
    for size in range(4):
        theirs = np.where(evaluator.eval["precision"] < 0, np.nan, evaluator.eval["precision"])[:, :, :, size, -1]
        ours = figures.average_precision(matches, weights, size)[0]
        np.testing.assert_allclose(ours, theirs.mean(axis=1).T, rtol=0, atol=1e-9)
        theirs = np.where(evaluator.eval["recall"] < 0, np.nan, evaluator.eval["recall"])[:, :, size, -1]
        np.testing.assert_allclose(figures.largest_recall(matches, weights, size)[0], theirs.T, rtol=0, atol=1e-9)
    with redirect_stdout(io.StringIO()):
        evaluator.summarize()
    stats = np.where(evaluator.stats < 0, np.nan, evaluator.stats)
    ours = figures.figures(matches, weights)
    sizes = figures.by_size(matches, weights).values()
    told = [ours["map"], ours["map50"], ours["map75"], *(each["map"] for each in sizes)]
    told += [ours["average_recall"], *(each["average_recall"] for each in sizes)]
    np.testing.assert_allclose(np.concatenate(told), stats[[0, 1, 2, 3, 4, 5, 8, 9, 10, 11]], rtol=0, atol=1e-9)


def test_of_truths_of_equal_overlap_the_last_is_taken() -> None:
    # given a detection halfway between two truths, and a worse one that overlaps with one of them alone
    truths = [[0, 0, 0, 10, 10], [0, 4, 0, 14, 10]]
    for second, found in (([5, 0, 15, 10], 0.5), ([-1, 0, 9, 10], 1.0)):
        judged = one_image([[2, 0, 12, 10], second], [0.9, 0.8], [0, 0], truths)
        _are_those_of_coco(judged)
        assert figures.by_class(judged.matches, np.ones((1, 1)))["recall"][0, 0] == found


# -- weights ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 3), min_size=4, max_size=4))
@settings(max_examples=15, deadline=None)
def test_a_whole_weight_is_as_many_repeated_images(seed: int, weights: list[int]) -> None:
    judged = distinct(drawn(seed, images=4, detections=10, truths=4))
    again = judged[np.repeat(np.arange(4), weights)] if any(weights) else judged[:0]
    ours = every_figure(judged.matches, np.array([weights], np.float64))
    for name, value in every_figure(again.matches, np.ones((1, len(again)))).items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=1e-9, err_msg=name)


def test_many_weightings_at_once_are_each_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    matches = drawn(0).matches
    weights = np.random.default_rng(0).random((7, matches.samples))
    weights[3] = 0.0
    alone = [every_figure(matches, each[None]) for each in weights]
    assert np.isnan(alone[3]["map"]).all()
    monkeypatch.setattr(figures, "CELLS", 300)  # two or three rows at a time
    for name, value in every_figure(matches, weights).items():
        np.testing.assert_allclose(value, np.concatenate([each[name] for each in alone]), err_msg=name)
    # Only how the weights are to each other counts.
    for name, value in figures.figures(matches, weights * 0.1).items():
        np.testing.assert_allclose(value, [each[name][0] for each in alone], err_msg=name)


def test_rounding_of_weights_is_neither_a_truth_missed_nor_a_lack_of_precision() -> None:
    # given a hundred images, ten wrong detections, and all truths found
    targets = np.tile(np.array([0, 0, 0, 10, 10, 0, 1], np.float32), (100, 1, 1))
    targets[:10, 0, 0] = -1
    answer = {
        "boxes": targets[..., 1:5],
        "scores": np.full((100, 1), 0.5, np.float32),
        "labels": np.zeros((100, 1), np.int64),
        "valid": np.ones((100, 1), bool),
    }
    matches = Judged(answer, targets).matches
    weights = np.linspace(0.01, 1.0, 100)[:, None] * np.ones(100)
    # then it makes no difference in which unit they are weighed
    for name, value in figures.figures(matches, weights).items():
        np.testing.assert_allclose(value, 1.0 if name in ("recall", "average_recall") else 0.9, err_msg=name)
    # and without the wrong ones, whatever they weigh, precision is whole up to the last truth
    weights = np.random.default_rng(0).random((20, 100)) * (np.arange(100) >= 10)
    np.testing.assert_allclose(figures.figures(matches, weights)["map"], 1.0)


# -- recall -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", [0.0, 0.3, 0.5, 0.9])
def test_recall_is_the_largest_of_all_thresholds_that_are_precise_enough(precision: float) -> None:
    matches = drawn(3).matches
    weights = np.random.default_rng(1).integers(0, 3, (4, matches.samples)).astype(np.float64)
    among = matches.truths["visible"] <= 0.4
    found, truths = matches.found, matches.truths
    for row, each in enumerate(weights):
        largest = {"all": 0.0, "among": 0.0}
        for threshold in np.unique(found["score"]):
            said = (found["score"] >= threshold) & (found["passed"] & 1 == 0)
            own = each[found["image"][said]]
            if own.sum() == 0 or (own * (found["hits"][said] & 1)).sum() < precision * own.sum():
                continue
            for name, which in {"all": ~truths["ignored"], "among": ~truths["ignored"] & among}.items():
                of = each[truths["image"][which]]
                largest[name] = max(largest[name], (of * (truths["score"][which] >= threshold)).sum() / of.sum())
        assert figures.recall_at(matches, weights, precision)[row] == pytest.approx(largest["all"])
        assert figures.recall_at(matches, weights, precision, among)[row] == pytest.approx(largest["among"])


def test_detections_of_one_score_pass_a_threshold_together() -> None:
    # given a right detection and a wrong one of the same score, in either order
    for order in ([0, 1], [1, 0]):
        judged = one_image([[0, 0, 10, 10], [50, 50, 60, 60]], [0.5, 0.5], [0, 0], [[0, 0, 0, 10, 10]])
        answer = {name: values[:, order] for name, values in judged.answer.items()}
        matches = Judged(answer, judged.targets).matches
        # then no threshold has a precision of more than a half
        assert figures.recall_at(matches, np.ones((1, 1)), 0.5).tolist() == [1.0]
        assert figures.recall_at(matches, np.ones((1, 1)), 0.51).tolist() == [0.0]


def test_a_visible_share_at_the_end_of_a_range_belongs_to_it() -> None:
    truths = [[0, 20 * n, 0, 20 * n + 10, 10, 0, share] for n, share in enumerate([0.0, 0.2, 0.21, 0.5, 1.0])]
    judged = one_image([truths[n][1:5] for n in (0, 2, 3)], [0.9, 0.8, 0.7], [0, 0, 0], truths)
    told = figures.by_visibility(judged.matches, np.ones((1, 1)))
    assert {name: value.tolist() for name, value in told.items()} == {"barely": [0.5], "partly": [1.0], "mostly": [0.0]}


# -- ends of what there can be ----------------------------------------------------------------------------------------


def test_images_without_truths_and_without_detections() -> None:
    nothing = one_image([], [], [], [])
    weights = np.ones((2, 1))
    for name, value in every_figure(nothing.matches, weights).items():
        assert (np.isnan(value) | (value == 0)).all() and len(value) == 2, name
    assert np.isnan(figures.figures(nothing.matches, weights)["map"]).all()
    assert np.isnan(figures.recall_at(nothing.matches, weights)).all()
    # of a class that is there and not found, everything is 0; the others do not count
    missed = one_image([], [], [], [[1, 0, 0, 10, 10]]).matches
    assert all(value.tolist() == [0.0, 0.0] for value in figures.figures(missed, weights).values())
    assert np.isnan(figures.by_class(missed, weights)["ap"]).tolist() == [[True, False, True]] * 2
    assert faults.confusion(missed)[1].tolist() == [0, 0, 0, 1]
    # what is said where nothing is, is wrong
    false = one_image([[0, 0, 10, 10]], [0.5], [2], []).matches
    assert faults.confusion(false)[3].tolist() == [0, 0, 1, 0]
    assert faults.faults(false, weights)["background"].tolist() == [1.0, 1.0]
