"""Compact residual networks with a stem for small images: full resolution once, then two halvings."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.compact import Compact, at_least
from components.models.parts.layers import ConvBlock, Count, Parts
from components.models.registry import register


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around an identity (He et al. 2016)."""

    def __init__(self, channels: int, parts: Parts, drop: nn.Module) -> None:
        super().__init__()
        kind, dilation = parts.normalization, parts.dilation
        last = ConvBlock(channels, channels, activation=False, normalize=kind, dilation=dilation)
        # The block starts as the identity, which lets a short schedule use a high rate (Goyal et al. 2017).
        nn.init.zeros_(last.normalization.weight)  # type: ignore[arg-type]
        first = ConvBlock(channels, channels, normalize=kind, dilation=dilation)
        self.body = nn.Sequential(first, last, *parts.branch(channels))
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.drop(self.body(x)))


@register("residual")
def residual(
    inputs: ImageSpec,
    outputs: int,
    parts: Parts,
    width: Count = 32,  # channels of the stem; the first stage has twice as many
    blocks: Count = 1,  # of a stage
    stride: Count = 1,  # of the first convolution; 2 costs a quarter
    last: Count | None = None,  # channels of the second stage; None: 4·width
) -> nn.Module:
    """Stem, two stages of `blocks` residual blocks at 1/2 and 1/4 of its resolution.

    `width` channels in the stem, 2·width in the first stage, 4·width, or `last`, in the second; `stride` 2 in the stem
    costs a quarter. Images must have at least 4×4 pixels, 8×8 with stride 2.
    """
    at_least("residual", inputs, 4 * stride)
    kind = parts.normalization
    layers: list[nn.Module] = [parts.begin(inputs), ConvBlock(inputs.channels, width, stride=stride, normalize=kind)]
    widths = (width, 2 * width, last or 4 * width)
    for stage, (narrow, channels) in enumerate(pairwise(widths)):
        layers += [ConvBlock(narrow, channels, normalize=kind), nn.MaxPool2d(2)]
        before = stage * blocks
        layers += [ResidualBlock(channels, parts, parts.drop(before + b + 1, 2 * blocks)) for b in range(blocks)]
    return Compact(layers, widths[-1], outputs, parts)
