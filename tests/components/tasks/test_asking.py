"""Asking: what comes of it does not depend on the batches, the order or who leads."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts import DatasetCard, ImageSpec
from components.data.reading.loading import Arrays
from components.tasks import registry
from components.tasks.answers import Answerer, Answers, Inputs
from components.tasks.asking import Asked, Samples, ask, asked, gathered, label, primary, rows_of

CLASSES = ("dark", "middle", "bright")
SPEC = ImageSpec(height=4, width=4, channels=1, mean=(0.5,), std=(0.2,))
CARD = DatasetCard(
    name="levels", task="classification", classes=CLASSES, groups=(), input=SPEC, splits={}, fingerprint="0" * 64
)
TASK = registry.get("classification")


def samples(count: int = 23, groups: dict[str, Any] | None = None) -> Arrays:
    random = np.random.default_rng(0)
    return Arrays(
        ids=np.array([f"level-{number}" for number in range(count)]),
        inputs=random.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8),
        targets=random.integers(0, 3, count),
        groups=groups or {},
    )


def by_brightness(images: Inputs) -> Answers:
    level = images.mean(axis=(1, 2, 3)) / 255.0
    probabilities = np.stack([1 - level, np.full(len(level), 0.5), level], axis=1).astype(np.float32)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return {"probabilities": probabilities, "prediction": probabilities.argmax(axis=1)}


@pytest.mark.parametrize("batch", [1, 7, 23, 100])
def test_the_table_does_not_depend_on_the_batches(batch: int) -> None:
    given = samples()
    table = ask(TASK, by_brightness, given, CARD, batch=batch, split="test").table
    whole = TASK.rows(by_brightness(given.inputs), given.targets)
    assert table.column_names == ["id", "split", *whole]
    assert table["id"].to_pylist() == given.ids.tolist()
    assert set(table["split"].to_pylist()) == {"test"}
    for name, values in whole.items():
        assert table[name].to_pylist() == list(values), name


def test_groups_are_those_of_the_samples_or_those_that_are_said() -> None:
    declared = {"group_site": np.array(["a", "b"] * 11 + ["a"])}
    given = samples(groups=declared)
    assert ask(TASK, by_brightness, given, CARD).table["group_site"].to_pylist() == declared["group_site"].tolist()
    said = ask(TASK, by_brightness, given, CARD, groups={"slice_half": np.repeat(["1", "2"], (11, 12))}).table
    assert "group_site" not in said.column_names
    assert said["slice_half"].to_pylist() == ["1"] * 11 + ["2"] * 12


def test_nobody_is_asked_about_nothing() -> None:
    with pytest.raises(ValueError, match="data set levels: expected at least one sample to judge on, found none"):
        ask(TASK, by_brightness, samples(0), CARD)


def test_no_more_than_one_batch_of_answers_is_held() -> None:
    """What an answerer gives is let go before it is asked again."""

    alive: list[weakref.ref[Any]] = []

    def answerer(images: Inputs) -> Answers:
        assert sum(each() is not None for each in alive) <= 1  # the one before, until this one takes its place
        answer = by_brightness(images)
        alive.append(weakref.ref(answer["probabilities"]))
        return answer

    ask(TASK, answerer, samples(), CARD, batch=4)
    assert len(alive) == 6


def test_parts_of_several_workers_are_put_back_in_order() -> None:
    given = samples()
    parts = [
        each
        for part in range(3)
        for each in rows_of(
            TASK,
            [
                Asked(chosen, by_brightness(given.inputs[chosen]), given.targets[chosen])
                for chosen in np.array_split(np.arange(part, len(given), 3), 2)
            ],
        )
    ]
    found = gathered(TASK, parts, CARD, label(given.ids, "validation", {}))
    expected = ask(TASK, by_brightness, given, CARD, split="validation")
    assert found.table.equals(expected.table)
    assert primary(TASK, found) == primary(TASK, expected)


class Ranked:
    """A task that asks from the last sample to the first, says nothing of dark ones, and ranks all at the end."""

    spec = SimpleNamespace(name="ranked", primary_metric="rank")

    def asked(self, answerer: Answerer, samples: Samples, batch: int) -> Iterator[Asked]:
        for position in reversed(range(len(samples))):
            part = slice(position, position + 1)
            yield Asked(np.array([position]), answerer(samples.inputs[part]), samples.targets[part])

    def rows(self, answer: Answers, targets: Any) -> dict[str, Any]:
        bright = answer["probabilities"][:, 2]
        return {"level": bright.astype(np.float64), "found": [[0.5] if value > 0.4 else [] for value in bright]}

    def settled(self, columns: pa.Table) -> pa.Table:
        order = np.argsort(np.argsort(-columns["level"].to_numpy(), kind="stable"), kind="stable")
        return columns.drop_columns(["level"]).append_column("rank", pa.array(order))


def test_a_task_may_take_the_lead_and_have_the_last_word() -> None:
    given, task = samples(), Ranked()
    table = ask(task, by_brightness, given, CARD).table  # type: ignore[arg-type]
    assert table.column_names == ["id", "split", "found", "rank"]
    assert table["id"].to_pylist() == given.ids.tolist()
    level = by_brightness(given.inputs)["probabilities"][:, 2]
    assert given.ids[np.argsort(-level)].tolist() == table.sort_by("rank")["id"].to_pylist()
    # and rows whose lists are empty take the others' type, whichever come first
    assert table["found"].type == pa.list_(pa.float64())
    assert [len(row) for row in table["found"].to_pylist()] == [int(value > 0.4) for value in level]


def test_a_task_that_gives_too_few_rows_is_told_so() -> None:
    whole = next(asked(TASK, by_brightness, samples()))
    with pytest.raises(ValueError, match="task classification: expected 20 rows, received 23"):
        gathered(TASK, rows_of(TASK, [replace(whole, positions=np.arange(20))]), CARD, None)
