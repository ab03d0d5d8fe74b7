"""What a job does about classes of very different sizes: from which epoch on, and with which figures.

The sizes are those of the training split's labels and of nothing else. Left to others: which samples an epoch shows
(`sampling`), what is minimised (`objectives`) and the head that is fitted on SMOTE's embeddings (`smote`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from components.config import ConfigurationError, ImbalanceConfig
from components.tasks.capabilities import Balanced, Labels
from components.tasks.protocol import Task
from components.training.jobs.job import Job, TrainingError

Positions = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Balance:
    """A job's way of balancing, on the labels that it learns from."""

    config: ImbalanceConfig
    labels: Positions  # (N,) of the training split; of a task without one class per sample, none
    counts: Positions  # (C,) training samples per class, none of them 0
    first_epoch: int  # counted from 1: before it sampling and loss are natural

    def on(self, epoch: int) -> bool:
        """Whether epoch `epoch` (counted from 1) is balanced."""
        return epoch >= self.first_epoch

    @property
    def levelled(self) -> int | None:
        """Samples a class that a balanced epoch shows, where `sampling` has a say in it."""
        match self.config.sampling:
            case "over":
                return int(self.counts.max())
            case "under":
                return int(self.counts.min())
        return None


def problems(config: ImbalanceConfig, task: Task, key: str = "training.imbalance") -> list[str]:
    """What is wrong with balancing for this task, a line each: a mask has no one class to be sampled or weighted by."""
    losses = sorted(task.balances) if isinstance(task, Balanced) else []
    one = f"since task {task.spec.name} has not one class per sample"
    found = []
    if config.sampling != "natural" and not isinstance(task, Labels):
        found.append(f"{key}.sampling: expected natural, {one}, received {config.sampling}")
    if config.loss not in ("natural", *losses):
        found.append(f"{key}.loss: expected {' or '.join(['natural', *losses])}, {one}, received {config.loss}")
    return found


def balance_of(job: Job, task: Task, targets: npt.NDArray[Any], classes: Sequence[str]) -> Balance | None:
    """The job's balancing; None, without a look at the targets, where all is natural.

    Raises ConfigurationError for a task without class labels, and TrainingError naming the classes that have no
    training sample: nothing can be drawn, weighted or made up from none.
    """
    config = job.training.imbalance
    if config.sampling == config.loss == "natural":
        return None
    if wrong := problems(config, task):
        raise ConfigurationError("\n".join(f"{job.name}: {line}" for line in wrong))
    labels = task.labels(targets) if isinstance(task, Labels) else np.zeros(0, dtype=np.int64)
    counts = cast(Balanced, task).counted(targets, len(classes))
    if not counts.all():
        missing = ", ".join(name for name, count in zip(classes, counts, strict=True) if not count)
        raise TrainingError(
            f"{job.name}: training.imbalance: expected training samples of every class, found none of {missing}; "
            f"add some, or remove the class"
        )
    return Balance(config, labels, counts, deferred_epochs(job.epochs, config) + 1)


def deferred_epochs(epochs: int, config: ImbalanceConfig) -> int:
    """How many epochs are natural before the balanced ones begin; at least the last epoch is balanced."""
    return min(round(config.deferred * epochs), epochs - 1)
