"""Single steps must be the loop's own, or what is measured with them is about something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from components.training.finding.steps import Steps
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.optimizing.optimization import rate
from components.training.processes.workers import deterministic

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "training",
    [
        {"schedule": "constant", "warmup": 0.0},
        {"optimizer": "sgd", "gradient_clip": 0.5, "label_smoothing": 0.1, "accumulate": 2},
        {"precision": "bfloat16", "imbalance": {"loss": "focal"}},
        {"transfer": {"head_rate": 2.0, "layer_decay": 0.5}},
    ],
)
def test_an_epoch_of_single_steps_gives_the_loops_weights_bit_for_bit(
    training: dict[str, Any], job: Callable[..., Job], data: Data, tmp_path: Path
) -> None:
    one = job(epochs=1, training=training)
    trained = train(one, data, tmp_path)

    with deterministic(CPU):
        steps = Steps(one, data, CPU)
        batches = steps.epochs(one.training.batch_size).batches(1)
        for number, positions in enumerate(batches):
            steps.take(positions, rate(number, len(batches), one.training), number)

    expected, found = trained.state_dict(), steps.strategy.network.state_dict()
    assert len(batches) == 7
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
