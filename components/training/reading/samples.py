"""Where an epoch's batches come from, as the loop sees it, and the plain way: arrays in memory or in memory maps.

The other way, for data that is larger than memory, is `stream`. Left to others: which samples are in which batch
(`sampling`) and the files (`components.data`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from components.models.preprocessing import preprocess
from components.tasks.protocol import Batch
from components.training.reading.sampling import Epochs, Positions, share


class Samples(Protocol):
    """A split as arrays, in its stored order."""

    @property
    def ids(self) -> npt.NDArray[Any]:
        """`(N,)` strings"""
        ...

    @property
    def inputs(self) -> npt.NDArray[Any]:
        """As the kind of input has them: uint8 `(N, H, W, C)` pictures, int32 `(N, L)` texts"""
        ...

    @property
    def targets(self) -> npt.NDArray[Any]:
        """int64 `(N,)`, uint8 masks `(N, H, W)`, or float32 `(N, K)`"""
        ...


@dataclass(frozen=True)
class Part:
    """What one worker is shown at one step."""

    batch: Batch
    positions: Positions  # in the split's stored order, of this worker's samples
    whole: int  # samples of the step, over all workers


class Reading(Protocol):
    """The training split, read epoch by epoch."""

    way: ClassVar[Literal["mapped", "streamed"]]  # each has an order of its own

    def __len__(self) -> int: ...

    def epoch(self, epochs: Epochs, epoch: int, part: int, parts: int) -> Iterator[Part]:
        """Part `part` (from 0) of `parts` of each of `epochs.steps(epoch)` steps, the same whenever it is asked."""
        ...

    def names(self, positions: Positions) -> list[str]:
        """The ids of the samples at these positions."""
        ...


class Timed:
    """Parts, and for how many seconds they were waited for."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self.parts = parts
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Part]:
        while True:
            asked = time.perf_counter()
            part = next(self.parts, None)
            self.seconds += time.perf_counter() - asked
            if part is None:
                return
            yield part


class Split:
    """A split's arrays, pictures in uint8 until they are used: a quarter of the memory and of the copying."""

    way: ClassVar[Literal["mapped", "streamed"]] = "mapped"

    def __init__(
        self,
        samples: Samples,
        device: torch.device,
        rows: Positions | None = None,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Of the samples at `rows` in the stored order, or of all; each with its weight, where they have some."""
        self.rows = np.arange(len(samples.inputs)) if rows is None else rows
        self.ids = samples.ids if rows is None else samples.ids[rows]
        self.targets = samples.targets if rows is None else samples.targets[rows]
        self.inputs = samples.inputs
        self.weights = None if weights is None else weights[self.rows].astype(np.float32)
        self.device = device

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, positions: Positions) -> Batch:
        """What the network takes, and targets as `Batch` has them, on the device."""
        batch = batch_of(self.inputs[self.rows[positions]], self.targets[positions], self.device)
        if self.weights is None:
            return batch
        return replace(batch, weights=torch.from_numpy(self.weights[positions]).to(self.device))

    def epoch(self, epochs: Epochs, epoch: int, part: int, parts: int) -> Iterator[Part]:
        for whole in epochs.batches(epoch):
            positions = share(whole, part, parts)
            yield Part(self.batch(positions), positions, len(whole))

    def names(self, positions: Positions) -> list[str]:
        return [str(name) for name in self.ids[positions]]


def batch_of(inputs: npt.NDArray[Any], targets: npt.NDArray[Any], device: torch.device) -> Batch:
    """Arrays of inputs and of targets of any kind, in memory of their own → a batch on the device."""
    given = torch.from_numpy(inputs).to(device, non_blocking=True)
    labels = torch.from_numpy(targets).to(device, non_blocking=True)
    answers = labels.float() if labels.is_floating_point() else labels.long()
    return Batch(preprocess(given), answers)
