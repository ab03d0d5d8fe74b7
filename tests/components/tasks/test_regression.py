"""Regression's own claims: losses written out with numpy, units that change nothing, intervals that hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.stats import norm

from components.artifacts import DatasetCard, Predictions
from components.targets import values
from components.tasks import registry
from components.tasks.protocol import Batch
from components.tasks.regression import HUBER, INTERVAL_WEIGHT, NORMAL, Regression

SCALE = np.array([2.0, 500.0])
MIDDLE = np.array([10.0, -3000.0])


def record(factor: float = 1.0, names: tuple[str, ...] = ("age", "depth")) -> dict[str, Any]:
    """Of two values, the first in years times `factor`."""
    by = np.array([factor, 1.0])[: len(names)]
    ends = {"low": (MIDDLE - 3 * SCALE)[: len(names)] * by, "high": (MIDDLE + 3 * SCALE)[: len(names)] * by}
    scale = {"mean": MIDDLE[: len(names)] * by, "std": SCALE[: len(names)] * by, **ends}
    units = ("years", "m")[: len(names)]
    return {"kind": "values", "names": names, "units": units, **{key: tuple(each) for key, each in scale.items()}}


def some(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (N, 6), values, one end, the other, and targets (N, 2)."""
    random = np.random.default_rng(0)
    targets = MIDDLE + SCALE * random.normal(size=(count, 2))
    value = targets + SCALE * random.normal(0.0, 0.8, (count, 2))
    return np.concatenate([value, value - 1.2 * SCALE, value + 0.9 * SCALE], axis=1), targets


