"""What a task must say so that the pipeline can do everything else.

A task is a stateless value. Networks go from inputs, such as images `(N, C, H, W)`, float in [0, 1], to raw outputs;
`answer` turns those into what is served. Everything that judges (quality, fairness, gates) reads `Predictions` rows
that the task makes from an answer, so a PyTorch network and an int8 graph are judged by the same code. Methods that
learn or answer import PyTorch; a task's facts do not need it, and a run that finds everything done asks for nothing
else.

Left to others: loops, files, engines, metrics' formulas (`components.metrics`) and architectures (`components.models`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Head, Predictions
from components.metrics.metric import Metric
from components.tasks.answers import Answers

if TYPE_CHECKING:
    from torch import Tensor

Columns = dict[str, Any]  # column name → array of N values (numpy), or a list of N lists


@dataclass(frozen=True)
class Output:
    """One output of the exported graph."""

    name: str
    dims: tuple[str | int, ...]  # after N, which comes first
    type: str  # NumPy's name of it
    measured: bool = False  # whether an error of rounding is measured in it: a number, and not what follows from one


@dataclass(frozen=True)
class TaskSpec:
    """A task's fixed facts."""

    name: str
    target: str  # the kind of its targets, a name of `components.targets`
    outputs: tuple[Output, ...]  # of `answer`, in the order in which they are exported
    written: str  # how an answer is written where it is served, a name of `components.registry.answers`
    metrics: tuple[Metric, ...]  # all that `measure` gives; the first is what the task is judged by

    @property
    def primary(self) -> Metric:
        """What the task is judged by."""
        return self.metrics[0]

    @property
    def primary_metric(self) -> str:
        """Its name."""
        return self.primary.name

    def metric(self, name: str) -> Metric:
        """KeyError where the task has none of that name."""
        return {each.name: each for each in self.metrics}[name]


@dataclass(frozen=True)
class Batch:
    """Samples as a network sees them."""

    inputs: Tensor  # pictures (N, C, H, W), float32 in [0, 1]; texts (N, L), int64
    targets: Tensor  # int64 (N,) classes or (N, H, W) masks, or float32 (N, K) values or labels
    answers: Tensor | None = None  # a teacher's raw outputs for these inputs, where they are known already
    weights: Tensor | None = None  # (N,) how much each sample counts, mean 1 over the training split; None: all alike


class Task(Protocol):
    """One kind of network: classification, segmentation, …"""

    @property
    def spec(self) -> TaskSpec:
        """Its fixed facts."""
        ...

    @property
    def gives(self) -> str:
        """The form of a network's raw outputs, by which families suit it (`components.models.registry.gives`)."""
        ...

    def head(self, card: DatasetCard) -> Head:
        """What a network must give for this data."""
        ...

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """`{"loss": scalar, …}`; further scalars are logged."""
        ...

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """Post-processing, exported with the network: the `outputs` that the spec names."""
        ...

    def difference(self, one: Answers, other: Answers) -> npt.NDArray[np.float64]:
        """How far two answers for the same N samples lie apart, `(N,)`, from 0 to 1.

        By it an export is held against its network, an engine against another, and int8 against float32.
        """
        ...

    def rows(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> Columns:
        """The task's columns of `Predictions` for one batch of answers."""
        ...

    def measure(self, predictions: Predictions, weights: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
        """Every metric under each of B weightings of the N samples, `weights` (B, N) → arrays of B values.

        All ones is the figure itself, multinomial counts are a bootstrap, an indicator is a group. A metric that
        cannot be computed (no sample, no positive) is NaN, never a flattering default.
        """
        ...


@runtime_checkable
class Bound(Protocol):
    """A task whose metrics, units and losses are those of what it is asked for: another value for other targets."""

    def bound(self, target: Mapping[str, Any]) -> Task:
        """The task for targets of which the card says this."""
        ...


@runtime_checkable
class Ignoring(Bound, Protocol):
    """Bound to targets of which parts may be of no class: those are neither learnt nor judged."""

    @property
    def ignore(self) -> int | None:
        """What stands in their place; None where there are none."""
        ...
