"""The format finder: the number format and memory layout in which a network's training steps are fastest here.

Which of them it is depends on network, picture and processor: oneDNN and cuDNN have kernels for some layouts of some
layers and re-arrange the numbers for the others, and bfloat16 pays where the hardware multiplies it. Steps are real
ones, each in a process of its own (`batch_process`), as the pipeline would take them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal, get_args

from components.artifacts import Dataset
from components.config import ConfigurationError
from components.config.training import MemoryFormat
from components.training.finding.batch_process import Measuring
from components.training.jobs.job import Job, TrainingError

Precision = Literal["bfloat16", "float32"]
Way = tuple[Precision, MemoryFormat]

ROUNDS = 2  # of all formats, the second the other way round: what disturbs one of them seldom disturbs it twice
WITHIN = 0.05  # of the best throughput: what repeated measurements differ by


@dataclass(frozen=True)
class Format:
    """One way to hold the numbers of a training step, as measured."""

    precision: Precision
    memory_format: MemoryFormat
    images_per_second: float  # of one worker, the best of all rounds
    peak: int  # bytes above the start


@dataclass(frozen=True)
class Formats:
    """What was found."""

    table: tuple[Format, ...]  # the fastest first
    used: Format  # that of the job as it is configured
    suggested: Format  # the fastest; the job's own where that is within 5 % of it


def find_format(
    job: Job,
    dataset: Dataset,
    *,
    decoded: Path,
    device: str = "cpu",
    on_measured: Callable[[int, int], None] = lambda done, total: None,
) -> Formats:
    """Take the job's own steps, at its own batch, in every precision and memory format.

    `decoded` keeps the split that is mapped into memory; `on_measured` hears how many measurements of how many are
    done. Raises ConfigurationError for inputs that are not pictures and for a strategy in which no worker has the whole
    network, TrainingError where the batch does not fit into memory.
    """
    if job.training.strategy != "data":
        raise ConfigurationError(
            f"training.strategy: expected data, received {job.training.strategy}: what a worker "
            f"computes then depends on the others, which are not there while one is measured"
        )
    if dataset.card.input.kind != "image":
        raise ConfigurationError(
            f"dataset: expected pictures, received inputs of the kind {dataset.card.input.kind}, of which there is one "
            "layout only"
        )
    ways: list[Way] = list(product(get_args(Precision), get_args(MemoryFormat)))
    best: dict[Way, Format] = {}
    for number in range(ROUNDS):
        for place, way in enumerate(ways if number % 2 == 0 else reversed(ways)):
            found = _measured(job, way, dataset, decoded, device)
            if way not in best or found.images_per_second > best[way].images_per_second:
                best[way] = found
            on_measured(number * len(ways) + place + 1, ROUNDS * len(ways))
    table = tuple(sorted(best.values(), key=lambda each: -each.images_per_second))
    used = best[_precision(job, device), job.training.memory_format]
    keeps = used.images_per_second >= (1 - WITHIN) * table[0].images_per_second
    return Formats(table, used, used if keeps else table[0])


def _precision(job: Job, device: str) -> Precision:
    """What `auto` means here."""
    import torch

    from components.training.processes.workers import supports_bfloat16

    if job.training.precision == "auto":
        return "bfloat16" if supports_bfloat16(torch.device(device)) else "float32"
    return job.training.precision


def _measured(job: Job, way: Way, dataset: Dataset, decoded: Path, device: str) -> Format:
    precision, memory_format = way
    training = job.training.model_copy(update={"precision": precision, "memory_format": memory_format})
    with Measuring(replace(job, training=training), dataset, decoded, device) as measuring:
        size = max(1, min(measuring.samples, training.batch_size) // training.least_workers)
        found = measuring.measure(size)
    if isinstance(found, str):
        raise TrainingError(f"training.batch_size: a batch of {training.batch_size} does not fit ({found})")
    return Format(precision, memory_format, size / found.seconds, found.peak)
