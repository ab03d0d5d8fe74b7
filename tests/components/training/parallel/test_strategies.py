"""Every strategy against one process that holds it all: the same losses and weights, and the same after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.config import AugmentConfig, NetworkConfig
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from tests.components.training.parallel.group import train_together

Jobs = Callable[..., Job]

# Sums over the batch in another order differ in their last bits, and training amplifies that a little every step.
TOLERANCE = 1e-4
COARSE = {"data-compressed": 5e-2}  # gradients of 8 bits: losses are near, single weights need not be
TWO = {
    "data": {"strategy": "data", "workers": 2},
    "data-accumulated": {"strategy": "data", "workers": 2, "accumulate": 3},
    "data-compressed": {"strategy": "data", "workers": 2, "compress_gradients": True},
    "sharded": {"strategy": "sharded", "workers": 2},
    "sharded-accumulated": {"strategy": "sharded", "workers": 2, "accumulate": 2},
    "pipeline": {"strategy": "pipeline", "workers": 2, "accumulate": 4},
}
FOUR = {
    "sharded-replicated": {"strategy": "sharded", "workers": 4, "replicas": 2},
    "pipelines": {"strategy": "pipeline", "workers": 4, "replicas": 2, "accumulate": 2},
    "pipeline-of-four": {"strategy": "pipeline", "workers": 4, "accumulate": 4},
}
SETTINGS = {"optimizer": "adamw", "gradient_clip": 0.5, "ema": 0.9, "precision": "float32", "batch_size": 40}


def job_of(make: Jobs, name: str, training: dict[str, Any]) -> Job:
    # Group normalisation knows nothing of how a batch is cut; batch normalisation's statistics are each worker's own.
    network = NetworkConfig(name="residual", arguments={"width": 8, "normalization": "group"})
    return make(name=name, epochs=2, network=network, augment=AugmentConfig(), training={**SETTINGS, **training})


@pytest.fixture(scope="module")
def trained(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.components.training.conftest import make_job

    folder = tmp_path_factory.mktemp("trained")
    for count, strategies in ((2, TWO), (4, FOUR)):
        train_together([job_of(make_job, name, changes) for name, changes in strategies.items()], data, folder, count)
    return folder


@pytest.fixture(scope="module")
def alone(data: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, float]], dict[str, Any]]:
    from tests.components.training.conftest import make_job

    history: list[dict[str, float]] = []

    def listen(event: Any) -> None:
        if event.kind == "epoch":
            history.append(dict(event.metrics))

    torch.set_num_threads(1)
    network = train(job_of(make_job, "alone", {}), data, tmp_path_factory.mktemp("alone"), on_event=listen)
    return history, dict(network.state_dict())


@pytest.mark.parametrize("name", [*TWO, *FOUR])
def test_the_losses_are_those_of_one_process(
    name: str, trained: Path, alone: tuple[list[dict[str, float]], dict[str, Any]]
) -> None:
    history = json.loads((trained / name / "history.json").read_text())
    assert [record["epoch"] for record in history] == [1, 2]
    for record, expected in zip(history, alone[0], strict=True):
        for figure in ("train_loss", "validation_loss", "validation_accuracy"):
            assert record[figure] == pytest.approx(expected[figure], rel=COARSE.get(name, TOLERANCE)), (name, figure)


@pytest.mark.parametrize("name", [name for name in (*TWO, *FOUR) if name not in COARSE])
def test_the_weights_are_those_of_one_process(
    name: str, trained: Path, alone: tuple[list[dict[str, float]], dict[str, Any]]
) -> None:
    weights = load_file(trained / name / "model.safetensors")
    assert weights.keys() == alone[1].keys()
    for key, expected in alone[1].items():
        torch.testing.assert_close(weights[key], expected, rtol=1e-3, atol=1e-4, msg=f"{name}: {key}")


@pytest.mark.parametrize("name", [*TWO, *FOUR])
def test_what_goes_on_after_a_stop_ends_bitwise_alike(name: str, trained: Path) -> None:
    one, other = (load_file(trained / folder / "model.safetensors") for folder in (name, f"{name}-resumed"))
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    histories = [json.loads((trained / folder / "history.json").read_text()) for folder in (name, f"{name}-resumed")]
    assert histories[1] == histories[0][1:]
