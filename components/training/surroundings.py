"""What a training works on and with, and what stays the same from its first step to its last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from components.artifacts import DatasetCard
from components.tasks import registry as tasks
from components.tasks.protocol import Task
from components.training.imbalance import Balance, balance_of
from components.training.job import Job, Listener
from components.training.objectives import Objective, objective_of
from components.training.reading import Reading, Samples, Split
from components.training.smote import linear_head
from components.training.stream import Stream
from components.training.workers import Workers, autocast


@dataclass(frozen=True)
class Data:
    """What a job learns from and is watched on."""

    card: DatasetCard
    digest: str
    train: Samples | Stream
    validation: Samples


@dataclass(frozen=True)
class Surroundings:
    """What stays the same."""

    job: Job
    task: Task
    objective: Callable[[int], Objective]  # of an epoch
    balance: Balance | None
    train: Reading
    validation: Split
    card: DatasetCard
    workers: Workers
    on_event: Listener

    def network(self) -> nn.Module:
        """The job's network on this worker's device, with random weights; raises for one that cannot be refitted."""
        network = self.task.network(self.job.network, self.card)
        if self.job.training.imbalance.sampling == "smote":
            linear_head(network, self.job.network.name)  # said before anything is trained
        return network.to(self.workers.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    @property
    def watched(self) -> tuple[str, bool]:
        """The validation split's primary metric, and whether more of it is better."""
        return f"validation_{self.task.spec.primary_metric}", self.task.spec.higher_is_better


def surroundings_of(job: Job, data: Data, workers: Workers, on_event: Listener) -> Surroundings:
    task = tasks.get(job.task)
    precision = functools.partial(autocast, job.training, workers.device)
    train_split: Reading = (
        data.train.read(job, workers.device) if isinstance(data.train, Stream) else Split(data.train, workers.device)
    )
    balance = balance_of(job, task.spec, data.train.targets, data.card.classes)
    return Surroundings(
        job=job,
        task=task,
        objective=objective_of(job, task, workers.device, precision, balance),
        balance=balance,
        train=train_split,
        validation=Split(data.validation, workers.device),
        card=data.card,
        workers=workers,
        on_event=on_event,
    )
