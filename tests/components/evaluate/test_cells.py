"""A class within a group is measured as scikit-learn measures it among the group's samples alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, jaccard_score, recall_score

from components.artifacts import CellFigure, Evidence, Figure, Predictions
from components.evaluate import cells
from components.evaluate.evaluate import measure
from components.metrics import bootstrap
from components.metrics.metric import Metric
from components.tasks import registry as tasks
from tests.components.evaluate.evaluate_builders import CLASSES, CONFIG, NUMBERS, classify, detect, measure_numbers

TASK = tasks.get("classification")
SITES = {"group_site": ["left"] * 240 + ["right"] * 100}


def by_name(evidence: Evidence) -> dict[tuple[str, str], CellFigure]:
    return {(cell.group, cell.label): cell for cell in evidence.cells}


def column(predictions: Predictions, name: str) -> np.ndarray:
    return np.array(predictions.table.column(name).to_pylist())


def test_the_recall_of_a_class_in_a_group_and_its_interval() -> None:
    predictions = classify(340, 0.8, groups=SITES)
    evidence = measure(predictions, TASK, CONFIG)
    target, answer, site = (column(predictions, name) for name in ("target", "prediction", "group_site"))

    assert len(evidence.cells) == 6
    for (group, label), cell in by_name(evidence).items():
        own = site == group
        place = CLASSES.index(label)
        number = int((target[own] == place).sum())
        expected = recall_score(target[own], answer[own], labels=[place], average=None)[0]
        interval = binomtest(round(expected * number), number).proportion_ci(CONFIG.confidence, method="exact")
        assert (cell.metric, cell.samples, cell.column) == ("recall", number, "group_site")
        assert cell.figure is not None and cell.figure.value == pytest.approx(expected)
        assert (cell.figure.low, cell.figure.high) == pytest.approx((interval.low, interval.high))
    lowest = min((cell.figure for cell in evidence.cells if cell.figure), key=lambda figure: figure.low or 0.0)
    assert evidence.figures["worst_group_recall"] == lowest


def masks(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truths and answers `(N, 6, 6)`; the third class is drawn badly where the sample's number is odd."""
    random = np.random.default_rng(seed)
    target = random.integers(0, 3, (samples, 6, 6))
    lost = (target == 2) & (np.arange(samples) % 2 == 1)[:, None, None]
    wrong = np.where(lost, random.random(target.shape) < 0.6, random.random(target.shape) < 0.1)
    return target, np.where(wrong, (target + 1) % 3, target)


def test_of_masks_it_is_the_overlap_and_its_interval_is_of_the_groups_resamples() -> None:
    target, answer = masks(80, 0)
    task, scores = tasks.get("segmentation"), np.eye(3)[answer].transpose(0, 3, 1, 2)
    sites = ["odd" if number % 2 else "even" for number in range(80)]
    rows = task.rows({"probabilities": scores, "prediction": answer}, target)
    predictions = Predictions(
        pa.table({"id": list(map(str, range(80))), "group_site": sites, **rows}), "m", "d", CLASSES
    )

    found = by_name(measure(predictions, task, CONFIG))

    assert {cell.samples for cell in found.values()} == {40}
    for (group, label), cell in found.items():
        own, place = np.array(sites) == group, CLASSES.index(label)
        truth, said = target[own], answer[own]
        expected = jaccard_score(truth.ravel(), said.ravel(), labels=[place], average=None)[0]
        drawn = [row for chunk in bootstrap.resamples(40, CONFIG.bootstrap, CONFIG.seed) for row in chunk]
        both = ((truth == place) & (said == place)).sum(axis=(1, 2))
        either = ((truth == place) | (said == place)).sum(axis=(1, 2))
        ends = np.quantile([(row @ both) / (row @ either) for row in drawn], [0.025, 0.975])
        assert cell.metric == "iou" and cell.figure is not None
        assert cell.figure.value == pytest.approx(expected)
        assert (cell.figure.low, cell.figure.high) == pytest.approx(tuple(ends))
    worst = found["odd", "eel"].figure
    assert worst is not None and worst.value < 0.5
    assert measure(predictions, task, CONFIG).figures["worst_group_iou"] == worst


def test_of_several_labels_it_is_f1() -> None:
    random = np.random.default_rng(3)
    truth = random.random((200, 3)) < [0.5, 0.4, 0.3]
    said = np.where(random.random(truth.shape) < 0.2, ~truth, truth)
    task = tasks.get("multilabel")
    rows = task.rows({"probabilities": np.where(said, 0.9, 0.1), "prediction": said}, truth)
    sites = ["a"] * 120 + ["b"] * 80
    predictions = Predictions(
        pa.table({"id": list(map(str, range(200))), "group_site": sites, **rows}), "m", "d", CLASSES
    )
    for (group, label), cell in by_name(measure(predictions, task, CONFIG)).items():
        own, place = np.array(sites) == group, CLASSES.index(label)
        assert cell.figure is not None and cell.samples == truth[own, place].sum()
        assert cell.figure.value == pytest.approx(f1_score(truth[own, place], said[own, place]))
        assert cell.figure.low is not None and cell.figure.low < cell.figure.value


