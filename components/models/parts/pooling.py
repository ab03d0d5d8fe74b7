"""From a feature map to an embedding: average, maximum, or the generalized mean between them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["average", "max", "gem"]

# Radenović et al. 2018 start at 3 and let it be learnt; their clamp keeps the root's gradient finite.
EXPONENT = 3.0
LEAST = 1e-6


class AveragePool(nn.Module):
    """`(N, C, H, W)` → `(N, C)`: the mean over space."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class MaxPool(nn.Module):
    """`(N, C, H, W)` → `(N, C)`: the maximum over space."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(dim=(2, 3))


class GeneralizedMean(nn.Module):
    """`(N, C, H, W)` → `(N, C)`: `mean(x^p)^(1/p)`, p learnt (Radenović et al. 2018). Values below 1e-6 count as it.

    p = 1 is the average, p → ∞ the maximum. Computed in float32: bfloat16 has too few digits for powers.
    """

    def __init__(self, exponent: float = EXPONENT) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.full((1,), exponent))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            raised = x.float().clamp(min=LEAST).pow(self.exponent)
            return raised.mean(dim=(2, 3)).pow(1.0 / self.exponent)


def pool(kind: Pooling) -> nn.Module:
    """The layer of that name."""
    kinds: dict[str, type[nn.Module]] = {"average": AveragePool, "max": MaxPool, "gem": GeneralizedMean}
    return kinds[kind]()
