"""Images without labels behind those that have some: one training split, which the loop reads like any other.

What of the loss needs a label counts for the labelled samples alone (`objectives.Labelled`); what the teacher answers
counts for all. Nothing of the images is copied: those of a data set stay in its own memory map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from components.training.job import Job, TrainingError
from components.training.reading import Samples
from components.training.sampling import Positions


class Rows:
    """Two arrays `(N, …)` and `(M, …)` that are read as one of `(N + M, …)`, by positions."""

    def __init__(self, first: npt.NDArray[Any], second: npt.NDArray[Any]) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.first.shape[1:])

    def __getitem__(self, positions: Positions) -> npt.NDArray[Any]:
        found = np.empty((len(positions), *self.first.shape[1:]), dtype=self.first.dtype)
        early = positions < len(self.first)
        found[early], found[~early] = self.first[positions[early]], self.second[positions[~early] - len(self.first)]
        return found


@dataclass(frozen=True)
class Both:
    """The labelled samples, then the others: see `reading.Samples`. The others' targets are 0 and mean nothing."""

    ids: npt.NDArray[Any]
    images: npt.NDArray[np.uint8]
    targets: npt.NDArray[Any]


def joined(job: Job, labelled: Samples, others: Samples) -> tuple[Both, npt.NDArray[np.float64]]:
    """Both as one, and how much each counts where a label is needed: 0 without one, and 1 on average over all.

    Raises TrainingError where their images differ in size, and for a job without a teacher, which would learn nothing
    from the others.
    """
    if job.teacher is None:
        raise TrainingError(f"{job.name}: expected a teacher that answers for the unlabelled images, received none")
    mine, its = labelled.images.shape[1:], others.images.shape[1:]
    if mine != its:
        raise TrainingError(
            f"{job.name}: student.unlabelled: expected images of {mine} (height, width, channels), as those with "
            f"labels are, received {its}"
        )
    count, more = len(labelled.images), len(others.images)
    weights = np.zeros(count + more)
    weights[:count] = (count + more) / count
    no_targets = np.broadcast_to(np.zeros((), labelled.targets.dtype), (more, *labelled.targets.shape[1:]))
    both = Both(
        ids=np.concatenate([labelled.ids, others.ids]),
        images=cast(Any, Rows(labelled.images, others.images)),
        targets=cast(Any, Rows(labelled.targets, no_targets)),
    )
    return both, weights
