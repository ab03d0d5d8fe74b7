"""What a network is asked to minimise: the task's own loss, and wrappers around it. None of them is a task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from components.artifacts import Model
from components.config import ConfigurationError
from components.models.network import load_network
from components.tasks.protocol import Batch, SupportsDistillation, Task
from components.training.job import Job


class Objective(Protocol):
    """Raw outputs and their batch → `{"loss": scalar, …}`; the further scalars are logged."""

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Supervised:
    """The task's loss against the labels."""

    task: Task
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return self.task.loss(outputs, batch, self.label_smoothing)


@dataclass(frozen=True)
class Distilled:
    """`(1 - weight)` · objective + `weight` · distance from a teacher (Hinton et al. 2015).

    The teacher sees the very images that the student sees, augmented alike (Beyer et al. 2022).
    """

    objective: Objective
    task: SupportsDistillation
    teacher: nn.Module
    temperature: float
    weight: float
    precision: Callable[[], AbstractContextManager[None]]  # the student's autocast

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        with torch.inference_mode(), self.precision():
            answer = self.teacher(batch.images)
        # A tensor made in inference mode cannot be kept for the backward pass; a copy of it can.
        distance = self.task.distillation_loss(outputs, answer.clone(), self.temperature)
        parts = self.objective(outputs, batch)
        return {
            **parts,
            "loss": (1.0 - self.weight) * parts["loss"] + self.weight * distance,
            "task_loss": parts["loss"].detach(),
            "distillation_loss": distance.detach(),
        }


def objective_of(
    job: Job, task: Task, device: torch.device, precision: Callable[[], AbstractContextManager[None]]
) -> Objective:
    """The job's objective; raises ConfigurationError for a teacher whose task cannot be copied."""
    supervised = Supervised(task, job.training.label_smoothing)
    if job.teacher is None:
        return supervised
    if "distillation" not in task.spec.supports:
        raise ConfigurationError(f"{job.name}: task {task.spec.name} does not support distillation, received a teacher")
    teacher = load_network(Model.load(job.teacher)).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    teacher.eval().requires_grad_(False)
    return Distilled(
        supervised, cast(SupportsDistillation, task), teacher, job.temperature, job.teacher_weight, precision
    )
