"""What networks answer on labelled samples: all that combiners are fitted on and judged by.

Probabilities are kept for one label an image; of masks, of which there is no room for that, what each pixel's truth
was given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from components.artifacts import DatasetCard, Predictions
from components.data.reading.loading import Arrays
from components.runtimes.protocol import Answerer, Answers
from components.tasks import asking
from components.tasks.capabilities import Combinable
from components.tasks.protocol import Task

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

# A float32 softmax can give a true class exactly 0. This is a finite price for it, 16 nats; the classifier's log loss
# has the same.
LEAST_LIKELIHOOD = 1e-7

BATCH = 64


@dataclass(frozen=True)
class Said:
    """One network's answers on N samples of U scored units each: one a label, H·W a mask."""

    predictions: Predictions  # the task's own rows
    likelihoods: Floats  # (N, U) probability of each truth
    classes: npt.NDArray[np.int16]  # (N, U) what was answered
    logs: npt.NDArray[np.float32] | None  # (N, C) log-probabilities; None of masks

    def losses(self) -> Floats:
        """See `losses_of`."""
        return losses_of(self.likelihoods)

    def measure(self, task: Task, rows: Rows | None = None) -> dict[str, float]:
        """The task's metrics, over all samples or those at `rows`."""
        weights = np.ones((1, len(self.likelihoods)))
        if rows is not None:
            weights = np.zeros_like(weights)
            weights[0, rows] = 1.0
        return {name: float(value[0]) for name, value in task.measure(self.predictions, weights).items()}


def losses_of(likelihoods: Floats) -> Floats:
    """`(N, U)` → `(N,)` nats: mean negative log-likelihood of each sample's units."""
    losses: Floats = -np.log(np.maximum(likelihoods, LEAST_LIKELIHOOD)).mean(axis=1)
    return losses


@dataclass(frozen=True)
class Together:
    """K networks' answers on the same N samples."""

    likelihoods: Floats  # (K, N, U)
    logs: npt.NDArray[np.float32] | None  # (K, N, C)
    targets: npt.NDArray[Any]  # (N,) classes, or (N, H, W) masks

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Rows) -> Together:
        logs = None if self.logs is None else self.logs[:, rows]
        return Together(self.likelihoods[:, rows], logs, self.targets[rows])

    @property
    def outputs(self) -> torch.Tensor:
        """`(K, N, C)`, as a fusion takes them; raises ValueError for masks."""
        if self.logs is None:
            raise ValueError("expected answers of one label an image, received masks: their probabilities are not kept")
        return torch.from_numpy(self.logs)


def ask(task: Task, answerer: Answerer, samples: Arrays, card: DatasetCard) -> Said:
    """Have a network answer for every sample, batch by batch; raises ValueError where there is none."""
    kept = Kept(task)
    return kept.said(asking.ask(task, answerer, samples, card, batch=BATCH, watch=kept.add))


def said_of(task: Task, answer: Answers, targets: npt.NDArray[Any], card: DatasetCard) -> Said:
    """An answer for all samples, and their truths."""
    kept, whole = Kept(task), asking.Asked(np.arange(len(targets)), answer, targets)
    return kept.said(asking.gathered(task, asking.rows_of(task, [whole], kept.add), card, None))


class Kept:
    """What is kept of answers beside the task's rows, batch by batch."""

    def __init__(self, task: Task) -> None:
        self.task = cast(Combinable, task)
        self.positions: list[asking.Positions] = []
        self.likelihoods: list[Floats] = []
        self.classes: list[npt.NDArray[np.int16]] = []
        self.logs: list[npt.NDArray[np.float32]] = []

    def add(self, part: asking.Asked) -> None:
        answer, targets = part.answer, part.targets
        self.positions.append(part.positions)
        self.likelihoods.append(self.task.likelihoods(answer, targets).reshape(len(targets), -1))
        self.classes.append(answer["prediction"].reshape(len(targets), -1).astype(np.int16))
        if targets.ndim == 1:
            self.logs.append(np.log(np.maximum(answer["probabilities"], LEAST_LIKELIHOOD)).astype(np.float32))

    def said(self, predictions: Predictions) -> Said:
        """In the samples' order, as the rows are."""
        order = np.argsort(np.concatenate(self.positions), kind="stable")
        return Said(
            predictions=predictions,
            likelihoods=np.concatenate(self.likelihoods)[order],
            classes=np.concatenate(self.classes)[order],
            logs=np.concatenate(self.logs)[order] if self.logs else None,
        )


def together(said: Sequence[Said], targets: npt.NDArray[Any]) -> Together:
    """The answers of K networks on the same samples, side by side."""
    logs = [each.logs for each in said if each.logs is not None]
    return Together(np.stack([each.likelihoods for each in said]), np.stack(logs) if logs else None, targets)
