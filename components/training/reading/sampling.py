"""Which samples are in which batch, on which worker: a pure function of seed, epoch, labels, step and rank."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.training.jobs.imbalance import Balance
from components.training.jobs.job import TrainingError

Positions = npt.NDArray[np.int64]


def mix(*parts: int | str) -> int:
    """A 63-bit seed from named parts; different parts give unrelated seeds, unlike sums of small numbers."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()) >> 1


@dataclass(frozen=True)
class Epochs:
    """What each epoch of a training shows, counted from 1, and how many steps that takes."""

    count: int
    samples: int  # of the training split
    batch_size: int  # over all workers
    seed: int
    balance: Balance | None = None
    quantum: int = 1  # samples that batches are multiples of, but for one that takes the rest

    def size(self, epoch: int) -> int:
        """Samples that the epoch shows; one that is shown twice counts twice."""
        each = self._levelled(epoch)
        return self.samples if self.balance is None or each is None else each * len(self.balance.counts)

    def steps(self, epoch: int) -> int:
        """Batches of the epoch."""
        return -(-self.size(epoch) // self.batch_size)

    def steps_before(self, epoch: int) -> int:
        """Batches of all the epochs before it."""
        return sum(self.steps(earlier) for earlier in range(1, epoch))

    @property
    def total_steps(self) -> int:
        """Batches of the whole training."""
        return self.steps_before(self.count + 1)

    def batches(self, epoch: int) -> list[Positions]:
        """The epoch's positions in the training split, batch by batch; the same for any number of workers."""
        batches = global_batches(self.size(epoch), self.batch_size, self.seed, epoch, self.quantum)
        each = self._levelled(epoch)
        if self.balance is None or each is None:
            return batches
        shown = level(self.balance.labels, each, self.seed, epoch)
        return [shown[batch] for batch in batches]

    def sizes(self, epoch: int) -> Positions:
        """Samples of each of the epoch's batches."""
        return batch_sizes(self.size(epoch), self.batch_size, self.quantum)

    def check(self, parts: int) -> None:
        """Raise TrainingError where a batch of any epoch would leave a worker without a sample."""
        if self.batch_size < self.quantum:
            raise TrainingError(
                f"training.batch_size: expected at least {self.quantum}, a sample for each of training.accumulate "
                f"micro-batches of each pipeline, received {self.batch_size}"
            )
        for size in {self.size(epoch) for epoch in range(1, self.count + 1)}:
            steps_per_epoch(size, self.batch_size, parts)

    def _levelled(self, epoch: int) -> int | None:
        """Samples a class, where the epoch shows as many of each."""
        return self.balance.levelled if self.balance is not None and self.balance.on(epoch) else None


def steps_per_epoch(samples: int, batch_size: int, workers: int) -> int:
    """Batches an epoch; raises TrainingError where a batch would leave a worker without a sample."""
    steps = -(-samples // batch_size)
    if samples // max(steps, 1) < workers:
        raise TrainingError(
            f"training.workers: expected at most {samples // max(steps, 1)} workers for {samples} training samples in "
            f"batches of {batch_size}, received {workers}; use fewer workers or larger batches"
        )
    return steps


def batch_sizes(samples: int, batch_size: int, quantum: int = 1) -> Positions:
    """Samples of each batch of an epoch: multiples of `quantum` that differ by one of it at most, none too large.

    What is left over goes to the last one. Cutting evenly instead of leaving a rest keeps the last step's gradient as
    steady as the others', and batch normalisation never meets a batch of one.
    """
    steps = -(-samples // batch_size)
    each, more = divmod(samples // quantum, steps)
    sizes = quantum * (each + (np.arange(steps) < more))
    sizes[-1] += samples % quantum
    return sizes


def global_batches(samples: int, batch_size: int, seed: int, epoch: int, quantum: int = 1) -> list[Positions]:
    """The epoch's permutation, cut into batches of those sizes: every sample is seen exactly once."""
    order = np.random.default_rng(mix("order", seed, epoch)).permutation(samples)
    return np.split(order, np.cumsum(batch_sizes(samples, batch_size, quantum))[:-1])


def level(labels: Positions, each: int, seed: int, epoch: int) -> Positions:
    """Positions of `each` samples a class, class after class: labels `(N,)` without gaps → `(C · each,)`.

    A class of n samples is shown ⌊each / n⌋ times as a whole and its rest is drawn without replacement, anew each
    epoch: so no sample of a small class waits for luck, and under-sampling sees all of a large one in time.
    """
    random = np.random.default_rng(mix("level", seed, epoch))
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    shown = []
    for positions in members:
        times, rest = divmod(each, len(positions))
        shown += [np.tile(positions, times), random.permutation(positions)[:rest]]
    return np.concatenate(shown)


def share(batch: Positions, rank: int, workers: int) -> Positions:
    """The worker's part of a global batch: parts differ by at most one sample."""
    return batch[rank::workers]
