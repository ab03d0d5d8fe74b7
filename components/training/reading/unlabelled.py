"""Images without labels behind those that have some: one training split, which the loop reads like any other.

What of the loss needs a label counts for the labelled samples alone (`objectives.Labelled`); what the teacher answers
counts for all. Nothing of the inputs is copied: those of a data set stay in its own memory map. None of them is one
that the network is judged on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from components.artifacts import Dataset, Split
from components.training.jobs.job import Job, TrainingError
from components.training.reading.samples import Samples
from components.training.reading.sampling import Positions

JUDGED: tuple[Split, ...] = ("validation", "test")


def unseen(others: Dataset, dataset: Dataset) -> Positions:
    """Places, in the training split of `others`, of inputs that are in no split of `dataset` that it is judged on."""
    column = dataset.card.input.digest
    judged = [dataset.table(split, [column]) for split in JUDGED if dataset.shards(split)]
    known = {digest for table in judged for digest in table.column(column).to_pylist()}
    theirs = others.table("train", [column]).column(column).to_pylist()
    return np.flatnonzero([digest not in known for digest in theirs])


class Rows:
    """Two arrays that are read as one, by positions: all of the first, then what is at `rows` of the second."""

    def __init__(self, first: npt.NDArray[Any], second: npt.NDArray[Any], rows: Positions) -> None:
        self.first, self.second, self.rows = first, second, rows

    def __len__(self) -> int:
        return len(self.first) + len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.first.shape[1:])

    def __getitem__(self, positions: Positions) -> npt.NDArray[Any]:
        found = np.empty((len(positions), *self.first.shape[1:]), dtype=self.first.dtype)
        early = positions < len(self.first)
        found[early] = self.first[positions[early]]
        found[~early] = self.second[self.rows[positions[~early] - len(self.first)]]
        return found


@dataclass(frozen=True)
class Both:
    """The labelled samples, then the others: see `reading.Samples`. The others' targets are 0 and mean nothing."""

    ids: npt.NDArray[Any]
    inputs: npt.NDArray[Any]
    targets: npt.NDArray[Any]


def joined(
    job: Job, labelled: Samples, others: Samples, rows: Positions | None = None
) -> tuple[Both, npt.NDArray[np.float64]]:
    """Both as one, of the others what is at `rows` (None: all).

    With them comes how much each counts where a label is needed: 0 without one, and 1 on average over all.
    Raises TrainingError where their inputs differ in shape, and for a job without a teacher, which would learn nothing
    from the others.
    """
    if job.teacher is None:
        raise TrainingError(f"{job.name}: expected a teacher that answers for the unlabelled inputs, received none")
    mine, its = labelled.inputs.shape[1:], others.inputs.shape[1:]
    if mine != its:
        raise TrainingError(
            f"{job.name}: student.unlabelled: expected inputs of shape {mine}, as those with labels are, received {its}"
        )
    rows = np.arange(len(others.inputs)) if rows is None else rows
    count, more = len(labelled.inputs), len(rows)
    weights = np.zeros(count + more)
    weights[:count] = (count + more) / count
    shape = (len(others.inputs), *labelled.targets.shape[1:])
    no_targets = np.broadcast_to(np.zeros((), labelled.targets.dtype), shape)
    both = Both(
        ids=np.concatenate([labelled.ids, others.ids[rows]]),
        inputs=cast(Any, Rows(labelled.inputs, others.inputs, rows)),
        targets=cast(Any, Rows(labelled.targets, no_targets, rows)),
    )
    return both, weights
