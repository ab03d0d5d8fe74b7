"""The training split as a stream through Ray Data, for data that is larger than memory.

Tasks of Ray Data read and decode what `data.reading.windows` lays out; each worker takes a run of each epoch's order
and cuts it into its parts of the steps. So an epoch is the same whenever it is read, on any machine, and a training
that was stopped goes on with the epochs it has not had. Without Ray the same is read in the process that trains.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from components.artifacts import Dataset, Split
from components.config import ConfigurationError, TrainingConfig
from components.data.errors import DataError
from components.data.reading import windows
from components.data.reading.loading import layout_of
from components.training.jobs.job import Job
from components.training.processes.memory import memory
from components.training.processes.workers import Workers
from components.training.reading.samples import Part, Reading, batch_of
from components.training.reading.sampling import Epochs, Positions, mix

TASKS = 2  # that read for a worker at a time: one decodes while the next one fetches its window
BLOCKS_AHEAD = 2  # decoded blocks that are at hand before they are asked for
MOST_PIECES = 1000  # of one execution: Ray Data takes some 0.2 ms to take up each, and none is read before the last
SHARE_OF_MEMORY = 0.5  # that memory maps may fill: what lies beside them would throw their pages out again and again

Rows = tuple[Positions, npt.NDArray[Any], npt.NDArray[Any]]  # positions, inputs, targets


def way(config: TrainingConfig, dataset: Dataset, workers: Workers) -> Literal["mapped", "streamed"]:
    """How the training split is read: as configured, or by the smallest memory that any worker has."""
    if config.reading != "auto":
        return config.reading
    fits = layout_of(dataset, "train").bytes <= SHARE_OF_MEMORY * workers.smallest(memory())
    return "mapped" if fits else "streamed"


@dataclass(frozen=True)
class Stream:
    """A split that is to be streamed."""

    dataset: Dataset
    split: Split = "train"
    through_ray: bool = False

    @property
    def targets(self) -> npt.NDArray[np.int64]:
        """Classes `(N,)` in their stored order; of masks, which are too large to be held, none."""
        if layout_of(self.dataset, self.split).target:
            return np.empty(0, dtype=np.int64)
        columns = [table.column("target").to_numpy() for table in self.dataset.batches(self.split, ["target"])]
        return np.concatenate(columns).astype(np.int64)

    def read(self, job: Job, device: torch.device) -> Reading:
        """The split as the loop reads it; raises ConfigurationError for a job that chooses its samples by class."""
        sampling = job.training.imbalance.sampling
        if sampling != "natural":
            raise ConfigurationError(
                f"{job.name}: training.imbalance.sampling: expected natural for data that is streamed, received "
                f"{sampling}: a stream is read in the order of its files. Balance the loss instead "
                f"(training.imbalance.loss), or set training.reading: mapped where the disk has room for the decoded "
                f"split"
            )
        return Streamed(self, device)


class Streamed:
    """A `Reading` of one worker. It reads ahead across epochs: while one is validated, the next one is decoded."""

    way: ClassVar[Literal["mapped", "streamed"]] = "streamed"

    def __init__(self, stream: Stream, device: torch.device, window_bytes: int = windows.WINDOW_BYTES) -> None:
        self.dataset, self.split, self.device, self.window_bytes = stream.dataset, stream.split, device, window_bytes
        self.layout = layout_of(stream.dataset, stream.split)
        self.groups = windows.row_groups(stream.dataset, stream.split)
        self._read = self._through_ray if stream.through_ray else self._here
        self._ahead: tuple[int, Iterator[Rows]] | None = None  # the epoch that comes next, and what it is read from

    def __len__(self) -> int:
        return self.layout.samples

    def epoch(self, epochs: Epochs, epoch: int, part: int, parts: int) -> Iterator[Part]:
        expected, rows = self._ahead or (0, iter(()))
        self._ahead = None  # whoever stops within an epoch starts anew
        if expected != epoch:
            rows = self._open(epochs, epoch, part, parts)
        whole = epochs.sizes(epoch)
        mine = _share(whole, part, parts)
        for size, (positions, inputs, targets) in zip(whole.tolist(), cut(rows, mine.tolist()), strict=True):
            yield Part(batch_of(inputs, targets, self.device), positions, size)
        if epoch < epochs.count:
            self._ahead = (epoch + 1, rows)

    def names(self, positions: Positions) -> list[str]:
        found: dict[int, str] = {}
        at = 0
        for table in self.dataset.batches(self.split, ["id"]):
            inside = positions[(positions >= at) & (positions < at + len(table))]
            found |= {int(position): table.column("id")[int(position) - at].as_py() for position in inside}
            at += len(table)
        return [found[int(position)] for position in positions]

    def _open(self, epochs: Epochs, first: int, part: int, parts: int) -> Iterator[Rows]:
        """The worker's rows of this epoch and those that follow."""
        waiting: list[windows.Piece] = []
        for epoch in range(first, epochs.count + 1):
            whole = epochs.sizes(epoch)
            ends = np.cumsum([0, *(_share(whole, other, parts).sum() for other in range(parts))]).tolist()
            seed, run = mix("stream", epochs.seed, epoch), ends[part : part + 2]
            waiting += windows.pieces(self.groups, seed, run[0], run[1], self.window_bytes)
            if len(waiting) >= MOST_PIECES or epoch == epochs.count:
                yield from self._read(waiting)
                waiting = []

    def _here(self, pieces: list[windows.Piece]) -> Iterator[Rows]:
        for piece in pieces:
            for positions, part in windows.read(piece, self.dataset.card, self.layout):
                yield positions, part.inputs, part.targets

    def _through_ray(self, pieces: list[windows.Piece]) -> Iterator[Rows]:
        import ray.data

        data: Any = ray.data  # its annotations do not know what it takes and gives
        card, layout = self.dataset.card, self.layout

        def decode(block: dict[str, npt.NDArray[Any]]) -> Iterator[dict[str, npt.NDArray[Any]]]:
            for number in block["piece"]:
                for positions, part in windows.read(pieces[number], card, layout):
                    yield {"position": positions, "input": part.inputs, "target": part.targets}

        context = data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.target_max_block_size = windows.BLOCK_BYTES  # or it gathers what is decoded to 128 MB
        context.enable_progress_bars = False
        numbers = data.from_items([{"piece": n} for n in range(len(pieces))], override_num_blocks=len(pieces))
        # The workers hold all CPUs that there are: a task that asked for one would wait for ever.
        tasks = data.TaskPoolStrategy(size=TASKS)
        decoded = numbers.map_batches(decode, batch_size=None, num_cpus=0, compute=tasks)
        try:
            for block in decoded.iter_batches(batch_size=None, prefetch_batches=BLOCKS_AHEAD, batch_format="numpy"):
                yield block["position"], block["input"], block["target"]
        except DataError as error:  # in Ray's clothes: with its advice and its traceback
            raise DataError(str(getattr(error, "cause", error)).splitlines()[0]) from error


def _share(whole: Positions, part: int, parts: int) -> Positions:
    """Samples of a part of each step, as many as `sampling.share` gives it."""
    return (whole - part + parts - 1) // parts


def cut(rows: Iterator[Rows], sizes: Iterable[int]) -> Iterator[Rows]:
    """The same rows in the same order, so many at a time, in memory of their own.

    Takes no block from `rows` before it is needed.
    """
    block: Rows | None = None
    at = 0
    for size in sizes:
        taken: list[Rows] = []
        missing = size
        while missing:
            if block is None or at == len(block[0]):
                block, at = next(rows), 0
            end = min(at + missing, len(block[0]))
            taken.append((block[0][at:end], block[1][at:end], block[2][at:end]))
            missing -= end - at
            at = end
        positions, inputs, targets = zip(*taken, strict=True)
        yield np.concatenate(positions), np.concatenate(inputs), np.concatenate(targets)
