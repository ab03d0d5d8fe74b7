"""What a training works on and with, and what stays the same from its first step to its last."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from components.artifacts import DatasetCard
from components.augment.policy import Move
from components.files import digest_values
from components.metrics.metric import Metric
from components.tasks import registry as tasks
from components.tasks.capabilities import moves
from components.tasks.network import network_of
from components.tasks.protocol import Task
from components.training.jobs.imbalance import Balance, balance_of
from components.training.jobs.job import Event, Job, Listener
from components.training.loop.smote import linear_head
from components.training.objectives.answers import Answers, why_not
from components.training.objectives.copying import Copying, copying_of
from components.training.objectives.objective import Objective, objective_of
from components.training.objectives.teacher import Teacher, teacher_of
from components.training.optimizing.rounding import rounded
from components.training.optimizing.stopping import of_validation
from components.training.processes.workers import Workers, autocast, placed
from components.training.reading.samples import Reading, Samples, Split
from components.training.reading.stream import Stream
from components.training.reading.unlabelled import joined


@dataclass(frozen=True)
class Data:
    """What a job learns from and is watched on."""

    card: DatasetCard
    digest: str
    train: Samples | Stream
    validation: Samples
    answers: Path | None = None  # keeps what teachers said of these images; None: beside the training's checkpoints
    rows: npt.NDArray[np.int64] | None = None  # of the training split that are shown; None: all of them
    weights: npt.NDArray[np.float64] | None = None  # (N,) of all its samples in the loss, mean 1; None: all alike
    unlabelled: Samples | None = None  # the job's: learnt from besides, by what the teacher answers
    unlabelled_rows: npt.NDArray[np.int64] | None = None  # of those, what is shown; None: all of them


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
    answers: Answers | None = None  # of the teacher, where they are stored
    copying: Copying | None = None  # of the teacher's features

    @property
    def move(self) -> Move:
        """How targets follow their images."""
        return moves(self.task)

    def network(self) -> nn.Module:
        """The job's network on this worker's device, with random weights; raises for one that cannot be refitted."""
        network = network_of(self.task, self.job.network, self.card)
        if self.job.training.imbalance.sampling == "smote":
            linear_head(network, self.job.network.name)  # said before anything is trained
        network = rounded(network) if self.job.rounded else network
        return placed(network, self.workers.device, self.job.training.memory_format)

    @property
    def watched(self) -> Metric:
        """The validation split's primary metric."""
        return of_validation(self.task.spec.primary)


def surroundings_of(job: Job, data: Data, folder: Path, workers: Workers, on_event: Listener) -> Surroundings:
    """`folder` is the training's own, for what `data` has no place for."""
    task = tasks.of(data.card)
    precision = functools.partial(autocast, job.training, workers.device)
    train_split = _train_split(job, data, workers)
    labels = data.train.targets if data.rows is None else data.train.targets[data.rows]
    balance = balance_of(job, task, labels, data.card.classes)
    teacher = teacher_of(job, task, workers.device, precision)
    copied, answers = copying_of(job, teacher), None
    if teacher is not None:
        place = data.answers or folder / "answers"
        answers = _answers(job, data, teacher, train_split, place, workers, on_event)
    return Surroundings(
        job=job,
        task=task,
        objective=objective_of(job, task, workers.device, precision, balance, teacher, copied),
        balance=balance,
        train=train_split,
        validation=Split(data.validation, workers.device),
        card=data.card,
        workers=workers,
        on_event=on_event,
        answers=answers,
        copying=copied,
    )


def _train_split(job: Job, data: Data, workers: Workers) -> Reading:
    """What the job learns from, as the loop reads it."""
    if isinstance(data.train, Stream):
        return data.train.read(job, workers.device)
    if data.unlabelled is not None:
        samples, weights = joined(job, data.train, data.unlabelled, data.unlabelled_rows)
        return Split(samples, workers.device, weights=weights)
    return Split(data.train, workers.device, data.rows, data.weights)


def _answers(
    job: Job, data: Data, teacher: Teacher, train: Reading, place: Path, workers: Workers, on_event: Listener
) -> Answers | None:
    """Where the teacher is to be asked once; None, and a word about why, where it runs along."""
    reason = why_not(job, train, len(data.card.classes))
    if reason is None and isinstance(train, Split):
        shown = {"data": data.digest, "unlabelled": job.unlabelled.digest} if job.unlabelled else None
        asked_of = digest_values(shown) if shown else data.digest
        return Answers(job, train, asked_of, teacher, place, workers, moves(tasks.of(data.card)))
    if workers.first:
        message = f"the teacher runs along in every epoch: {reason}"
        on_event(Event(job.name, "note", epochs=job.epochs, message=message))
    return None
