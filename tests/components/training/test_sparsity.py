from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from components.compress.pruning.masks import unstructured
from components.models.network import save_weights
from components.models.registry import build
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_zeros_stay_zeros_through_training_and_resuming(
    optimizer: str, job: Callable[..., Job], data: Data, tmp_path: Path
) -> None:
    plain = job(epochs=2, training={"optimizer": optimizer, "ema": 0.9})
    start = unstructured(build(plain.network, data.card.input, 10), keep=0.5)
    save_weights(start, tmp_path)
    network = plain.network.model_copy(update={"pretrained": f"model:{tmp_path}"})
    sparse = replace(plain, network=network, keep_zeros=True)
    assert sparse.fingerprint("data") != replace(sparse, keep_zeros=False).fingerprint("data")
    gone = {name: value == 0 for name, value in start.state_dict().items() if value.ndim > 1}

    def left(trained: torch.nn.Module) -> int:
        return sum(int(torch.count_nonzero(trained.state_dict()[name][where])) for name, where in gone.items())

    straight = train(sparse, data, tmp_path / "sparse")
    assert left(straight) == 0
    assert left(train(replace(sparse, keep_zeros=False), data, tmp_path / "free")) > 0
    (tmp_path / "sparse" / "epoch-00002").rename(tmp_path / "gone")
    resumed = train(sparse, data, tmp_path / "sparse")
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
