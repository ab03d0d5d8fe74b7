"""Stochastic weight averaging: the mean of a training's weights over its last quarter (Izmailov et al. 2018).

Weights that one training passes through lie in one basin, so that their mean is a network, and a better one than the
last. Batch normalisation's statistics are of weights that the mean never had: they are taken anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from torch import nn
from torch.optim.swa_utils import update_bn

from components.models.preprocessing import channels_last
from components.training.optimizing.optimization import MovingAverage
from components.training.parallel.strategy import Strategy
from components.training.reading.samples import Split

AVERAGE_FROM = 0.75  # share of the steps before the first that is averaged: Izmailov et al. 2018


def first_averaged(steps: int) -> int:
    """The step (counted from 0) after which averaging begins; the learning rate stays what it is there."""
    return min(int(AVERAGE_FROM * steps), steps - 1)


class TailAverage(MovingAverage):
    """The plain mean of the weights after each step from `first_averaged` on; before it, the weights themselves."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        super().__init__(parameters, decay=0.0)

    def share(self, step: int, steps: int) -> float:
        return 1.0 / (max(0, step - first_averaged(steps)) + 1)


def refit_statistics(strategy: Strategy, train: Split, batch_size: int) -> None:
    """Take batch normalisation's statistics anew, over the training split as it is, each worker over its part.

    `strategy` must hold the whole network on every worker.
    """
    mine = np.arange(strategy.part, len(train), strategy.parts)

    def inputs() -> Iterator[object]:
        for positions in np.array_split(mine, -(-len(mine) // batch_size)):
            yield channels_last(train.batch(positions).inputs)

    update_bn(inputs(), strategy.network)
    strategy.average_buffers()
