"""What only tagging claims: tags that are in order, and figures that are those of entities counted one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from components.artifacts import Predictions
from components.targets.tags import NOT_ASKED
from components.tasks.protocol import Batch
from components.tasks.tagging import TASK

CLASSES = ("money", "person", "place")
TAGS = 1 + 2 * len(CLASSES)


def repaired(tags: list[int]) -> list[int]:
    """One after the other: an inside goes on with what is open of its class, or begins an entity."""
    found, open_ = [], None
    for tag in tags:
        label = (tag - 1) // 2 if tag else None
        found.append(tag - 1 if tag and tag % 2 == 0 and label != open_ else tag)
        open_ = label
    return found


def entities(tags: list[int]) -> set[tuple[int, int, int]]:
    """Class, first unit and the one behind the last, of tags in order."""
    found: list[tuple[int, int, int]] = []
    for at, tag in enumerate(tags):
        if tag > 0 and tag % 2 == 1:
            found.append(((tag - 1) // 2, at, at + 1))
        elif tag > 0:
            found[-1] = (*found[-1][:2], at + 1)
    return set(found)


def random_tags(random: np.random.Generator, rows: int, length: int) -> list[list[int]]:
    return [repaired(random.choice(TAGS, length, p=[0.4] + [0.1] * (TAGS - 1)).tolist()) for _ in range(rows)]


def answered(tags: list[list[int]]) -> dict[str, Any]:
    asked = np.array(tags)
    return {"probabilities": np.moveaxis(np.eye(TAGS, dtype=np.float32)[asked], -1, 1), "prediction": asked}


@pytest.fixture(scope="module")
def told() -> tuple[list[list[int]], list[list[int]], list[int], Predictions]:
    """Truths and answers of 60 texts of up to 15 units, half of the answers' units right."""
    random = np.random.default_rng(0)
    truths, others = random_tags(random, 60, 15), random_tags(random, 60, 15)
    mixed = [
        repaired([a if keep else b for a, b, keep in zip(*pair, random.random(15) < 0.8, strict=True)])
        for pair in zip(truths, others, strict=True)
    ]
    lengths = random.integers(0, 16, 60).tolist()
    targets = np.array(
        [row[:length] + [NOT_ASKED] * (15 - length) for row, length in zip(truths, lengths, strict=True)]
    )
    rows = TASK.rows(answered(mixed), targets)
    return truths, mixed, lengths, Predictions(pa.table(rows), "m", "d", CLASSES)


def test_an_inside_without_its_beginning_becomes_one_whatever_the_tags() -> None:
    random = np.random.default_rng(1)
    raw = random.integers(0, TAGS, (500, 11))
    logits = torch.from_numpy(np.moveaxis(np.eye(TAGS, dtype=np.float32)[raw], -1, 1))
    prediction = TASK.answer(logits)["prediction"].numpy()
    assert prediction.tolist() == [repaired(row) for row in raw.tolist()]
    again = torch.from_numpy(np.moveaxis(np.eye(TAGS, dtype=np.float32)[prediction], -1, 1))
    assert TASK.answer(again)["prediction"].numpy().tolist() == prediction.tolist()


def test_figures_are_those_of_entities_counted_one_by_one_under_any_weights(
    told: tuple[list[list[int]], list[list[int]], list[int], Predictions],
) -> None:
    truths, answers, lengths, predictions = told
    random = np.random.default_rng(2)
    weights = np.stack([np.ones(60), random.integers(0, 4, 60), np.arange(60) < 5]).astype(np.float64)
    found = TASK.measure(predictions, weights)
    assert set(found) == {metric.name for metric in TASK.spec.metrics}
    for number, own in enumerate(weights):
        counted = np.zeros((3, len(CLASSES)))  # right, said, there
        hits = units = 0.0
        for truth, answer, length, weight in zip(truths, answers, lengths, own, strict=True):
            there, said = entities(truth[:length]), entities(answer[:length])
            for place, some in enumerate((there & said, said, there)):
                for label, _, _ in some:
                    counted[place, label] += weight
            hits += weight * sum(a == b for a, b in zip(truth[:length], answer[:length], strict=True))
            units += weight * length
        right, said_, there_ = counted.sum(axis=1)
        assert found["precision"][number] == pytest.approx(right / said_)
        assert found["recall"][number] == pytest.approx(right / there_)
        assert found["entity_f1"][number] == pytest.approx(2 * right / (said_ + there_))
        by_class = 2 * counted[0] / (counted[1] + counted[2])
        assert found["macro_f1"][number] == pytest.approx(by_class.mean())
        assert found["unit_accuracy"][number] == pytest.approx(hits / units)
        if number == 0:
            assert [each["f1"] for each in TASK.by_class(predictions).values()] == pytest.approx(by_class.tolist())


