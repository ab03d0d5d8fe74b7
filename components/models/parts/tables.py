"""Tables of vectors for the units of texts: one that is trained, one that stays as it began, or both (Kim 2014)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from components.tokenizing import PADDING

# Kim's non-static, static and multichannel
Vectors = Literal["trained", "frozen", "both"]

SPREAD = 0.25  # random vectors lie within ±: about the variance of published ones, as in the paper


class Frozen(nn.Module):
    """A table that nothing changes: its weights are no parameters, so neither steps, nor thawing, nor averages do."""

    weight: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())

    def forward(self, numbers: Tensor) -> Tensor:
        return F.embedding(numbers, self.weight)


def table(numbers: int, dimension: int, vectors: Vectors) -> nn.Module:
    """Numbers of units `(N, L)` → vectors `(N, L, dimension)`: random ones, and 0 for padding."""
    trained = nn.Embedding(numbers, dimension, padding_idx=PADDING)
    nn.init.uniform_(trained.weight, -SPREAD, SPREAD)
    with torch.no_grad():
        trained.weight[PADDING] = 0.0
    return Frozen(trained.weight) if vectors == "frozen" else trained


def beside(first: nn.Module, vectors: Vectors) -> Frozen | None:
    """The second channel where there are to be both: a table that stays what the first one begins as."""
    return Frozen(first.weight) if vectors == "both" and isinstance(first, nn.Embedding) else None


def looked_up(first: nn.Module, second: Frozen | None, numbers: Tensor) -> Tensor:
    """int64 `(N, L)` → `(N, L, D)`: the vectors of one table, or those of both side by side.

    Filters have weights of their own for each of two channels, whose sums are added, as over a picture's colours.
    """
    vectors: Tensor = first(numbers)
    return vectors if second is None else torch.cat([vectors, second(numbers)], dim=2)


def tables(network: nn.Module, numbers: int) -> list[Tensor]:
    """The weights `(numbers, dimension)` of every table of that many units in a network."""
    found = (each.weight for each in network.modules() if isinstance(each, nn.Embedding | Frozen))
    return [weight for weight in found if len(weight) == numbers]
