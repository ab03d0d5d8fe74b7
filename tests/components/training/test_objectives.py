"""A student's loss is the formula that the paper writes, and its teacher neither learns nor changes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from components.artifacts import ModelCard, write_model
from components.config import ConfigurationError
from components.models.network import save_weights
from components.tasks import registry as tasks
from components.tasks.classification import Classification
from components.tasks.network import network_of
from components.tasks.protocol import Batch
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.objectives.objective import Distilled, Supervised, objective_of


@pytest.fixture
def teacher(tmp_path: Path, data: Data, job: Callable[..., Job]) -> Path:
    """An untrained network, as a Model folder."""
    torch.manual_seed(5)
    network = network_of(tasks.get("classification"), job().network, data.card)
    card = ModelCard(
        name="teacher",
        task="classification",
        network=job().network,
        classes=data.card.classes,
        input=data.card.input,
        data=data.digest,
    )
    return write_model(tmp_path / "teacher", card, lambda folder: save_weights(network, folder)).folder


def test_distillation_is_hintons_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(7, 10, generator=generator, requires_grad=True)
    batch = Batch(torch.rand(7, 1, 8, 8, generator=generator), torch.arange(7))
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    task, temperature, weight = Classification(), 3.0, 0.7
    with torch.no_grad():
        answer = teacher(batch.inputs)

    def asked(images: torch.Tensor) -> torch.Tensor:
        assert images is batch.inputs  # the very images that the student has seen
        return answer

    objective = Distilled(Supervised(task, 0.1), task, asked, temperature, weight)
    parts = objective(outputs, batch)

    def softmax(logits: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        powers = np.exp(logits - logits.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    student_logits = outputs.detach().numpy().astype(np.float64)
    teacher_logits = teacher(batch.inputs).detach().numpy().astype(np.float64)
    p, q = softmax(teacher_logits / temperature), softmax(student_logits / temperature)
    divergence = (p * np.log(p / q)).sum(1).mean() * temperature**2
    smooth = np.full((7, 10), 0.01) + 0.9 * np.eye(10)[np.arange(7)]
    supervised = -(smooth * np.log(softmax(student_logits))).sum(1).mean()
    assert parts["loss"].item() == pytest.approx((1 - weight) * supervised + weight * divergence, rel=1e-5)
    assert parts["task_loss"].item() == pytest.approx(supervised, rel=1e-5)
    assert parts["distillation_loss"].item() == pytest.approx(divergence, rel=1e-5)
    parts["loss"].backward()
    assert outputs.grad is not None


def test_a_teacher_changes_what_is_learned_and_stays_as_it_is(
    tmp_path: Path, data: Data, job: Callable[..., Job], teacher: Path
) -> None:
    before = (teacher / "model.safetensors").read_bytes()
    alone = train(job(epochs=1), data, tmp_path / "alone")
    taught = train(job(epochs=1, teacher=teacher), data, tmp_path / "taught")
    assert not torch.equal(alone.state_dict()["head.weight"], taught.state_dict()["head.weight"])
    assert (teacher / "model.safetensors").read_bytes() == before
    assert job(teacher=teacher).parents[0].role == "teacher"
    assert job(teacher=teacher).fingerprint("d") != job().fingerprint("d")


def test_a_task_that_cannot_be_copied_is_refused(job: Callable[..., Job], teacher: Path) -> None:
    task: Any = SimpleNamespace(spec=Classification.spec)  # of all else it can do nothing
    with pytest.raises(ConfigurationError, match="does not support distillation"):
        objective_of(job(teacher=teacher), task, torch.device("cpu"), nullcontext)