def test_figures_are_seqevals(told: tuple[list[list[int]], list[list[int]], list[int], Predictions]) -> None:
    metrics = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    truths, answers, lengths, predictions = told

    def named(rows: list[list[int]]) -> list[list[str]]:
        words = ["O", *(f"{way}-{name}" for name in CLASSES for way in "BI")]
        return [[words[tag] for tag in row[:length]] for row, length in zip(rows, lengths, strict=True)]

    pair = named(truths), named(answers)
    found = {name: values[0] for name, values in TASK.measure(predictions, np.ones((1, 60))).items()}
    assert found["entity_f1"] == pytest.approx(metrics.f1_score(*pair))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(*pair, average="macro"))
    assert found["precision"] == pytest.approx(metrics.precision_score(*pair))
    assert found["recall"] == pytest.approx(metrics.recall_score(*pair))
    assert found["unit_accuracy"] == pytest.approx(metrics.accuracy_score(*pair))


def test_an_entity_that_ends_elsewhere_or_is_of_another_class_is_wrong() -> None:
    truth = [[1, 2, 0, 3, 5, 6]]

    def f1(answer: list[int]) -> float:
        rows = TASK.rows(answered([answer]), np.array(truth))
        return float(TASK.measure(Predictions(pa.table(rows), "m", "d", CLASSES), np.ones((1, 1)))["entity_f1"][0])

    assert f1([1, 2, 0, 3, 5, 6]) == 1.0
    assert f1([1, 0, 0, 3, 5, 6]) == pytest.approx(2 / 3)
    assert f1([3, 4, 0, 3, 5, 6]) == pytest.approx(2 / 3)
    assert f1([1, 2, 0, 3, 5, 5]) == pytest.approx(4 / 7)
    assert f1([0] * 6) == 0.0


def test_texts_without_entities_have_no_figure_where_none_was_said() -> None:
    rows = TASK.rows(answered([[0, 0], [0, 0]]), np.array([[0, 0], [0, NOT_ASKED]]))
    found = TASK.measure(Predictions(pa.table(rows), "m", "d", CLASSES), np.ones((1, 2)))
    assert np.isnan([found[name][0] for name in ("entity_f1", "precision", "recall", "macro_f1")]).all()
    assert found["unit_accuracy"][0] == 1.0


def test_what_is_not_asked_costs_nothing_and_is_no_part_of_combining() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn((3, TAGS, 5), generator=generator)
    targets = torch.randint(0, TAGS, (3, 5), generator=generator)
    targets[:, 3:] = NOT_ASKED
    other = outputs.clone()
    other[:, :, 3:] = 50.0 * torch.randn((3, TAGS, 2), generator=generator)
    costs = [TASK.loss(each, Batch(torch.zeros(3, 5), targets))["loss"] for each in (outputs, other)]
    assert costs[0] == costs[1]
    expected = torch.nn.functional.cross_entropy(outputs[:, :, :3], targets[:, :3])
    torch.testing.assert_close(costs[0], expected)
    kept = TASK.told({name: each.numpy() for name, each in TASK.answer(other).items()}, targets.numpy())
    assert (kept.units[:, 3:] == 1.0).all() and kept.judged is not None and not kept.judged[:, 3:].any()
