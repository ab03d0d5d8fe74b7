"""The validation split after an epoch: the task's own metrics, the same however many workers share the work.

Everything that gates and promotes judges other, served artifacts in `components.evaluate`; these figures are for
watching a training.
"""

from __future__ import annotations

import numpy as np
import torch

from components.artifacts import DatasetCard
from components.config.training import CHANNELS_LAST, MemoryFormat
from components.models.preprocessing import laid_out
from components.tasks.asking import Asked, Rows, gathered, label, rows_of
from components.tasks.network import arrays_of
from components.tasks.protocol import Task
from components.training.parallel.strategy import Strategy
from components.training.processes.workers import Workers
from components.training.reading.samples import Split


def validate(
    strategy: Strategy,
    split: Split,
    task: Task,
    *,
    batch_size: int,
    card: DatasetCard,
    workers: Workers,
    memory_format: MemoryFormat = CHANNELS_LAST,
) -> dict[str, float]:
    """`validation_loss` (without label smoothing) and `validation_METRIC` for each of the task's metrics.

    Each part of the workers answers for every n-th sample; the rows are put back in order and measured as one table,
    so a metric that is not a mean of samples is right too. A metric that cannot be computed is NaN.
    """
    part, parts = strategy.part, strategy.parts
    mine = np.arange(part, len(split), parts)
    rows: list[Rows] = []
    total = 0.0
    was_training = strategy.network.training
    strategy.network.eval()
    # As many rounds for everybody: a strategy's workers answer together.
    for asked in np.array_split(mine, -(-len(split) // (parts * batch_size))):
        batch = split.batch(asked if len(asked) else np.zeros(1, dtype=np.int64))
        outputs = strategy.outputs(laid_out(batch.inputs, memory_format))
        if outputs is None or not len(asked):
            continue
        with torch.inference_mode():
            total += float(task.loss(outputs, batch)["loss"]) * len(asked)
            answer = arrays_of(task.answer(outputs))
        rows += rows_of(task, [Asked(asked, answer, batch.targets.cpu().numpy())])
    strategy.network.train(was_training)
    everybody = workers.gather((total, rows))
    every = [each for _, theirs in everybody for each in theirs]
    predictions = gathered(task, every, card, label(split.ids, "validation", {}))
    measured = task.measure(predictions, np.ones((1, len(split))))
    loss = sum(loss for loss, theirs in everybody if theirs) / len(split)
    return {"validation_loss": loss, **{f"validation_{name}": float(value[0]) for name, value in measured.items()}}
