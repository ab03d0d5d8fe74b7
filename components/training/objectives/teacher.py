"""The network that is copied: it does not learn, and is not read from its file before it is asked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from components.artifacts import Model
from components.config import ConfigurationError
from components.models.ensemble import Ensemble
from components.models.network import load_network
from components.tasks.capabilities import Distillable
from components.tasks.protocol import Task
from components.training.jobs.job import Job
from components.training.objectives.watching import Seen, Watch, WatchOfAll


class Teacher:
    """One network or an ensemble of several, in evaluation mode, with the student's autocast."""

    def __init__(
        self, model: Model, device: torch.device, precision: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.model, self.device, self.precision = model, device, precision
        self._watch: Watch | WatchOfAll | None = None

    @cached_property
    def network(self) -> nn.Module:
        network = load_network(self.model).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cast(nn.Module, network.eval().requires_grad_(False))

    def __call__(self, inputs: Tensor) -> Tensor:
        """`(N, C, H, W)` → raw outputs, float32, of which nothing is remembered for a backward pass."""
        with torch.inference_mode(), self.precision():
            answer = self.network(inputs).float()
        # A tensor made in inference mode cannot be kept for the student's backward pass; a copy of it can.
        return cast(Tensor, answer.clone())

    def look(self, inputs: Tensor) -> tuple[Tensor, Seen]:
        """The same outputs, and what passes through the network on the way."""
        if self._watch is None:
            network = self.network
            self._watch = WatchOfAll(network) if isinstance(network, Ensemble) else Watch(network)
        answer = self(inputs)
        seen = self._watch.take()
        return answer, Seen(seen.features.clone(), seen.embedding.clone())


def teacher_of(
    job: Job, task: Task, device: torch.device, precision: Callable[[], AbstractContextManager[None]]
) -> Teacher | None:
    """The job's teacher, where it has one; raises ConfigurationError for a task that cannot be copied."""
    if job.teacher is None:
        return None
    if not isinstance(task, Distillable):
        raise ConfigurationError(f"{job.name}: task {task.spec.name} does not support distillation, received a teacher")
    return Teacher(Model.load(job.teacher), device, precision)


def copying(task: Task) -> Distillable:
    """The task, as one that says how its outputs are copied; `teacher_of` has looked whether it does."""
    return cast(Distillable, task)
