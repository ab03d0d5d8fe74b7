"""Compact ConvNeXts (Liu et al. 2022): large depthwise kernels and a wide 1×1 pair, with a stem for small images.

Where the paper normalises each place over its channels, this takes the normalisation that `parts` names.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.compact import Compact, at_least
from components.models.parts.layers import Count, Parts
from components.models.registry import register

STAGES = 2
KERNEL = 7
EXPANSION = 4
SCALE = 1e-6  # the paper's: a block starts as nearly the identity


class ConvNeXtBlock(nn.Module):
    """Depthwise 7×7, normalisation, 1×1 to four times the channels, GELU, 1×1 back, scaled; around it the identity."""

    def __init__(self, channels: int, parts: Parts, drop: nn.Module) -> None:
        super().__init__()
        padding = KERNEL // 2 * parts.dilation
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, KERNEL, padding=padding, dilation=parts.dilation, groups=channels),
            parts.normalize(channels),
            nn.Conv2d(channels, EXPANSION * channels, 1),
            nn.GELU(),
            nn.Conv2d(EXPANSION * channels, channels, 1),
            *parts.branch(channels),
        )
        self.scale = nn.Parameter(torch.full((channels,), SCALE))
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        return x + cast(Tensor, self.drop(self.body(x) * self.scale.view(1, -1, 1, 1)))


@register("convnext")
def convnext(
    inputs: ImageSpec,
    outputs: int,
    parts: Parts,
    width: Count = 32,  # channels of the first stage; the second has twice as many
    blocks: Count = 2,  # of a stage
    stride: Count = 2,  # side of a patch, pixels
) -> nn.Module:
    """Patches of `stride`×`stride` pixels, then two stages of `blocks` blocks, a halving between them.

    `width` channels in the first stage, 2·width in the second. Images must have at least 2×2 pixels times `stride`.
    """
    at_least("convnext", inputs, 2 * stride)
    layers: list[nn.Module] = [
        parts.begin(inputs),
        nn.Sequential(nn.Conv2d(inputs.channels, width, stride, stride=stride), parts.normalize(width)),
    ]
    for stage in range(STAGES):
        channels = width * 2**stage
        if stage:
            halved = nn.Conv2d(channels // 2, channels, 2, stride=2)
            layers.append(nn.Sequential(parts.normalize(channels // 2), halved))
        before = stage * blocks
        layers += [ConvNeXtBlock(channels, parts, parts.drop(before + b + 1, STAGES * blocks)) for b in range(blocks)]
    layers.append(parts.normalize(width * 2 ** (STAGES - 1)))
    return Compact(layers, width * 2 ** (STAGES - 1), outputs, parts)
