"""What of a detector's answers is shown: what goes wrong, which scenes, and what is drawn over them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts import Predictions
from components.metrics import average_precision, detection
from components.tasks import detection_views
from components.tasks.capabilities import Crossed, Listed, Looked

CLASSES = ("cup", "jug")
BOXES = {"right": (10, 10, 30, 30), "far": (60, 60, 80, 80), "off": (10, 18, 30, 38), "hidden": (40, 10, 60, 30)}


def scenes() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Four scenes: right; taken for another class and off the place; said where nothing is; missed behind something."""
    said = [
        [("right", 0, 0.9)],
        [("right", 1, 0.8), ("off", 0, 0.7)],
        [("far", 1, 0.6)],
        [("right", 0, 0.95), ("far", 0, 0.01)],
    ]
    there = [[("right", 0, 1.0)], [("right", 0, 1.0)], [], [("right", 0, 1.0), ("hidden", 1, 0.3)]]
    targets = np.zeros((4, 3, 7), np.float32)
    targets[..., 0] = -1
    answer = {
        "boxes": np.zeros((4, 3, 4), np.float32),
        "scores": np.zeros((4, 3), np.float32),
        "labels": np.full((4, 3), -1),
        "valid": np.zeros((4, 3), bool),
    }
    for scene, (answers, truths) in enumerate(zip(said, there, strict=True)):
        for place, (box, label, score) in enumerate(answers):
            answer["boxes"][scene, place] = BOXES[box]
            answer["scores"][scene, place], answer["labels"][scene, place] = score, label
            answer["valid"][scene, place] = True
        for place, (box, label, visible) in enumerate(truths):
            targets[scene, place] = (label, *BOXES[box], 0, visible)
    return answer, targets


@pytest.fixture
def predictions() -> Predictions:
    return Predictions(pa.table(detection.rows(*scenes())), "m", "d", CLASSES)


def looked(predictions: Predictions, line: str) -> list[Looked]:
    return [each for each in detection_views.looked_at(predictions) if each.line == line]


def test_scores_count_from_where_they_are_right_most_often(predictions: Predictions) -> None:
    assert average_precision.best_score(average_precision.matches(predictions)) == pytest.approx(0.9)
    nothing = predictions.table.slice(2, 1)
    assert average_precision.best_score(average_precision.matches(replace(predictions, table=nothing))) == 1.0


def test_a_scene_is_as_good_as_what_is_found_in_it(predictions: Predictions) -> None:
    worth = average_precision.image_f1(average_precision.matches(predictions), 0.05)
    assert worth.tolist() == pytest.approx([1.0, 0.0, 0.0, 2 / 3])
    none = average_precision.image_f1(average_precision.matches(predictions), 0.9)
    assert np.isnan(none[2])  # nothing is there and nothing is said


def test_what_goes_wrong_is_counted_and_told_by_size_and_by_what_is_visible(
    predictions: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(average_precision, "best_score", lambda judged: 0.5)
    wrong, crossed, size, visible = detection_views.views(predictions)
    assert isinstance(wrong, Listed) and isinstance(crossed, Crossed)
    assert "Of 4 objects and 5 answers of a score of 0.50" in wrong.says
    counts = {row[0]: row[2] for row in wrong.rows}
    assert counts == {"misplaced": 1, "mislabelled": 1, "duplicate": 0, "background": 1, "both": 0, "missed": 1}
    assert crossed.names == ("cup", "jug", "nothing")
    # A jug is missed; of three cups one is called a jug; a cup off its place and a jug are said where there is none.
    assert crossed.counts.tolist() == [[2, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert isinstance(size, Listed) and [row[:3] for row in size.rows] == [("small", "0 to 32 px", 4)]
    assert isinstance(visible, Listed)
    assert [(row[0], row[2], row[3]) for row in visible.rows] == [
        ("partly", 1, 0.0),
        ("mostly", 3, pytest.approx(2 / 3)),
    ]


def test_where_all_is_visible_nothing_is_told_of_it() -> None:
    answer, targets = scenes()
    targets[..., 6] = 1.0
    told = detection_views.views(Predictions(pa.table(detection.rows(answer, targets)), "m", "d", CLASSES))
    assert [view.title for view in told] == ["What goes wrong", "Confusion matrix", "By size"]


def test_scenes_and_faults_are_drawn_as_they_are(predictions: Predictions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(average_precision, "best_score", lambda judged: 0.5)

    def drawn(each: Looked) -> list[tuple[str, str, tuple[float, ...]]]:
        marked = detection_views.marked(each, predictions)
        assert (marked.window is None) == (each.part is None)
        return [(mark.kind, mark.says, mark.sides) for mark in marked.marks]

    best = looked(predictions, "best")
    assert [each.row for each in best] == [0, 3, 1, 2]
    assert [each.row for each in looked(predictions, "worst")] == [2, 1, 3, 0]
    assert drawn(best[0]) == [("truth", "cup", BOXES["right"]), ("right", "cup 0.90", BOXES["right"])]
    (missed,) = looked(predictions, "missed")
    assert (missed.row, missed.says, drawn(missed)[0]) == (3, "30% visible", ("missed", "jug", BOXES["hidden"]))
    expected = {
        "nothing there": ("jug 0.60", BOXES["far"]),
        "misplaced": ("cup 0.70", BOXES["off"]),
        "mislabelled": ("jug 0.80", BOXES["right"]),
    }
    for line, (says, box) in expected.items():
        (one,) = looked(predictions, line)
        assert drawn(one)[-1] == ("wrong", says, box)


def test_labels_are_doubted_where_an_answer_is_as_sure_as_right_ones_are() -> None:
    answer, targets = scenes()
    answer["scores"][2, 0] = 0.93  # a jug where nothing is labelled
    answer["boxes"][1, 1], answer["scores"][1, 0] = (0, 60, 20, 80), 0.97  # the only answer near the cup says jug
    answer["labels"][3, 1], answer["scores"][3, 1], answer["boxes"][3, 1] = 1, 0.9, BOXES["hidden"]
    targets[0, 1] = (1, 70, 10, 90, 30, 0, 1.0)  # a jug that nobody sees
    predictions = Predictions(pa.table(detection.rows(answer, targets)), "m", "d", CLASSES)
    found = {(doubt.finding, doubt.row): doubt for doubt in detection_views.doubts(predictions)}
    assert set(found) == {("missing-box", 2), ("label-noise", 1), ("doubtful-box", 0)}
    assert found["missing-box", 2].says == (
        "jug (score 0.93) is seen where nothing is labelled: left 60, top 60, right 80, bottom 80"
    )
    assert found["doubtful-box", 0].says.startswith("nothing is seen where jug is labelled: left 70")
    answer["scores"][2, 0] = 0.89  # less than the one jug that is right
    fewer = Predictions(pa.table(detection.rows(answer, targets)), "m", "d", CLASSES)
    assert ("missing-box", 2) not in {(doubt.finding, doubt.row) for doubt in detection_views.doubts(fewer)}
