from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from sklearn import metrics

from components.artifacts import Predictions
from components.evaluate.evaluate import measure, paired_difference, subset
from components.metrics import bootstrap
from components.tasks import registry as tasks
from tests.components.evaluate.evaluate_builders import CLASSES, CONFIG, NUMBERS, classify, measure_numbers, segment

TASK = tasks.get("classification")


def labels(predictions: Predictions, column: str) -> np.ndarray:
    return np.asarray(predictions.table.column(column).to_pylist())


def test_figures_are_those_of_scikit_learn() -> None:
    predictions = classify(500, 0.8)
    evidence = measure(predictions, TASK, CONFIG)
    target, answer = labels(predictions, "target"), labels(predictions, "prediction")
    scores = labels(predictions, "scores").astype(np.float64)
    known = {
        "accuracy": metrics.accuracy_score(target, answer),
        "balanced_accuracy": metrics.balanced_accuracy_score(target, answer),
        "macro_f1": metrics.f1_score(target, answer, average="macro"),
        "log_loss": metrics.log_loss(target, scores / scores.sum(axis=1, keepdims=True)),
    }
    for name, value in known.items():
        assert evidence.figures[name].value == pytest.approx(value, abs=1e-6), name
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(target, answer)
    for index, name in enumerate(CLASSES):
        found = evidence.classes[name]
        assert [found["precision"], found["recall"], found["f1"]] == pytest.approx(
            [precision[index], recall[index], f1[index]]
        )
    assert (evidence.primary, evidence.samples, evidence.split) == ("accuracy", 500, "test")


def test_intervals_hold_the_truth_about_as_often_as_they_promise() -> None:
    # given 60 test splits from a model that is right four times in five
    hits = 0
    for seed in range(60):
        figure = measure(classify(200, 0.8, seed), TASK, CONFIG).figures["accuracy"]
        assert figure.low is not None and figure.high is not None
        hits += figure.low <= 0.8 <= figure.high
    # then 95 % intervals hold 0.8 in most of them (fewer than 51 of 60: once in 1,000 tries), without being wide
    assert hits >= 51
    assert figure.high - figure.low < 0.15


def test_group_figures_are_those_computed_by_hand_and_by_fairlearn() -> None:
    groups = ["left"] * 300 + ["right"] * 100
    predictions = classify(400, 0.8, groups={"group_side": groups})
    target, answer = labels(predictions, "target"), labels(predictions, "prediction")
    answer[300:350] = (target[300:350] + 1) % 3  # the right side fares worse
    index = predictions.table.column_names.index("prediction")
    table = predictions.table.set_column(index, "prediction", [answer])
    predictions = Predictions(table, predictions.model, predictions.data, predictions.classes)

    evidence = measure(predictions, TASK, CONFIG)
    frame = MetricFrame(metrics=metrics.accuracy_score, y_true=target, y_pred=answer, sensitive_features=groups)
    by_hand = {row.group: row.figure.value for row in evidence.groups}
    assert by_hand == pytest.approx(dict(frame.by_group))
    assert {row.group: row.samples for row in evidence.groups} == {"left": 300, "right": 100}
    assert evidence.disparity["group_side.difference"] == pytest.approx(frame.difference())
    assert evidence.disparity["group_side.ratio"] == pytest.approx(frame.ratio())
    assert evidence.figures["worst_group_accuracy"].value == pytest.approx(frame.group_min())
    for row in evidence.groups:
        assert row.figure.low is not None and row.figure.low < row.figure.value
    widths = {row.group: row.figure.high - row.figure.low for row in evidence.groups}  # type: ignore[operator]
    assert widths["right"] > widths["left"]  # fewer samples, less certain


def test_segmentation_is_measured_by_the_same_code() -> None:
    evidence = measure(segment(60, 0.9), tasks.get("segmentation"), CONFIG)
    assert evidence.primary == "mean_iou"
    assert evidence.figures["pixel_accuracy"].value == pytest.approx(0.9, abs=0.02)
    assert len(evidence.groups) == 2 and "slice_brightness.ratio" in evidence.disparity
    assert evidence.figures["worst_group_mean_iou"].value <= evidence.figures["mean_iou"].value
    assert "not people" in " ".join(evidence.notes)


