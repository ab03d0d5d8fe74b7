"""What networks answer on labelled samples: all that combiners are fitted on and judged by.

What is kept of an answer is the task's to say (`Combinable.told`): of one label an image its probabilities, of several
each one's, of masks, of which there is no room for that, what each pixel's truth was given, of numbers the numbers, of
boxes how sure each object was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from components.artifacts import DatasetCard, Predictions
from components.data.reading.loading import Arrays
from components.models.ensemble import Fuses
from components.runtimes.protocol import Answerer, Answers
from components.tasks import asking
from components.tasks.capabilities import Combinable, Told
from components.tasks.protocol import Task
from components.tasks.softmax import LEAST_LIKELIHOOD

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

BATCH = 64


@dataclass(frozen=True)
class Said:
    """One network's answers on N samples of U scored units each, as in `Told`."""

    predictions: Predictions  # the task's own rows
    fuses: Fuses
    units: Floats  # (N, U), as in `Told`
    answered: npt.NDArray[Any]  # (N, U), as in `Told`
    fusible: npt.NDArray[np.float32] | None  # (N, C), as in `Told`
    judged: npt.NDArray[np.bool_] | None = None  # (N, U), as in `Told`

    def losses(self) -> Floats:
        """`(N,)`, by `LOSSES`; their mean is that of the units that are judged."""
        return LOSSES[self.fuses].of(self.units) * share_of(self.judged)

    def measure(self, task: Task, rows: Rows | None = None) -> dict[str, float]:
        """The task's metrics, over all samples or those at `rows`."""
        weights = np.ones((1, len(self.units)))
        if rows is not None:
            weights = np.zeros_like(weights)
            weights[0, rows] = 1.0
        return {name: float(value[0]) for name, value in task.measure(self.predictions, weights).items()}


def losses_of(likelihoods: Floats) -> Floats:
    """`(N, U)` → `(N,)` nats: mean negative log-likelihood of each sample's units."""
    losses: Floats = -np.log(np.maximum(likelihoods, LEAST_LIKELIHOOD)).mean(axis=1)
    return losses


def share_of(judged: npt.NDArray[np.bool_] | None) -> float:
    """By what means of all units are multiplied so that their mean is that of those units which are `judged`."""
    return 1.0 if judged is None else judged.size / max(1, int(judged.sum()))


def squares_of(errors: Floats) -> Floats:
    """`(N, U)` deviations → `(N,)` squared ones: mean squared error of each sample's units."""
    losses: Floats = np.square(errors).mean(axis=1)
    return losses


@dataclass(frozen=True)
class Loss:
    """By what members and combiners are judged."""

    name: str  # of the figure in `report`
    of: Callable[[Floats], Floats]  # `Told.units` (N, U) → (N,)

    @property
    def words(self) -> str:
        return self.name.replace("_", " ")


LOSSES: dict[Fuses, Loss] = {
    "probabilities": Loss("log_loss", losses_of),
    "labels": Loss("log_loss", losses_of),
    "numbers": Loss("squared_error", squares_of),
    "boxes": Loss("log_loss", losses_of),
}


@dataclass(frozen=True)
class Together:
    """K networks' answers on the same N samples."""

    units: Floats  # (K, N, U), as in `Told`
    fusible: npt.NDArray[np.float32] | None  # (K, N, C), as in `Told`
    targets: npt.NDArray[Any]  # (N,) classes, (N, C) labels, (N, H, W) masks, (N, V) values, or (N, M, 7) boxes
    judged: npt.NDArray[np.bool_] | None = None  # (N, U), as in `Told`: the same of all networks

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Rows) -> Together:
        fusible = None if self.fusible is None else self.fusible[:, rows]
        judged = None if self.judged is None else self.judged[rows]
        return Together(self.units[:, rows], fusible, self.targets[rows], judged)

    @property
    def scored(self) -> Floats:
        """`(K, M)`: the units that are judged, in a row."""
        if self.judged is None:
            return self.units.reshape(len(self.units), -1)
        found: Floats = self.units[:, self.judged]
        return found

    @property
    def outputs(self) -> torch.Tensor:
        """`(K, N, C)`, as a fusion takes them; raises ValueError for masks and boxes."""
        if self.fusible is None:
            raise ValueError("expected answers of which all is kept, received masks or boxes")
        return torch.from_numpy(self.fusible)


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
        self.told: list[Told] = []

    def add(self, part: asking.Asked) -> None:
        self.positions.append(part.positions)
        self.told.append(self.task.told(part.answer, part.targets))

    def said(self, predictions: Predictions) -> Said:
        """In the samples' order, as the rows are."""
        order = np.argsort(np.concatenate(self.positions), kind="stable")
        fusible = [each.fusible for each in self.told if each.fusible is not None]
        judged = [each.judged for each in self.told if each.judged is not None]
        return Said(
            predictions=predictions,
            fuses=self.task.fuses,
            units=np.concatenate([each.units for each in self.told])[order],
            answered=np.concatenate([each.answered for each in self.told])[order],
            fusible=np.concatenate(fusible)[order] if fusible else None,
            judged=np.concatenate(judged)[order] if judged else None,
        )


def together(said: Sequence[Said], targets: npt.NDArray[Any]) -> Together:
    """The answers of K networks on the same samples, side by side."""
    fusible = [each.fusible for each in said if each.fusible is not None]
    units = np.stack([each.units for each in said])
    return Together(units, np.stack(fusible) if fusible else None, targets, said[0].judged)
