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
from torch import Tensor

from components.artifacts import DatasetCard, Predictions
from components.tasks.protocol import Columns, Task
from components.training.parallel.strategy import Strategy
from components.training.processes.workers import Workers
from components.training.reading.samples import Split
from components.training.reading.sampling import Positions


def channels_last(images: Tensor) -> Tensor:
    """The layout that oneDNN and cuDNN convolve fastest in."""
    return images.contiguous(memory_format=torch.channels_last)


def validate(
    strategy: Strategy, split: Split, task: Task, *, batch_size: int, card: DatasetCard, workers: Workers
) -> dict[str, float]:
    """`validation_loss` (without label smoothing) and `validation_METRIC` for each of the task's metrics.

    Each part of the workers answers for every n-th sample; the rows are put back in order and measured as one table,
    so a metric that is not a mean of samples is right too. A metric that cannot be computed is NaN.
    """
    part, parts = strategy.part, strategy.parts
    mine = np.arange(part, len(split), parts)
    pieces: list[Columns] = []
    total = 0.0
    was_training = strategy.network.training
    strategy.network.eval()
    # As many rounds for everybody: a strategy's workers answer together.
    for asked in np.array_split(mine, -(-len(split) // (parts * batch_size))):
        batch = split.batch(asked if len(asked) else np.zeros(1, dtype=np.int64))
        outputs = strategy.outputs(channels_last(batch.images))
        if outputs is None or not len(asked):
            continue
        with torch.inference_mode():
            total += float(task.loss(outputs, batch)["loss"]) * len(asked)
            answer = {name: _array(value) for name, value in task.answer(outputs).items()}
        pieces.append(task.rows(answer, batch.targets.cpu().numpy()))
    strategy.network.train(was_training)
    gathered = [(total, pieces) for total, pieces in workers.gather((total, pieces)) if pieces]
    order = np.argsort(np.concatenate([np.arange(other, len(split), parts) for other in range(parts)]), kind="stable")
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
