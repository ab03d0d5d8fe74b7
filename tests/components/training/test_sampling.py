"""No sample may be dropped, repeated, or left out because of how many workers there are."""

from __future__ import annotations

import numpy as np
import pytest

from components.training.jobs.job import TrainingError
from components.training.reading.sampling import global_batches, share, steps_per_epoch


@pytest.mark.parametrize(("samples", "batch_size"), [(100, 32), (96, 32), (5, 32), (33, 32)])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_an_epoch_shows_every_sample_once_in_batches_of_one_size(samples: int, batch_size: int, workers: int) -> None:
    batches = global_batches(samples, batch_size, seed=0, epoch=1)
    assert len(batches) == steps_per_epoch(samples, batch_size, workers)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    parts = [share(batch, rank, workers) for batch in batches for rank in range(workers)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(samples))
    assert min(len(part) for part in parts) >= 1


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = {
        tuple(np.concatenate(global_batches(50, 8, seed, epoch)).tolist()) for seed in range(3) for epoch in range(3)
    }
    assert len(orders) == 9
    again = np.concatenate(global_batches(50, 8, 1, 2))
    assert tuple(again.tolist()) in orders


def test_more_workers_than_a_batch_has_samples_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"training\.workers: expected at most 1 workers"):
        steps_per_epoch(samples=5, batch_size=2, workers=3)
    assert steps_per_epoch(samples=5, batch_size=4, workers=2) == 2