def loss(task: Regression, name: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    batch = Batch(torch.zeros(len(targets), 1, 4, 4), torch.from_numpy(targets).float())
    return task.named_loss(name)(torch.from_numpy(outputs).float(), batch)["loss"].item()


def by_hand(name: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    truth, value, low, high = ((each - MIDDLE) / SCALE for each in (targets, *np.split(outputs, 3, axis=1)))

    def pinball(answer: np.ndarray, quantile: float) -> np.ndarray:
        return np.where(truth >= answer, quantile * (truth - answer), (1 - quantile) * (answer - truth))

    ends, gap = pinball(low, 0.05) + pinball(high, 0.95), np.abs(truth - value)
    if name == "gaussian":
        return float(-norm.logpdf(truth, value, (high - low) / (2 * NORMAL)).mean() - 0.5 * np.log(2 * np.pi))
    if name == "quantile":
        return float((pinball(value, 0.5) + ends).mean())
    own = {
        "squared": gap**2,
        "absolute": gap,
        "huber": np.where(gap <= HUBER, gap**2 / 2, HUBER * (gap - HUBER / 2)),
    }[name]
    return float((own + INTERVAL_WEIGHT * ends).mean())


@pytest.mark.parametrize("name", Regression.losses)
def test_each_loss_is_what_its_name_says(name: str) -> None:
    outputs, targets = some()
    assert loss(Regression(record()), name, outputs, targets) == pytest.approx(
        by_hand(name, outputs, targets), rel=1e-4
    )


@pytest.mark.parametrize("name", Regression.losses)
def test_other_units_change_no_loss(name: str) -> None:
    outputs, targets = some()
    days = np.array([365.0, 1.0])
    assert loss(Regression(record(365.0)), name, outputs * np.tile(days, 3), targets * days) == pytest.approx(
        loss(Regression(record()), name, outputs, targets), rel=1e-4
    )


def test_one_wrong_label_moves_the_squared_loss_and_hardly_the_robust_ones() -> None:
    outputs, targets = some()
    spoilt = targets.copy()
    spoilt[0] = MIDDLE + 50 * SCALE
    task = Regression(record())
    grown = {name: loss(task, name, outputs, spoilt) / loss(task, name, outputs, targets) for name in task.losses}
    assert grown["squared"] > 50
    assert max(grown["absolute"], grown["huber"], grown["quantile"]) < 6


@pytest.mark.parametrize("name", ["squared", "quantile", "gaussian"])
def test_nine_truths_in_ten_lie_in_the_intervals_that_are_learnt(name: str) -> None:
    """Without a picture, of normally distributed truths: the quantiles at 5 % and 95 % are known."""
    random = torch.Generator().manual_seed(0)
    truths = torch.randn((4000, 1), generator=random) * 2.0 + 10.0
    task = Regression(record(names=("age",)))
    outputs = torch.tensor([[10.0, 9.0, 11.0]], requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.05)
    batch = Batch(torch.zeros(len(truths), 1, 4, 4), truths)
    learnt = task.named_loss(name)
    for _ in range(600):
        optimizer.zero_grad()
        learnt(outputs.expand(len(truths), 3), batch)["loss"].backward()
        optimizer.step()
    answer = {key: value.detach().numpy() for key, value in task.answer(outputs).items()}
    inside = (truths.numpy() >= answer["low"]) & (truths.numpy() <= answer["high"])
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    assert answer["value"][0, 0] == pytest.approx(10.0, abs=0.15)


def test_ends_that_have_crossed_are_answered_in_order() -> None:
    answer = Regression(record(names=("age",))).answer(torch.tensor([[5.0, 9.0, 1.0]]))
    assert [answer[name].item() for name in ("value", "low", "high")] == [5.0, 1.0, 9.0]


def judged(target: Mapping[str, Any], outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    task = Regression(target)
    answer = {name: each.numpy() for name, each in task.answer(torch.from_numpy(outputs)).items()}
    predictions = Predictions(pa.table(task.rows(answer, targets)), "m", "d", ())
    return {name: float(value[0]) for name, value in task.measure(predictions, np.ones((1, len(targets)))).items()}


def test_one_value_is_judged_in_its_unit() -> None:
    outputs, targets = some()
    found = judged(record(names=("age",)), outputs[:, ::2], targets[:, :1])
    gap = outputs[:, 0] - targets[:, 0]
    assert found["rmse"] == pytest.approx(np.sqrt((gap**2).mean()), rel=1e-6)
    assert Regression(record(names=("age",))).spec.primary.unit == "years"
    assert set(found) == {"rmse", "mae", "r2", "coverage", "coverage_error", "interval_width"}


def test_several_values_are_judged_in_deviations_and_each_in_its_unit() -> None:
    outputs, targets = some()
    found = judged(record(), outputs, targets)
    gap = outputs[:, :2] - targets
    assert found["rmse"] == pytest.approx(np.sqrt(((gap / SCALE) ** 2).mean()), rel=1e-6)
    assert found["rmse_depth"] == pytest.approx(np.sqrt((gap[:, 1] ** 2).mean()), rel=1e-6)
    units = {metric.name: metric.unit for metric in Regression(record()).spec.metrics}
    assert (units["rmse"], units["rmse_age"], units["mae_depth"]) == ("σ", "years", "m")
    assert judged(record(365.0), outputs * np.tile([365.0, 1.0], 3), targets * [365.0, 1.0])["rmse"] == pytest.approx(
        found["rmse"]
    )


def test_an_answer_that_is_missing_is_the_worst_there_is() -> None:
    outputs, targets = some()
    outputs[3, 0] = np.nan
    found = judged(record(), outputs, targets)
    assert (found["rmse"], found["mae"], found["r2"]) == (np.inf, np.inf, -np.inf)
    assert found["rmse_depth"] < np.inf


def test_a_task_is_bound_to_the_values_of_its_data_and_says_what_it_can_without() -> None:
    card = DatasetCard.model_construct(task="regression", classes=(), target=record())
    assert [metric.name for metric in registry.of(card).spec.metrics][:2] == ["rmse", "mae"]
    assert "rmse_age" in {metric.name for metric in registry.of(card).spec.metrics}
    plain = registry.get("regression").spec
    assert (plain.primary_metric, plain.primary.better, plain.target) == ("rmse", "less", values.TARGET.name)
    assert registry.of(card.model_copy(update={"task": "classification"})) is registry.get("classification")


def test_two_answers_lie_apart_by_their_share_of_the_interval() -> None:
    task = Regression(record())
    one = task.answer(torch.from_numpy(some()[0]).float())
    one = {name: each.numpy() for name, each in one.items()}
    width = one["high"] - one["low"]
    other = one | {"value": one["value"] + width * np.array([0.0, 0.25])}
    np.testing.assert_allclose(task.difference(one, other), 0.25, rtol=1e-4)
    assert task.difference(one, one | {"value": np.full_like(one["value"], np.nan)}).tolist() == [1.0] * 40
