"""A worker's part of a batch in micro-batches, and the objective over them: the same sum, a piece at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from components.tasks.protocol import Batch


def micro_batches(batch: Batch, count: int) -> list[Batch]:
    """At most `count` pieces that differ by at most one sample; one piece is the batch itself, not a copy."""
    count = min(count, len(batch.inputs))
    if count == 1:
        return [batch]
    inputs, targets = batch.inputs.tensor_split(count), batch.targets.tensor_split(count)
    answers = [None] * count if batch.answers is None else batch.answers.tensor_split(count)
    weights = [None] * count if batch.weights is None else batch.weights.tensor_split(count)
    return [Batch(*piece) for piece in zip(inputs, targets, answers, weights, strict=True)]


def equal_count(samples: int, most: int) -> int:
    """Into how many pieces of one size `samples` can be cut: the largest divisor that is at most `most`."""
    return next(count for count in range(min(most, samples), 0, -1) if samples % count == 0)


def mean_of(losses: Sequence[Mapping[str, Tensor]], sizes: Sequence[int]) -> dict[str, Tensor]:
    """The pieces' means → the mean over all their samples."""
    if len(losses) == 1:
        return {name: value.detach() for name, value in losses[0].items()}
    shares = [size / sum(sizes) for size in sizes]
    return {
        name: torch.stack([part[name].detach() * share for part, share in zip(losses, shares, strict=True)]).sum()
        for name in losses[0]
    }
