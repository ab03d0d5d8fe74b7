"""Several labels an image: figures as scikit-learn has them, and sheets of digits that are prepared and learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from components.artifacts import Predictions
from components.config import AugmentConfig, NetworkConfig, TrainingConfig
from components.data.reading.loading import load_split
from components.tasks.multilabel import TASK
from components.training.jobs.job import Event, Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from tests.components.data.data_builders import build, judge

SHEETS = {
    "task": "multilabel",
    "source": {"kind": "digit-sheets", "sheets": 1000},
    "image": {"height": 16, "width": 16, "channels": 1},
    "split": {"validation": 0.2},
}


def test_figures_are_those_of_scikit_learn_under_any_weights() -> None:
    random = np.random.default_rng(0)
    true, said = random.random((2, 50, 4)) < 0.4
    weights = random.integers(0, 3, (5, 50)).astype(np.float64)
    rows = TASK.rows({"probabilities": said.astype(np.float32)}, true.astype(np.float32))
    measured = TASK.measure(Predictions(pa.table(rows), "m", "d", ("a", "b", "c", "d")), weights)
    for number, each in enumerate(weights):
        how = {"sample_weight": each, "zero_division": 1.0}
        assert measured["jaccard"][number] == pytest.approx(jaccard_score(true, said, average="samples", **how))
        assert measured["micro_f1"][number] == pytest.approx(f1_score(true, said, average="micro", **how))
        assert measured["exact_match"][number] == pytest.approx(accuracy_score(true, said, sample_weight=each))


def test_a_network_learns_what_the_stages_of_data_hand_on(tmp_path: Path) -> None:
    dataset, config = build(tmp_path, "sheets", **SHEETS)
    report = judge(dataset, config, tmp_path / "validated")
    assert report.passed, report.explanation

    data = Data(dataset.card, dataset.digest, load_split(dataset, "train"), load_split(dataset, "validation"))
    assert data.validation.targets.sum(axis=1).min() >= 1
    network = NetworkConfig(name="residual", arguments={"width": 16})
    training = TrainingConfig(batch_size=16, learning_rate=0.01, precision="float32")
    epochs: list[Event] = []
    job = Job("network", "multilabel", network, seed=0, epochs=4, training=training, augment=AugmentConfig())
    train(job, data, tmp_path / "work", on_event=lambda event: epochs.append(event) if event.kind == "epoch" else None)

    # to say of every sheet what the most of them show
    often = np.argsort(-data.train.targets.sum(axis=0))
    truth = data.validation.targets
    blind = [np.isin(np.arange(10), often[:count])[None].repeat(len(truth), axis=0) for count in range(1, 11)]
    chance = max(jaccard_score(truth, same, average="samples", zero_division=1.0) for same in blind)
    assert epochs[-1].metrics["validation_jaccard"] > 2 * chance
