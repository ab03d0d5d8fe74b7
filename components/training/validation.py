"""The validation split after an epoch: the task's own metrics, the same however many workers share the work.

Everything that gates and promotes judges other, served artifacts in `components.evaluate`; these figures are for
watching a training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor, nn

from components.artifacts import DatasetCard, Predictions
from components.config import TrainingConfig
from components.tasks.protocol import Columns, Task
from components.training.reading import Split
from components.training.sampling import Positions
from components.training.workers import Workers, autocast


def channels_last(images: Tensor) -> Tensor:
    """The layout that oneDNN and cuDNN convolve fastest in."""
    return images.contiguous(memory_format=torch.channels_last)


def validate(
    network: nn.Module, split: Split, task: Task, *, config: TrainingConfig, card: DatasetCard, workers: Workers
) -> dict[str, float]:
    """`validation_loss` (without label smoothing) and `validation_METRIC` for each of the task's metrics.

    Each worker answers for every n-th sample; the rows are put back in order and measured as one table, so a metric
    that is not a mean of samples is right too. A metric that cannot be computed is NaN.
    """
    mine = np.arange(workers.rank, len(split), workers.count)
    pieces: list[Columns] = []
    total = 0.0
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        for start in range(0, len(mine), config.batch_size):
            batch = split.batch(mine[start : start + config.batch_size])
            with autocast(config, workers.device):
                outputs = network(channels_last(batch.images))
            total += float(task.loss(outputs.float(), batch)["loss"]) * len(batch.images)
            answer = {name: _array(value) for name, value in task.answer(outputs.float()).items()}
            pieces.append(task.rows(answer, batch.targets.cpu().numpy()))
    network.train(was_training)
    gathered = workers.gather((total, pieces))
    order = np.argsort(np.concatenate([np.arange(r, len(split), workers.count) for r in range(workers.count)]))
    columns = _joined([piece for _, theirs in gathered for piece in theirs], order)
    table = pa.table({"id": [str(name) for name in split.ids], "split": ["validation"] * len(split), **columns})
    measured = task.measure(Predictions(table, model="", data="", classes=card.classes), np.ones((1, len(split))))
    loss = sum(loss for loss, _ in gathered) / len(split)
    return {"validation_loss": loss, **{f"validation_{name}": float(value[0]) for name, value in measured.items()}}


def _array(value: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = (value.float() if value.is_floating_point() else value).cpu().numpy()
    return array


def _joined(pieces: list[Columns], order: Positions) -> Columns:
    """The pieces' columns, one after another, rows in the given order."""
    joined: Columns = {}
    for name in pieces[0]:
        rows = [row for piece in pieces for row in piece[name]]
        joined[name] = [rows[position] for position in order]
    return joined