def test_without_groups_there_is_no_worst_group_and_no_perfect_fairness() -> None:
    evidence = measure(classify(50, 0.8), TASK, CONFIG)
    assert "worst_group_accuracy" not in evidence.figures
    assert evidence.disparity == {}
    assert "neither groups nor slices" in " ".join(evidence.notes)


def test_what_twins_change_is_what_numpy_says() -> None:
    # given 400 answers, of which the 60 to pictures that were learnt by heart are all right
    predictions = classify(400, 0.8)
    target, answer = labels(predictions, "target"), labels(predictions, "prediction")
    answer[:60] = target[:60]
    table = predictions.table.set_column(predictions.table.column_names.index("prediction"), "prediction", [answer])
    predictions = Predictions(table, predictions.model, predictions.data, predictions.classes)
    twins = {f"sample-{number}": "whichever" for number in range(60)} | {"a validation sample": "whichever"}

    evidence = measure(predictions, TASK, CONFIG, twins=twins)

    right = (target == answer).astype(np.float64)
    without, change = evidence.figures["accuracy_without_twins"], evidence.figures["accuracy_change_by_twins"]
    assert evidence.figures["accuracy"].value == pytest.approx(right.mean())
    assert without.value == pytest.approx(right[60:].mean())
    assert change.value == pytest.approx(right.mean() - right[60:].mean())
    assert evidence.figures["samples_with_twins"].value == 60
    # and the intervals are those of the same resamples, taken one by one
    drawn = np.random.default_rng(CONFIG.seed).integers(0, 400, size=(CONFIG.bootstrap, 400))
    rest = np.array([right[rows[rows >= 60]].mean() for rows in drawn])
    whole = np.array([right[rows].mean() for rows in drawn])
    assert (without.low, without.high) == pytest.approx(np.quantile(rest, [0.025, 0.975]))
    assert (change.low, change.high) == pytest.approx(np.quantile(whole - rest, [0.025, 0.975]))
    assert any("60 of 400 samples are all but the same picture" in note for note in evidence.notes)


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_where_all_samples_have_twins_nothing_is_known_and_where_none_have_nothing_is_said(task: str) -> None:
    predictions = classify(40, 0.8) if task == "classification" else segment(40, 0.9)
    plain = measure(predictions, tasks.get(task), CONFIG)
    assert not any("twins" in name for name in plain.figures)
    assert measure(predictions, tasks.get(task), CONFIG, twins={"of another split"}) == plain
    all_of_them = measure(predictions, tasks.get(task), CONFIG, twins=set(labels(predictions, "id").tolist()))
    assert math.isnan(all_of_them.figures[f"{plain.primary}_without_twins"].value)
    assert all_of_them.figures[plain.primary] == plain.figures[plain.primary]


class Unmeasurable:
    """A task whose metric has no value on one group."""

    spec = TASK.spec

    def measure(self, predictions: Predictions, weights: np.ndarray) -> dict[str, np.ndarray]:
        if set(labels(predictions, "group_side").tolist()) == {"right"}:
            return {"accuracy": np.full(len(weights), math.nan)}
        return {"accuracy": TASK.measure(predictions, weights)["accuracy"]}

    def by_class(self, predictions: Predictions) -> dict[str, dict[str, float]]:
        return {}


def test_a_group_that_cannot_be_measured_is_not_passed_over() -> None:
    predictions = classify(40, 0.8, groups={"group_side": ["left"] * 20 + ["right"] * 20})
    evidence = measure(predictions, Unmeasurable(), CONFIG)  # type: ignore[arg-type]
    assert math.isnan(evidence.figures["worst_group_accuracy"].value)
    assert math.isnan(evidence.disparity["group_side.difference"])
    assert math.isnan(evidence.disparity["group_side.ratio"])
    assert type(evidence).model_validate_json(evidence.to_json()).to_json() == evidence.to_json()


def test_small_groups_are_called_uncertain() -> None:
    predictions = classify(100, 0.8, groups={"group_side": ["left"] * 95 + ["right"] * 5})
    assert "group_side right (5)" in " ".join(measure(predictions, TASK, CONFIG).notes)


