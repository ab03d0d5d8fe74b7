"""Several networks as one: the members' probabilities are averaged with fixed weights.

The output is the logarithm of the mean probability, which any consumer of logits can take: its softmax is that mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from components.models.registry import Network


def mean_probability(outputs: Tensor, weights: Tensor) -> Tensor:
    """`(K, N, C, …)` logits, `(K,)` weights that sum to 1 → `(N, C, …)` log-probabilities of the mixture."""
    logs = torch.log_softmax(outputs.float(), dim=2)
    shape = (-1, *[1] * (outputs.ndim - 1))
    return torch.logsumexp(logs + weights.float().clamp_min(1e-12).log().view(shape), dim=0)


FUSIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean_probability": mean_probability}


class Ensemble(nn.Module):
    """Members in one module; `weights` `(K,)` is part of the state."""

    weights: Tensor

    def __init__(self, members: Sequence[nn.Module], fusion: str) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("weights", torch.full((len(members),), 1.0 / len(members)))
        self.fuse = FUSIONS[fusion]

    def embed(self, images: Tensor) -> Tensor:
        """The members' embeddings side by side, `(N, ΣD)`."""
        return torch.cat([cast(Network, member).embed(images) for member in self.members], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.fuse(torch.stack([member(images) for member in self.members]), self.weights)
