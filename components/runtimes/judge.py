"""What a network answers on labelled samples, whichever way it is executed: likelihoods and the primary metric.

Used to fit and to choose on the validation split. The figures that a version is promoted by, with their intervals, are
`components.evaluate`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa
import torch
from torch import Tensor, nn

from components.artifacts import DatasetCard, Predictions
from components.data.reading.loading import Arrays
from components.runtimes.execution import Answers, Images, stream
from components.tasks.protocol import SupportsEnsemble, Task, network_answer

Answerer = Callable[[Images], Answers]  # uint8 (N, H, W, C) → the task's answer


@dataclass(frozen=True)
class Judgement:
    """What was found on M scored units (samples or pixels)."""

    primary: float  # the task's primary metric, in its own direction; NaN where it cannot be computed
    likelihoods: npt.NDArray[np.float64] | None  # (M,) probability of each true target; None: the task gives none


def preprocess(images: Tensor) -> Tensor:
    """uint8 `(N, H, W, C)` → float32 `(N, C, H, W)` in [0, 1]. Exported with the network, so both see the same."""
    return images.permute(0, 3, 1, 2).to(torch.float32) / 255.0


def torch_answerer(task: Task, network: nn.Module) -> Answerer:
    """A PyTorch network as something that answers."""
    return lambda images: network_answer(task, network, preprocess(torch.from_numpy(np.ascontiguousarray(images))))


def session_answerer(session: onnxruntime.InferenceSession) -> Answerer:
    """An ONNX graph as something that answers."""
    return lambda images: next(stream(session, images, len(images)))


def batches(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices that cover `count` samples."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def judge(task: Task, answerer: Answerer, samples: Arrays, card: DatasetCard, *, batch: int = 64) -> Judgement:
    """Ask for every sample, batch by batch, so that dense answers are never held together.

    Raises ValueError where there is no sample.
    """
    images, targets = samples.images, samples.targets
    if len(images) == 0:
        raise ValueError(f"data set {card.name}: expected at least one sample to judge on, found none")
    columns: dict[str, list[Any]] = {}
    likelihoods = []
    for part in batches(len(images), batch):
        answer = answerer(images[part])
        for name, values in task.rows(answer, targets[part]).items():
            columns.setdefault(name, []).extend(values)
        if "ensemble" in task.spec.supports:
            likelihoods.append(cast(SupportsEnsemble, task).likelihoods(answer, targets[part]))
    return Judgement(
        primary=_primary(task, columns, card, len(images)),
        likelihoods=np.concatenate(likelihoods) if likelihoods else None,
    )


def _primary(task: Task, columns: dict[str, list[Any]], card: DatasetCard, samples: int) -> float:
    predictions = Predictions(pa.table(columns), model="", data="", classes=card.classes)
    return float(task.measure(predictions, np.ones((1, samples)))[task.spec.primary_metric][0])
