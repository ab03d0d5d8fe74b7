"""The batch finder: the largest batch whose training step fits into memory, and the smallest that keeps the pace.

Steps are real ones, in a process of their own, so that one that does not fit takes nobody with it. On a CPU what would
not fit is not tried: memory grows with the batch as it has been seen to grow. Left to others: the steps (`steps`), the
process (`batch_process`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from components.artifacts import Dataset
from components.config import ConfigurationError
from components.training.finding.batch_process import Measured, Measuring
from components.training.jobs.job import Job, TrainingError
from components.training.processes.memory import free_memory

SMALLEST = 8  # of a worker: below it batch normalisation has too little to go by
SHARE = 0.9  # of the memory that is free: the rest is for what else happens on the machine
WITHIN = 0.05  # of the best throughput: what repeated measurements differ by
HALVINGS = 3  # between the last size that fits and the first that does not: within an eighth of it


@dataclass(frozen=True)
class Tried:
    """One size, as measured or as foretold."""

    size: int  # over all workers
    images_per_second: float | None  # over all workers; None: not measured
    peak: int | None  # bytes above the start, of one worker; foretold where it was not measured
    fits: bool
    note: str = ""


@dataclass(frozen=True)
class BatchSizes:
    """What was found."""

    largest: int  # that fits
    suggested: int  # the smallest whose throughput is within 5 % of the best
    table: tuple[Tried, ...]  # by size
    limit: int  # bytes that a worker could have
    ended: str  # why no larger size was tried


def find_batch_size(
    job: Job,
    dataset: Dataset,
    *,
    decoded: Path,
    device: str = "cpu",
    limit: int | None = None,
    most: int | None = None,
    on_tried: Callable[[Tried], None] = lambda tried: None,
) -> BatchSizes:
    """Double the batch until it does not fit, then halve the gap; all as the job would be trained.

    `limit` is in bytes, for one worker, above what its process needs before it trains: by default its part of nine
    tenths of the memory that is free (CPU) or of the GPU's. `most` is the largest batch to try, by default the
    training split. `decoded` keeps the split that is mapped into memory. Throughput is a worker's times the workers:
    what they lose by waiting for each other is not in it. Raises TrainingError where not even the smallest batch fits,
    and ConfigurationError for a strategy in which no worker has the whole network.
    """
    if job.training.strategy != "data":
        raise ConfigurationError(
            f"training.strategy: expected data, received {job.training.strategy}: what a worker "
            f"holds of the network then depends on the others, which are not there while one is measured"
        )
    workers = job.training.least_workers  # of an elastic group, whose parts are then the largest
    room = limit if limit is not None else room_for(device, workers)
    search = _Search(room, workers, on_tried)
    with Measuring(job, dataset, decoded, device) as measuring:
        top = min(measuring.samples, most or measuring.samples) // workers
        if top < 1:
            raise TrainingError(f"training.workers: expected at most {measuring.samples} workers, received {workers}")
        size, unfit = min(SMALLEST, top), None
        while size <= top:
            if not search.fits(size, measuring):
                unfit = size
                break
            size *= 2
        for _ in range(HALVINGS):
            if unfit is None or search.largest == 0 or unfit - search.largest < 2:
                break
            middle = (search.largest + unfit) // 2
            if not search.fits(middle, measuring):
                unfit = middle
    if search.largest == 0:
        raise TrainingError(
            f"not even a batch of {min(SMALLEST, top) * workers} fits into {room / 2**20:,.0f} MB "
            f"({search.tried[0].note}); make room, or take a smaller network or smaller images"
        )
    table = tuple(sorted(search.tried, key=lambda tried: tried.size))
    if unfit is not None:
        ended = f"a batch of {unfit * workers:,} does not fit"
    elif top * workers < measuring.samples - workers:
        ended = f"nothing larger than {most:,} was to be tried"
    else:
        ended = f"the training split has {measuring.samples:,} samples"
    return BatchSizes(search.largest * workers, suggested(table), table, room, ended)


def suggested(table: tuple[Tried, ...]) -> int:
    """The smallest size that fits and whose throughput is within 5 % of the best."""
    rates = {tried.size: tried.images_per_second for tried in table if tried.fits and tried.images_per_second}
    best = max(rates.values())
    return min(size for size, rate in rates.items() if rate >= (1 - WITHIN) * best)


def room_for(device: str, workers: int) -> int:
    """Bytes for each of the workers: of this machine's free memory, or of one GPU's."""
    if torch.device(device).type == "cuda":
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return int(SHARE * free)
    return int(SHARE * free_memory()) // workers


def foretold(measured: list[tuple[int, int]], size: int) -> float:
    """Bytes at `size`, by what smaller sizes took: (size, bytes) in ascending order.

    A straight line through the last two; with one alone, all of it is taken to grow. 0 where nothing was measured.
    """
    if not measured:
        return 0.0
    last, took = measured[-1]
    if len(measured) == 1:
        return took * size / last
    before, less = measured[-2]
    return took + max(0.0, (took - less) / (last - before)) * (size - last)


class _Search:
    """What has been tried, a worker's sizes at a time."""

    def __init__(self, limit: int, workers: int, on_tried: Callable[[Tried], None]) -> None:
        self.limit, self.workers, self.on_tried = limit, workers, on_tried
        self.tried: list[Tried] = []
        self.largest = 0  # of one worker, that fits

    def fits(self, size: int, measuring: Measuring) -> bool:
        tried = self._try(size, measuring)
        tried = replace(tried, size=size * self.workers)
        if tried.fits:
            self.largest = max(self.largest, size)
        self.tried.append(tried)
        self.on_tried(tried)
        return tried.fits

    def _try(self, size: int, measuring: Measuring) -> Tried:
        expected = foretold(self._measured(), size) if measuring.foretells else 0.0
        if expected > self.limit and len(self._measured()) == 1 and self.largest > 1:
            # How much of it grows is not known yet, and a smaller batch will tell.
            self.fits(self.largest // 2, measuring)
            expected = foretold(self._measured(), size)
        if expected > self.limit:
            return Tried(size, None, int(expected), fits=False, note="foretold, not tried")
        found = measuring.measure(size)
        if not isinstance(found, Measured):
            return Tried(size, None, None, fits=False, note=found)
        fits = found.peak <= self.limit
        rate = size / found.seconds * self.workers
        return Tried(size, rate, found.peak, fits=fits, note="" if fits else "more than there is room for")

    def _measured(self) -> list[tuple[int, int]]:
        return sorted((t.size // self.workers, t.peak) for t in self.tried if t.peak is not None and t.fits)
