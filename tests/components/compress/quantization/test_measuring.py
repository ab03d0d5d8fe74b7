from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts import DatasetCard, ImageSpec, Predictions
from components.compress.quantization.measuring import (
    RESAMPLES,
    difference,
    group_losses,
    loss,
    measured,
    members,
    signal_to_noise,
)
from components.data.reading.loading import Arrays
from components.tasks import registry as tasks
from components.tasks.protocol import Output

CLASSES = ("cat", "dog", "owl", "yak")
TASK = tasks.get("classification")
COUNT = 800


@pytest.fixture(scope="module")
def samples() -> Arrays:
    random = np.random.default_rng(0)
    targets = random.integers(0, 4, COUNT)
    groups = {"group_camera": random.choice(["new", "old"], COUNT)}
    images = np.zeros((COUNT, 1, 1, 1), dtype=np.uint8)
    return Arrays(np.arange(COUNT).astype(np.str_), images, targets, groups)


CARD = DatasetCard(
    name="planted",
    task="classification",
    classes=CLASSES,
    groups=("group_camera",),
    input=ImageSpec(height=1, width=1, channels=1, mean=(0.0,), std=(1.0,)),
    splits={},
    fingerprint="",
)


def answering(predicted: Any, targets: Any) -> Predictions:
    scores = np.eye(4, dtype=np.float32)[predicted].tolist()
    table = pa.table({"target": targets, "prediction": predicted, "scores": scores})
    return Predictions(table, model="", data="", classes=CLASSES)


def with_mistakes(targets: Any, wrong: Any) -> Predictions:
    return answering(np.where(wrong, (targets + 1) % 4, targets), targets)


def test_the_loss_is_paired(samples: Arrays) -> None:
    # given two networks that err on the same fifth of the samples, and one of them on eight more
    random = np.random.default_rng(1)
    hard = random.random(COUNT) < 0.2
    more = hard.copy()
    more[np.flatnonzero(~hard)[:8]] = True
    exact, rounded = (measured(TASK, with_mistakes(samples.targets, wrong)) for wrong in (hard, more))
    # when
    lost = loss(TASK, exact, rounded)
    # then the interval is that of eight samples, not of two independent accuracies
    assert lost.value == pytest.approx(8 / COUNT)
    assert lost.low is not None and lost.high is not None
    assert lost.low > 0
    deviation = np.sqrt(8 / COUNT * (1 - 8 / COUNT) / COUNT)
    assert lost.high - lost.low == pytest.approx(2 * 1.96 * deviation, rel=0.15)
    assert exact.figure.value == pytest.approx(1 - hard.mean())
    assert len(exact.spread) == RESAMPLES


def test_the_class_that_loses_more_than_the_rest_is_flagged_and_no_other(samples: Arrays) -> None:
    random = np.random.default_rng(2)
    hard = random.random(COUNT) < 0.1
    # given a rounding that costs owls 15 %, and all others 1 %
    costs = np.where(samples.targets == CLASSES.index("owl"), 0.15, 0.01)
    rounded = with_mistakes(samples.targets, hard | (random.random(COUNT) < costs))
    found = group_losses(TASK, with_mistakes(samples.targets, hard), rounded, members(TASK, samples, CARD), 0.01)
    assert [(each.column, each.group) for each in found if each.flagged] == [("class", "owl")]
    assert {(each.column, each.group) for each in found} == {
        *(("class", name) for name in CLASSES),
        ("group_camera", "new"),
        ("group_camera", "old"),
    }
    owl = next(each for each in found if each.group == "owl")
    of_owls = samples.targets == CLASSES.index("owl")
    right = np.array(rounded.table.column("prediction")) == samples.targets
    assert owl.samples == of_owls.sum()
    assert owl.loss.value == pytest.approx((~hard)[of_owls].mean() - right[of_owls].mean())
    assert owl.rest == pytest.approx((~hard)[~of_owls].mean() - right[~of_owls].mean())


def test_by_chance_alone_hardly_any_group_is_flagged(samples: Arrays) -> None:
    flagged = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        hard = random.random(COUNT) < 0.1
        rounded = with_mistakes(samples.targets, hard | (random.random(COUNT) < 0.02))
        found = group_losses(TASK, with_mistakes(samples.targets, hard), rounded, members(TASK, samples, CARD), 0.01)
        flagged += sum(each.flagged for each in found)
    assert flagged <= 2  # of 60


def test_signal_to_noise_is_in_decibels() -> None:
    random = np.random.default_rng(0)
    truth = random.random((100, 4))
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)

    def answerer(values: Any) -> Any:
        return lambda shown: {"probabilities": values[shown.ravel()], "prediction": values[shown.ravel()].argmax(1)}

    assert signal_to_noise(TASK, answerer(truth), answerer(truth * 1.01), images, 7) == pytest.approx(40.0)
    assert signal_to_noise(TASK, answerer(truth), answerer(truth), images) == np.inf


@dataclass(frozen=True)
class Levels:
    """A task whose answers are two numbers, in units of their own, and no decision."""

    spec: Any

    def difference(self, one: Any, other: Any) -> Any:
        return np.abs(one["far"] - other["far"]) / 1000.0


def test_answers_that_are_no_probabilities_are_compared_as_their_task_says() -> None:
    outputs = (Output("far", (), "float32", measured=True), Output("near", (), "float32", measured=True))
    task: Any = Levels(SimpleNamespace(outputs=(*outputs, Output("seen", (), "int64"))))
    images = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)

    def answerer(far: float, near: float) -> Any:
        return lambda shown: {
            "far": 200.0 + shown.ravel() + far,
            "near": np.ones(len(shown)) * (1.0 + near),
            "seen": shown.ravel(),
        }

    found = difference(task, answerer(0.0, 0.0), answerer(50.0, 0.0), images, 7)
    assert (found.largest, found.mean, found.agreement) == (0.05, 25.0, 0.0)
    assert difference(task, answerer(0.0, 0.0), answerer(5.0, 0.0), images, 7).agreement == 1.0
    # of both, what suffers most counts, whatever it is counted in
    assert signal_to_noise(task, answerer(0.0, 0.0), answerer(0.001, 0.1), images, 7) == pytest.approx(20.0)
