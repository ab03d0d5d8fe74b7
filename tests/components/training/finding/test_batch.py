"""The batch finder: real steps in a process of its own, a limit that is kept, and the rules it chooses by."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts import Dataset
from components.config import AugmentConfig, ConfigurationError, NetworkConfig
from components.training.finding.batch import Tried, find_batch_size, foretold, suggested
from components.training.finding.batch_process import Measured, Measuring
from components.training.jobs.job import Job, TrainingError

MEGABYTE = 2**20


def tried(size: int, rate: float | None, *, fits: bool = True) -> Tried:
    return Tried(size, rate, size * MEGABYTE, fits=fits)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([(8, 100.0), (16, 190.0), (32, 300.0), (64, 310.0), (128, 305.0)], 32),  # 300 is within 5 % of 310
        ([(8, 100.0), (16, 190.0), (32, 290.0), (64, 310.0)], 64),  # 290 is not
        ([(8, 310.0), (16, 100.0)], 8),
        ([(8, 100.0)], 8),
    ],
)
def test_the_smallest_within_five_percent_of_the_best_is_suggested(
    rates: list[tuple[int, float]], expected: int
) -> None:
    table = (*(tried(size, rate) for size, rate in rates), tried(256, 900.0, fits=False), tried(512, None, fits=False))
    assert suggested(table) == expected


@pytest.mark.parametrize(
    ("measured", "size", "expected"),
    [
        ([], 64, 0.0),
        ([(8, 100)], 16, 200.0),
        ([(8, 100), (16, 140)], 32, 220.0),  # 60 that do not grow, and 5 a sample
        ([(8, 100), (16, 140), (32, 200)], 64, 320.0),
        ([(8, 100), (16, 90)], 32, 90.0),
    ],
)
def test_memory_is_foretold_by_a_line_through_the_last_two(
    measured: list[tuple[int, int]], size: int, expected: float
) -> None:
    assert foretold(measured, size) == pytest.approx(expected)


@pytest.mark.slow
def test_a_limit_is_kept_and_what_is_found_is_what_is_measured(
    dataset: Dataset, job: Callable[..., Job], tmp_path: Path
) -> None:
    # Wide enough for a step to take some hundreds of megabytes.
    wide = job(network=NetworkConfig(name="residual", arguments={"width": 64}), augment=AugmentConfig())
    limit = 300 * MEGABYTE
    seen: list[Tried] = []

    found = find_batch_size(wide, dataset, decoded=tmp_path, limit=limit, on_tried=seen.append)

    assert found.limit == limit
    assert sorted(each.size for each in seen) == [each.size for each in found.table]
    fitting = [each for each in found.table if each.fits]
    assert found.largest == max(each.size for each in fitting)
    assert all(each.peak is not None and 0 < each.peak <= limit for each in fitting)
    assert all(each.images_per_second is not None and each.images_per_second > 0 for each in fitting)
    too_large = [each.size for each in found.table if not each.fits]
    assert too_large, "the limit was never met, and nothing was tested"
    assert min(too_large) <= found.largest * 1.25 + 2
    assert found.suggested in [each.size for each in fitting]
    # Measured anew, by itself, it keeps to the limit too; a tenth is what the allocator's blocks differ by.
    with Measuring(wide, dataset, tmp_path, "cpu") as measuring:
        again = measuring.measure(found.largest)
    assert isinstance(again, Measured)
    assert again.peak <= 1.1 * limit
    assert again.peak > 0.5 * limit


@pytest.mark.slow
def test_the_training_split_is_the_largest_batch_there_is(
    dataset: Dataset, job: Callable[..., Job], tmp_path: Path
) -> None:
    found = find_batch_size(job(), dataset, decoded=tmp_path)
    assert [each.size for each in found.table] == [8, 16, 32, 64, 128, 256]
    assert found.largest == 256
    assert found.ended == "the training split has 400 samples"
    assert found.suggested > 8  # a step has costs of its own: eight at a time are slow

    most = find_batch_size(job(), dataset, decoded=tmp_path, most=16)

    assert (most.largest, most.ended) == (16, "nothing larger than 16 was to be tried")


def test_where_memory_is_short_the_process_dies_and_nobody_else(
    dataset: Dataset, job: Callable[..., Job], tmp_path: Path
) -> None:
    with Measuring(job(), dataset, tmp_path, "cpu") as measuring:
        assert isinstance(measuring.measure(8), Measured)
        assert measuring._child is not None
        os.kill(measuring._child[0].pid, signal.SIGKILL)  # as the kernel does where memory is short
        assert measuring.measure(16) == "the process was killed for want of memory"


def test_where_not_even_the_smallest_fits_it_says_so(dataset: Dataset, job: Callable[..., Job], tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="not even a batch of 8 fits into 1 MB"):
        find_batch_size(job(), dataset, decoded=tmp_path, limit=MEGABYTE)


def test_what_is_wrong_in_the_process_is_told_in_its_words(
    dataset: Dataset, job: Callable[..., Job], tmp_path: Path
) -> None:
    wrong = job(network=NetworkConfig(name="residual", arguments={"depth": 3}))
    with pytest.raises(TrainingError, match=r"network\.arguments\.depth"):
        find_batch_size(wrong, dataset, decoded=tmp_path)


def test_a_network_that_is_cut_up_cannot_be_measured_alone(
    dataset: Dataset, job: Callable[..., Job], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"training\.strategy: expected data"):
        find_batch_size(job(training={"strategy": "sharded", "workers": 2}), dataset, decoded=tmp_path)
