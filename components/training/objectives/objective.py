"""What a network is asked to minimise: the task's own loss, and wrappers around it. None of them is a task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol, cast

import torch
from torch import Tensor

from components.config import NATURAL, TrainingConfig
from components.tasks.capabilities import Balanced, Distillable, Each, SeveralLosses
from components.tasks.protocol import Batch, Task
from components.training.jobs.imbalance import Balance
from components.training.jobs.job import Job
from components.training.objectives.copying import Copying
from components.training.objectives.teacher import Teacher, copying, teacher_of


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
class Boosted:
    """The task's loss of each sample times the sample's own weight, mean over the samples: see `boosting`."""

    task: Each
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        each = self.task.each(outputs, batch, self.label_smoothing)
        return {"loss": (each if batch.weights is None else batch.weights * each).mean()}


@dataclass(frozen=True)
class Labelled:
    """The objective on those samples of a batch that have a label: those whose weight is not 0.

    As their weights are 1 on average over all samples, it does not matter how many of them share a batch or a worker.
    """

    objective: Objective

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        weights = cast(Tensor, batch.weights)
        chosen = weights > 0
        if not chosen.any():
            chosen = torch.ones_like(chosen)  # whatever they come to, it counts for nothing
        shown = replace(batch, inputs=batch.inputs[chosen], targets=batch.targets[chosen], answers=None, weights=None)
        parts = self.objective(outputs[chosen], shown)
        return {name: value * weights.mean() for name, value in parts.items()}


@dataclass(frozen=True)
class Distilled:
    """`(1 - weight)` · objective + `weight` · distance from a teacher (Hinton et al. 2015).

    The teacher sees the very inputs that the student sees, augmented alike (Beyer et al. 2022); where the batch has its
    answers, it is not asked.
    """

    objective: Objective
    task: Distillable
    teacher: Callable[[Tensor], Tensor]
    temperature: float
    weight: float
    copying: Copying | None = None  # what is copied besides outputs: its losses come on top, each with its weight

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        further: dict[str, Tensor] = {}
        if self.copying is not None:
            answer, seen = self.copying.teacher.look(batch.inputs)
            further = self.copying.losses(seen)
        else:
            answer = self.teacher(batch.inputs) if batch.answers is None else batch.answers
        distance = self.task.distillation_loss(outputs, answer, self.temperature)
        parts = self.objective(outputs, batch)
        loss = (1.0 - self.weight) * parts["loss"] + self.weight * distance
        for name, value in further.items():
            loss = loss + cast(Copying, self.copying).weights[name] * value
        return {
            **parts,
            "loss": loss,
            "task_loss": parts["loss"].detach(),
            "distillation_loss": distance.detach(),
            **{f"{name}_loss": value.detach() for name, value in further.items()},
        }


def problems(config: TrainingConfig, task: Task, key: str = "training") -> list[str]:
    """What is wrong with the choice of a loss for this task, a line each."""
    losses = list(task.losses) if isinstance(task, SeveralLosses) else []
    if config.loss in (NATURAL, *losses):
        return []
    only = "" if losses else f", since task {task.spec.name} has no choice of losses"
    return [f"{key}.loss: expected {' or '.join([NATURAL, *losses])}{only}, received {config.loss!r}"]


def objective_of(
    job: Job,
    task: Task,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[None]],
    balance: Balance | None = None,
    teacher: Teacher | None = None,
    copied: Copying | None = None,
) -> Callable[[int], Objective]:
    """The job's objective of each epoch, counted from 1: balanced or not, and with its teacher, where it has one.

    `teacher` and what is `copied` of its features are the job's, where they have been looked up. Raises
    ConfigurationError for a teacher whose task cannot be copied.
    """
    natural: Objective = Supervised(task, job.training.label_smoothing)
    if job.training.loss != NATURAL:
        natural = cast(SeveralLosses, task).named_loss(job.training.loss)  # `problems` has looked
    if job.boosts is not None:
        natural = Boosted(cast(Each, task), job.training.label_smoothing)  # `members.problems` has looked
    balanced = natural
    if balance is not None and balance.config.loss != "natural":
        # `balance_of` has looked whether the task can.
        balanced = cast(Balanced, task).balanced(balance.config, balance.counts, job.training.label_smoothing)
    if job.unlabelled is not None:
        natural, balanced = Labelled(natural), Labelled(balanced)
    teacher = teacher or teacher_of(job, task, device, precision)
    if teacher is not None:
        how = copying(task), teacher, job.temperature, job.teacher_weight, copied
        natural, balanced = Distilled(natural, *how), Distilled(balanced, *how)
    return lambda epoch: balanced if balance is not None and balance.on(epoch) else natural