def test_of_boxes_it_is_average_precision_and_samples_are_images() -> None:
    predictions, _ = detect(60, 0.7)
    task = tasks.get("detection")
    (table,) = cells.tables(measure(predictions, task, CONFIG))
    known = task.by_class(predictions)  # type: ignore[attr-defined]
    assert table.groups == ("1 of 1",)
    truths = predictions.table.column("truths").to_pylist()
    for place, (label, (cell,)) in enumerate(table.rows.items()):
        assert cell is not None and cell.figure is not None
        assert cell.figure.value == pytest.approx(known[label]["ap"])
        assert cell.samples == sum(any(truth["label"] == place for truth in each) for each in truths)


def labelled(pairs: Sequence[tuple[str, int, int, int]]) -> Predictions:
    """Site, class, how many of it are right, and how many there are."""
    site, target, answer = [], [], []
    for group, label, right, total in pairs:
        site += [group] * total
        target += [label] * total
        answer += [label] * right + [(label + 1) % 3] * (total - right)
    scores = np.eye(3, dtype=np.float32)[answer]
    columns: dict[str, Any] = {"id": list(map(str, range(len(site)))), "group_site": site}
    columns |= {"target": target, "prediction": answer, "scores": scores.tolist()}
    return Predictions(pa.table(columns), "m" * 64, "d" * 64, CLASSES)


def test_a_cell_with_few_samples_is_withheld_and_said_to_be_and_one_without_any_is_none() -> None:
    predictions = labelled([("a", 0, 30, 30), ("a", 1, 0, 19), ("b", 0, 18, 20), ("b", 2, 60, 60)])
    evidence = measure(predictions, TASK, CONFIG)
    found = by_name(evidence)
    assert found.keys() == {("a", "cat"), ("a", "dog"), ("b", "cat"), ("b", "eel")}
    withheld = found["a", "dog"]
    assert (withheld.figure, withheld.samples, evidence.min_samples) == (None, 19, 20)
    assert "measured together: dog in group_site a (19)." in " ".join(evidence.notes)
    assert evidence.figures["worst_group_recall"].value == pytest.approx(18 / 20)  # that of 19 is not counted
    all_of_them = measure(predictions, TASK, CONFIG.model_copy(update={"min_samples": 1}))
    assert all_of_them.figures["worst_group_recall"].value == 0.0
    none = measure(predictions, TASK, CONFIG.model_copy(update={"min_samples": 61}))
    assert all(cell.figure is None for cell in none.cells) and "worst_group_recall" not in none.figures


def test_a_class_that_is_rare_in_every_group_is_measured_in_all_of_them_together() -> None:
    rare = [(f"site {number}", 1, 6, 10) for number in range(5)]
    predictions = labelled([*rare, ("large", 1, 200, 200), ("large", 0, 50, 50), ("site 0", 0, 40, 40)])
    evidence = measure(predictions, TASK, CONFIG)
    (together,) = [cell for cell in evidence.cells if cell.together]
    assert (together.label, together.group, together.together, together.samples) == ("dog", "", 5, 50)
    low, high = binomtest(30, 50).proportion_ci(0.95, method="exact")
    assert together.figure is not None
    assert (together.figure.value, together.figure.low, together.figure.high) == pytest.approx((0.6, low, high))
    assert evidence.figures["worst_group_recall"] == together.figure
    assert all(cell.figure is None for cell in evidence.cells if cell.label == "dog" and cell.samples == 10)


def test_of_masks_the_groups_that_are_resampled_together_are_those_that_have_too_few() -> None:
    """The third class is drawn badly at the small sites; of the first there are enough everywhere."""
    target, answer = masks(80, 0)
    sites = np.array(["large"] * 20 + [f"site {number % 4}" for number in range(60)])
    target[:20], answer[:20] = 2, 2
    task = tasks.get("segmentation")
    rows = task.rows({"probabilities": np.eye(3)[answer].transpose(0, 3, 1, 2), "prediction": answer}, target)
    predictions = Predictions(
        pa.table({"id": list(map(str, range(80))), "group_site": sites.tolist(), **rows}), "m", "d", CLASSES
    )
    found = {cell.label: cell for cell in measure(predictions, task, CONFIG).cells if cell.together}
    own = sites != "large"
    assert {cell.together for cell in found.values()} == {4} and found.keys() == set(CLASSES)
    for label, cell in found.items():
        expected = jaccard_score(target[own].ravel(), answer[own].ravel(), labels=[CLASSES.index(label)], average=None)
        assert cell.samples == 60 and cell.figure is not None and cell.figure.value == pytest.approx(expected[0])


