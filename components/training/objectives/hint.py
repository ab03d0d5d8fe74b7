"""Hints (FitNets, Romero et al. 2015): the student's feature map, projected, is to be the teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from components.training.objectives.watching import Seen


class Hint(nn.Module):
    """Mean square of the difference, in units of the teacher's own mean square: a projection to 0 has 1.

    The projection is a 1×1 convolution that is trained with the student and left behind with the training. Where the
    maps differ in size, both are averaged down to the smaller one.
    """

    def __init__(self, student: Seen, teacher: Seen) -> None:
        super().__init__()
        self.project = nn.Conv2d(student.features.shape[1], teacher.features.shape[1], 1)

    def forward(self, student: Seen, teacher: Seen) -> Tensor:
        own, its = same_size(student.features, teacher.features)
        return F.mse_loss(self.project(own), its) / its.square().mean().clamp_min(1e-12)


def same_size(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps `(N, …, h, w)` of the smaller height and the smaller width."""
    height, width = (min(first.shape[axis], second.shape[axis]) for axis in (2, 3))
    return tuple(  # type: ignore[return-value]
        found if found.shape[2:] == (height, width) else F.adaptive_avg_pool2d(found, (height, width))
        for found in (first, second)
    )
