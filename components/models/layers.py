"""Parts that several families are made of."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from components.artifacts import InputSpec


class Normalize(nn.Module):
    """`(x − mean) / std` a channel, with the training split's statistics: so serving cannot disagree."""

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: InputSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(inputs.mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(inputs.std, dtype=torch.float32).clamp_min(1e-3).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class ConvBlock(nn.Module):
    """3×3 (or `kernel`) convolution, batch normalisation and, unless told otherwise, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, activation: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.normalization = nn.BatchNorm2d(outputs)
        self.activation = nn.ReLU(inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.activation(self.normalization(self.convolution(x))))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around an identity (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = ConvBlock(channels, channels, activation=False)
        # The block starts as the identity, which lets a short schedule use a high rate (Goyal et al. 2017).
        nn.init.zeros_(last.normalization.weight)
        self.body = nn.Sequential(ConvBlock(channels, channels), last)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))
