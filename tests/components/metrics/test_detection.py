"""What each detection found and what is wrong with the others: by hand, by TIDE's rules, and by what must hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as coding

from components.artifacts import Predictions
from components.metrics import average_precision as figures
from components.metrics import detection, faults
from tests.components.metrics.detection_builders import CLASSES, Judged, bbox, distinct, drawn, one_image


def test_overlaps_are_those_of_cocos_masks() -> None:
    judged = drawn(0, images=2, grid=0.37)
    one, other = judged.answer["boxes"][1], judged.targets[1, :, 1:5]
    crowd = np.arange(len(other)) % 2 == 0
    theirs = coding.iou([bbox(box) for box in one], [bbox(box) for box in other], crowd.tolist())
    np.testing.assert_allclose(detection.iou(one, other, crowd), theirs, rtol=1e-12)


def test_each_fault_by_hand() -> None:
    truths = [
        [0, 0, 0, 10, 10],
        [0, 100, 0, 110, 10],
        [1, 200, 0, 210, 10],
        [1, 300, 0, 310, 10],
        [0, 400, 0, 410, 10, 1],
    ]
    said = [
        ([0, 0, 10, 10], 0.9, 0),  # right
        ([0, 0, 10, 9], 0.8, 0),  # the same one again
        ([103, 0, 117, 10], 0.7, 0),  # a third of the second
        ([200, 0, 210, 10], 0.6, 0),  # the third, by another class
        ([205, 0, 215, 10], 0.5, 0),  # a third of it, by another class
        ([50, 50, 60, 60], 0.4, 1),  # nothing
        ([400, 0, 405, 5], 0.3, 0),  # within what is ignored
    ]
    boxes, scores, labels = map(list, zip(*said, strict=True))
    matches = one_image(boxes, scores, labels, truths).matches
    told = {name: int(value[0]) for name, value in faults.faults(matches, np.ones((1, 1))).items()}
    assert told == dict.fromkeys(["misplaced", "mislabelled", "duplicate", "background", "both", "missed"], 1)
    expected = np.zeros((4, 4), np.int64)
    expected[0] = [1, 0, 0, 1]  # found; missed
    expected[1] = [1, 0, 0, 1]  # taken for the other class; missed
    expected[3, :2] = [3, 1]  # of nothing: the duplicate, the misplaced, what is both; and the one of nothing
    np.testing.assert_array_equal(faults.confusion(matches), expected)
    above = {name: int(value[0]) for name, value in faults.faults(matches, np.ones((1, 1)), 0.65).items()}
    assert above == {"misplaced": 1, "mislabelled": 0, "duplicate": 1, "background": 0, "both": 0, "missed": 2}


def test_a_truth_that_was_found_is_not_taken_for_another_class() -> None:
    # given two truths, the first of them found, and a third class said of both, rather of the first
    truths = [[0, 0, 0, 10, 10], [1, 2, 0, 12, 10]]
    for better, row in ((0.9, [0, 0, 1, 0]), (0.1, [0, 0, 0, 1])):
        matches = one_image([[0, 0, 10, 10], [0, 0, 11, 10]], [better, 0.5], [0, 2], truths).matches
        # then it is said of the second, unless it was said before the first was found
        assert faults.confusion(matches)[0].tolist() == [1, 0, 0, 0]
        assert faults.confusion(matches)[1].tolist() == row


@pytest.mark.parametrize("seed", range(4))
def test_faults_are_those_of_tides_rules(seed: int) -> None:
    judged = distinct(drawn(seed, grid=0.37))
    rows = detection.rows(judged.answer, judged.targets)
    for image, (found, truths) in enumerate(zip(rows["found"].to_pylist(), rows["truths"].to_pylist(), strict=True)):
        order = [k for k in judged.answer["scores"][image].argsort()[::-1] if judged.answer["valid"][image, k]]
        boxes = judged.answer["boxes"][image][order]
        overlap = detection.iou(boxes, judged.targets[image, : len(truths), 1:5])
        near = dict.fromkeys(range(len(truths)), -1.0)
        for each, row in zip(found, overlap, strict=True):
            own = {
                m: row[m] for m, truth in enumerate(truths) if truth["label"] == each["label"] and not truth["ignored"]
            }
            other = {
                m: row[m] for m, truth in enumerate(truths) if truth["label"] != each["label"] and not truth["ignored"]
            }
            best, best_other = max(own.values(), default=0.0), max(other.values(), default=0.0)
            expected, on = "both", own
            if (each["hits"] | each["passed"]) & 1:
                assert each["fault"] == -1
                continue
            if 0.1 <= best < 0.5:
                expected = "misplaced"
            elif best_other >= 0.5:
                expected, on = "mislabelled", other
            elif best >= 0.5:
                expected = "duplicate"
            elif max(best, best_other) < 0.1:
                expected = "background"
            assert detection.FAULTS[each["fault"]] == expected
            if expected in ("misplaced", "mislabelled"):
                place = max(on, key=on.__getitem__)
                near[place] = max(near[place], each["score"])
        assert [truth["near"] for truth in truths] == list(near.values())


@pytest.mark.parametrize("score", [0.0, 0.4, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_is_as_if_nothing_below_it_had_been_said(seed: int, score: float) -> None:
    judged = drawn(seed, images=40, detections=12, wrong=0.8)
    valid = judged.answer["valid"] & (judged.answer["scores"] >= np.float32(score))
    cut = Judged({**judged.answer, "valid": valid}, judged.targets).matches
    matches, weights = judged.matches, np.ones((1, len(judged)))
    confusion = faults.confusion(matches, np.float64(score))
    np.testing.assert_array_equal(confusion, faults.confusion(cut))
    assert faults.faults(matches, weights, score) == faults.faults(cut, weights)
    # Every truth and every detection is in it once, and the right ones are those of recall.
    there = figures.truths_of_class(cut, weights)[0]
    np.testing.assert_array_equal(confusion[:-1].sum(axis=1), there)
    counted = cut.found["label"][cut.found["passed"] & 1 == 0]
    np.testing.assert_array_equal(confusion[:, :-1].sum(axis=0), np.bincount(counted, minlength=CLASSES))
    right = figures.largest_recall(cut, weights)[0, :, 0] * there
    np.testing.assert_allclose(confusion.diagonal()[:-1], right)
    assert confusion[:-1, :-1].sum() > confusion.diagonal().sum(), "expected some that are taken for another class"


# -- ends of what there can be ----------------------------------------------------------------------------------------


def test_batches_are_rows_of_the_whole_and_survive_their_file(tmp_path: Path) -> None:
    judged = drawn(0)
    whole = pa.table(detection.rows(judged.answer, judged.targets))
    parts = [judged[slice(start, start + 1)] for start in range(len(judged))]  # of which the first two have empty lists
    table = pa.concat_tables([pa.table(detection.rows(part.answer, part.targets)) for part in parts])
    assert table.combine_chunks().equals(whole)
    Predictions(table, "", "", ("a", "b", "c")).save(tmp_path)
    assert Predictions.load(tmp_path).table.equals(table)


def test_what_is_no_number_finds_nothing_and_comes_last() -> None:
    truths = [[0, 0, 0, 10, 10]]
    boxes = [[0, 0, 10, 10], [np.nan, 0, 10, 10], [0, 0, np.inf, np.inf], [10, 10, 0, 0]]
    judged = one_image(boxes, [np.nan, 0.9, 0.8, 0.7], [0, 0, 0, 0], truths)
    found = detection.rows(judged.answer, judged.targets)["found"].to_pylist()[0]
    assert [each["hits"] & 1 for each in found] == [0, 0, 0, 1]
    assert figures.figures(judged.matches, np.ones((1, 1)))["map50"][0] == pytest.approx(0.25)


def test_no_more_sizes_than_there_are_bits_for() -> None:
    judged = one_image([], [], [], [])
    with pytest.raises(ValueError, match="sizes: expected at most 5, received 6"):
        detection.rows(judged.answer, judged.targets, {str(size): (0.0, 1.0) for size in range(6)})
