"""What a task must say so that the line can do everything else.

A task is a stateless value. Networks go from images `(N, C, H, W)`, float in [0, 1], to raw outputs; `answer` turns
those into what is served. Everything that judges (quality, fairness, gates) reads `Predictions` rows that the task
makes from an answer, so a PyTorch network and an int8 graph are judged by the same code.

Left to others: loops, files, engines, metrics' formulas (`components.metrics`) and architectures (`components.models`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from components.artifacts import DatasetCard, Head, Predictions
from components.config import NetworkConfig
from components.models import registry as models

Capability = Literal["ensemble", "distillation"]
Columns = dict[str, Any]  # column name → array of N values (numpy), or a list of N lists


@dataclass(frozen=True)
class TaskSpec:
    """A task's fixed facts."""

    name: str
    target: str  # the kind of its targets, a name of `components.targets`
    primary_metric: str
    higher_is_better: bool
    supports: frozenset[
        Capability
    ]  # steps of the line that the task can take; the others are skipped, and the run says so


@dataclass(frozen=True)
class Batch:
    """Samples as a network sees them."""

    images: Tensor  # (N, C, H, W), float32 in [0, 1]
    targets: Tensor  # int64: (N,) classes, or (N, H, W) masks
    answers: Tensor | None = None  # a teacher's raw outputs for these images, where they are known already
    weights: Tensor | None = None  # (N,) how much each sample counts, mean 1 over the training split; None: all alike


class Task(Protocol):
    """One kind of network: classification, segmentation, …"""

    spec: TaskSpec

    gives: str  # the form of a network's raw outputs, by which families suit it (`components.models.registry.gives`)

    def head(self, card: DatasetCard) -> Head:
        """What a network must give for this data."""
        ...

    def loss(self, outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        """`{"loss": scalar, …}`; further scalars are logged."""
        ...

    def answer(self, outputs: Tensor) -> dict[str, Tensor]:
        """Post-processing, exported with the network: `probabilities` (N, classes, …) and `prediction` (N, …)."""
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

    def by_class(self, predictions: Predictions) -> dict[str, dict[str, float]]:
        """Class name → metric → value."""
        ...

    def confusion(self, predictions: Predictions) -> npt.NDArray[np.int64]:
        """(C, C) counts over all samples, row = target."""
        ...

    def reliability(self, predictions: Predictions) -> npt.NDArray[np.float64]:
        """`components.metrics.calibration` sums over all samples, (3·bins,): units, confidence, correct."""
        ...


class SupportsEnsemble(Protocol):
    """How members are combined."""

    combiners: frozenset[str]  # names in `components.compress.ensembling.combiners` that its outputs can be fused by

    def likelihoods(self, answer: Mapping[str, npt.NDArray[Any]], targets: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The probability given to the true target of each scored unit (sample or pixel), `(M,)`."""
        ...


class SupportsDistillation(Protocol):
    """How a student copies a teacher."""

    def distillation_loss(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Distance of the student's raw outputs from the teacher's, scaled so that it does not shrink with T."""
        ...


def network_of(task: Task, config: NetworkConfig, card: DatasetCard) -> nn.Module:
    """An untrained network for this data: `(N, C, H, W)` in [0, 1] → raw outputs."""
    return models.build(config, card.input, task.head(card))


def network_answer(task: Task, network: nn.Module, images: Tensor) -> dict[str, npt.NDArray[Any]]:
    """A PyTorch network's answer for images `(N, C, H, W)` in [0, 1], as arrays: what the exported graph would give."""
    with torch.inference_mode():
        answer = task.answer(network(images))
    return {name: (value.float() if value.is_floating_point() else value).numpy() for name, value in answer.items()}
