"""A data set as the finders read it: memory maps, or, of what a training would stream, a part in memory."""

from __future__ import annotations

from pathlib import Path

from components.artifacts import Dataset
from components.data.reading.decoded import map_split
from components.data.reading.loading import layout_of, load_split
from components.training.jobs.job import Job
from components.training.loop.surroundings import Data
from components.training.processes.memory import memory
from components.training.processes.workers import Workers
from components.training.reading.stream import way

SHARE = 0.25  # of the memory that the part of a streamed split may have


def opened(job: Job, dataset: Dataset, decoded: Path) -> Data:
    """The training and the validation split; of one that is streamed, a seeded random part of the training split."""
    if way(job.training, dataset, Workers()) == "streamed":
        limit = max(1, int(SHARE * memory()) // layout_of(dataset, "train").bytes_per_sample)
        train = load_split(dataset, "train", limit=limit, seed=job.seed)
    else:
        train = map_split(dataset, "train", decoded)
    return Data(dataset.card, dataset.digest, train, map_split(dataset, "validation", decoded))
