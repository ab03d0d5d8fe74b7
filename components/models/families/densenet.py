"""Compact densely connected networks: a layer sees what all before it in its block have found (Huang et al. 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.compact import Compact, at_least
from components.models.parts.layers import Count, Parts
from components.models.registry import register

BLOCKS = 3
BOTTLENECK = 4  # the 1×1 convolution's channels, in growth rates: DenseNet-B's


class DenseLayer(nn.Module):
    """`(N, C, H, W)` → `(N, C + growth, H, W)`: normalised, through 1×1 and 3×3, beside what came in."""

    def __init__(self, channels: int, growth: int, parts: Parts, drop: nn.Module) -> None:
        super().__init__()
        inner = BOTTLENECK * growth
        self.body = nn.Sequential(
            parts.normalize(channels),
            nn.ReLU(),
            nn.Conv2d(channels, inner, 1, bias=False),
            parts.normalize(inner),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, growth, 3, padding=parts.dilation, dilation=parts.dilation, bias=False),
            *parts.branch(growth),
        )
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.drop(self.body(x))], dim=1)


@register("densenet")
def densenet(
    inputs: ImageSpec,
    outputs: int,
    parts: Parts,
    width: Count = 12,  # channels that each layer adds
    blocks: Count = 4,  # layers of a dense block, of which there are three
    stride: Count = 1,  # of the first convolution
) -> nn.Module:
    """DenseNet-BC: stem, three dense blocks of `blocks` layers that add `width` channels each, halvings between them.

    Between two blocks channels and resolution are halved. Images must have at least 4×4 pixels times `stride`.
    """
    at_least("densenet", inputs, 4 * stride)
    channels = 2 * width
    layers: list[nn.Module] = [
        parts.begin(inputs),
        nn.Conv2d(inputs.channels, channels, 3, stride=stride, padding=1, bias=False),
    ]
    for block in range(BLOCKS):
        for layer in range(blocks):
            drop = parts.drop(block * blocks + layer + 1, BLOCKS * blocks)
            layers.append(DenseLayer(channels, width, parts, drop))
            channels += width
        if block + 1 < BLOCKS:
            halved = [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
            layers.append(nn.Sequential(parts.normalize(channels), nn.ReLU(), *halved))
            channels //= 2
    layers.append(nn.Sequential(parts.normalize(channels), nn.ReLU()))
    return Compact(layers, channels, outputs, parts)
