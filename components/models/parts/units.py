"""A linear head that learns standardised values and gives them in their units."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SHARE = 0.1  # of a linear layer's usual weights: untrained answers far from the mean would have to be unlearnt first


class Units(nn.Linear):
    """`(N, D)` → `(N, K)`: what the layer gives, times `std`, plus `mean`. Both are kept with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(inputs, len(mean))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, embedding: Tensor) -> Tensor:
        return super().forward(embedding).float() * self.std + self.mean


def in_units(network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """The network with its linear `head` in these units; raises ValueError for one that has none."""
    head = getattr(network, "head", None)
    if type(head) is not nn.Linear:
        raise ValueError(f"expected a network whose head is a linear layer, received {type(head).__name__}")
    units = Units(head.in_features, mean, std)
    with torch.no_grad():
        units.weight.copy_(head.weight * SHARE)
        units.bias.zero_()  # an untrained network says the mean, or little else
    network.head = units
    return network