def test_equal_seeds_give_equal_evidence_and_others_do_not() -> None:
    predictions = classify(100, 0.8)
    again = measure(predictions, TASK, CONFIG)
    assert measure(predictions, TASK, CONFIG).digest == again.digest
    assert measure(predictions, TASK, CONFIG.model_copy(update={"seed": 1})).digest != again.digest


def test_a_paired_difference_is_narrower_than_the_figures_it_is_made_of() -> None:
    # given a candidate that differs from production in five samples of 400, all for the better
    production = classify(400, 0.8)
    target, answer = labels(production, "target"), labels(production, "prediction")
    wrong = np.flatnonzero(target != answer)[:5]
    answer[wrong] = target[wrong]
    index = production.table.column_names.index("prediction")
    table = production.table.set_column(index, "prediction", [answer])
    shuffled = np.random.default_rng(1).permutation(400)
    candidate = subset(Predictions(table, "c" * 64, production.data, CLASSES), shuffled)  # another order, same ids
    # then the difference is 5 / 400, and its interval, unlike either figure's, leaves no doubt of the sign
    figure = paired_difference(candidate, production, TASK, "accuracy", resamples=300)
    assert figure.value == pytest.approx(5 / 400)
    assert figure.low is not None and 0 <= figure.low < figure.value
    by_hand = np.array([
        (row @ (answer == target).astype(float) - row @ (labels(production, "prediction") == target)) / 400
        for chunk in bootstrap.resamples(400, 300, 0) for row in chunk
    ])  # fmt: skip
    assert figure.high == pytest.approx(np.quantile(by_hand, 0.975), abs=0.005)


def test_of_a_metric_with_a_unit_the_difference_is_in_parts_of_productions() -> None:
    better, worse = (measure_numbers(500, error, seed) for error, seed in ((2.0, 1), (3.0, 2)))
    figure = paired_difference(better, worse, NUMBERS, "rmse", resamples=300)
    errors = [float(NUMBERS.measure(each, np.ones((1, 500)))["rmse"][0]) for each in (better, worse)]
    assert figure.value == pytest.approx(errors[0] / errors[1] - 1)
    assert figure.high is not None and figure.value < figure.high < 0
    assert figure.unit == ""


def test_the_worst_group_of_an_error_is_the_one_that_has_most_of_it() -> None:
    groups = {"group_site": ["north", "south"] * 200}
    predictions = measure_numbers(400, 2.0, groups=groups)
    column = np.array(predictions.table.column("prediction").to_pylist())
    column[::2] += 5.0
    place = predictions.table.column_names.index("prediction")
    spoilt = replace(predictions, table=predictions.table.set_column(place, "prediction", [column.tolist()]))
    evidence = measure(spoilt, NUMBERS, CONFIG)
    by_group = {row.group: row.figure for row in evidence.groups}
    assert by_group["north"].value > 4 > by_group["south"].value
    assert evidence.figures["worst_group_rmse"] == by_group["north"]
    assert by_group["north"].unit == evidence.figures["rmse"].unit == "kg"
    assert evidence.disparity["group_site.difference"] == pytest.approx(
        by_group["north"].value - by_group["south"].value
    )


def test_a_model_does_not_differ_from_itself() -> None:
    predictions = classify(100, 0.8)
    figure = paired_difference(predictions, predictions, TASK, "macro_f1", resamples=100)
    assert (figure.value, figure.low, figure.high) == (0.0, 0.0, 0.0)


def test_different_samples_are_not_compared() -> None:
    predictions = classify(100, 0.8)
    other = Predictions(predictions.table, "c" * 64, "e" * 64, CLASSES)
    with pytest.raises(ValueError, match="the same data"):
        paired_difference(predictions, other, TASK, "accuracy")
    with pytest.raises(ValueError, match="same 100 samples on both sides, received 50 of which 50"):
        paired_difference(predictions, subset(predictions, np.arange(50)), TASK, "accuracy")
    with pytest.raises(ValueError, match="received 'beauty'"):
        paired_difference(predictions, predictions, TASK, "beauty")
