"""Directions: figures that know no seam, and turned digits that are prepared and learnt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.artifacts import Predictions
from components.config import AugmentConfig, NetworkConfig, TrainingConfig
from components.data.reading.loading import load_split
from components.tasks.direction import TASK
from components.training.jobs.job import Event, Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from tests.components.data.data_builders import build, judge

DIGITS = {
    "task": "direction",
    "source": {"kind": "turned-digits", "pictures": 1000},
    "image": {"height": 16, "width": 16, "channels": 1},
    "split": {"validation": 0.2},
}


def test_errors_are_those_of_unit_vectors_under_any_weights() -> None:
    random = np.random.default_rng(0)
    true, said = random.uniform(-720, 720, (2, 50))
    weights = random.integers(0, 3, (5, 50)).astype(np.float64)
    rows = TASK.rows({"angle": said}, true)
    measured = TASK.measure(Predictions(pa.table(rows), "m", "d", ()), weights)
    one, other = (np.exp(1j * np.deg2rad(angles)) for angles in (true, said))
    gap = np.rad2deg(np.abs(np.angle(one / other)))
    for number, each in enumerate(weights):
        assert measured["angular_error"][number] == pytest.approx(np.average(gap, weights=each))
        assert measured["close"][number] == pytest.approx(np.average(gap <= 15, weights=each))


def test_a_network_learns_what_the_stages_of_data_hand_on(tmp_path: Path) -> None:
    dataset, config = build(tmp_path, "turned", **DIGITS)
    report = judge(dataset, config, tmp_path / "validated")
    assert report.passed, report.explanation

    data = Data(dataset.card, dataset.digest, load_split(dataset, "train"), load_split(dataset, "validation"))
    network = NetworkConfig(name="residual", arguments={"width": 16})
    training = TrainingConfig(batch_size=16, learning_rate=0.01, precision="float32")
    epochs: list[Event] = []
    job = Job("network", "direction", network, seed=0, epochs=7, training=training, augment=AugmentConfig())
    train(job, data, tmp_path / "work", on_event=lambda event: epochs.append(event) if event.kind == "epoch" else None)
    assert epochs[-1].metrics["validation_angular_error"] < 65  # a guess is off by 90 in the mean
