"""Which samples are in which batch, on which worker: a pure function of seed, epoch, step and rank."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from components.training.job import TrainingError

Positions = npt.NDArray[np.int64]


def mix(*parts: int | str) -> int:
    """A 63-bit seed from named parts; different parts give unrelated seeds, unlike sums of small numbers."""
    return int.from_bytes(hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()) >> 1


def steps_per_epoch(samples: int, batch_size: int, workers: int) -> int:
    """Batches an epoch; raises TrainingError where a batch would leave a worker without a sample."""
    steps = -(-samples // batch_size)
    if samples // max(steps, 1) < workers:
        raise TrainingError(
            f"training.workers: expected at most {samples // max(steps, 1)} workers for {samples} training samples in "
            f"batches of {batch_size}, received {workers}; use fewer workers or larger batches"
        )
    return steps


def global_batches(samples: int, batch_size: int, seed: int, epoch: int) -> list[Positions]:
    """The epoch's permutation, cut into batches that differ by at most one sample and never exceed `batch_size`.

    Every sample is seen exactly once. Cutting evenly instead of leaving a rest keeps the last step's gradient as
    steady as the others', and batch normalisation never meets a batch of one.
    """
    order = np.random.default_rng(mix("order", seed, epoch)).permutation(samples)
    return np.array_split(order, -(-samples // batch_size))


def share(batch: Positions, rank: int, workers: int) -> Positions:
    """The worker's part of a global batch: parts differ by at most one sample."""
    return batch[rank::workers]