def test_where_too_many_sets_would_be_resampled_all_groups_are_taken_together() -> None:
    """Twenty groups, each of which lacks another class: as many sets as classes."""
    classes = tuple(f"class {number}" for number in range(20))
    held = ~np.eye(20, dtype=bool)
    truth = np.repeat(held, 3, axis=0)  # three samples a group
    task = tasks.get("multilabel")
    rows = task.rows({"probabilities": np.where(truth, 0.9, 0.1), "prediction": truth}, truth)
    names = [f"site {number // 3:02d}" for number in range(60)]
    predictions = Predictions(
        pa.table({"id": list(map(str, range(60))), "group_site": names, **rows}), "m", "d", classes
    )
    found = [cell for cell in measure(predictions, task, CONFIG).cells if cell.together]
    assert [(cell.together, cell.samples) for cell in found] == [(20, 57)] * 20
    some = Predictions(predictions.table.slice(0, 45), "m", "d", classes)  # of 15 groups 5 classes lack none
    found = [cell for cell in measure(some, task, CONFIG).cells if cell.together]
    assert sorted({(cell.together, cell.samples) for cell in found}) == [(14, 42), (15, 45)]


def test_twenty_of_twenty_are_not_certain() -> None:
    (cell,) = measure(labelled([("a", 0, 20, 20)]), TASK, CONFIG).cells
    assert cell.figure is not None and cell.figure.value == 1.0
    assert cell.figure.low == pytest.approx(0.025 ** (1 / 20)) and cell.figure.high == 1.0
    # nor are masks that are right throughout, of which every resample says 1
    target, _ = masks(25, 0)
    task = tasks.get("segmentation")
    rows = task.rows({"probabilities": np.eye(3)[target].transpose(0, 3, 1, 2), "prediction": target}, target)
    predictions = Predictions(
        pa.table({"id": list(map(str, range(25))), "group_site": ["a"] * 25, **rows}), "m", "d", CLASSES
    )
    for drawn in measure(predictions, task, CONFIG).cells:
        assert drawn.figure is not None and drawn.figure.value == 1.0
        assert drawn.figure.low == pytest.approx(0.025 ** (1 / 25))


def test_resamples_that_miss_a_class_say_nothing_of_it() -> None:
    """Three labels in two hundred samples are in some resamples not at all."""
    truth = np.zeros((200, 3), bool)
    truth[:, 0], truth[:3, 1] = True, True
    said = truth.copy()
    said[0, 1] = False
    task = tasks.get("multilabel")
    rows = task.rows({"probabilities": np.where(said, 0.9, 0.1), "prediction": said}, truth)
    predictions = Predictions(
        pa.table({"id": list(map(str, range(200))), "group_site": ["a"] * 200, **rows}), "m", "d", CLASSES
    )
    found = by_name(measure(predictions, task, CONFIG.model_copy(update={"min_samples": 3})))
    figure = found["a", "dog"].figure
    assert figure is not None and figure.value == pytest.approx(0.8)
    assert figure.low is not None and figure.high is not None and 0 <= figure.low < 0.8 < figure.high <= 1


def test_many_groups_of_which_all_is_withheld_are_left_out_of_the_table() -> None:
    few = [(f"patient {number}", number % 3, 2, 3) for number in range(40)]
    (table,) = cells.tables(measure(labelled([*few, ("the one", 0, 30, 30)]), TASK, CONFIG))
    assert (table.groups, table.left_out, set(table.rows)) == (("the one", cells.TOGETHER), 40, set(CLASSES))
    (table,) = cells.tables(measure(labelled(few), TASK, CONFIG.model_copy(update={"min_samples": 100})))
    assert (table.groups, table.left_out, table.rows) == ((), 40, {})
    (table,) = cells.tables(measure(labelled(few[:9]), TASK, CONFIG))
    assert (len(table.groups), table.left_out, set(table.rows)) == (9, 0, set(CLASSES))


def test_a_cell_that_is_not_a_number_may_be_the_worst() -> None:
    known = CellFigure(
        column="c", group="g", label="l", metric="recall", samples=30, figure=Figure(value=0.9, low=0.8, high=1.0)
    )
    unknown = known.model_copy(update={"figure": Figure(value=float("nan"))})
    withheld = known.model_copy(update={"figure": None})
    recall = Metric("recall")
    assert cells.worst([known, withheld], recall) == known.figure
    found = cells.worst([known, unknown], recall)
    assert found is not None and np.isnan(found.value)
    assert cells.worst([withheld], recall) is None


def test_a_task_without_classes_has_no_cells_and_evidence_without_them_is_as_it_was() -> None:
    numbers = measure(measure_numbers(60, 2.0, groups={"group_site": ["a", "b"] * 30}), NUMBERS, CONFIG)
    assert numbers.cells == () and set(numbers.figures) >= {"worst_group_rmse"}
    assert not {"cells", "min_samples"} & set(numbers.model_dump(mode="json"))
    crossed = measure(classify(340, 0.8, groups=SITES), TASK, CONFIG)
    assert Evidence.model_validate_json(crossed.to_json()) == crossed
