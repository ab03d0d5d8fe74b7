"""Compact U-Nets (Ronneberger et al. 2015): an encoder, a decoder, and a bridge at every resolution."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from components.artifacts import InputSpec
from components.models.layers import ConvBlock, Normalize
from components.models.registry import register


class UNet(nn.Module):
    """`depth` halvings with the channels doubled at each, and the way back up by nearest-neighbour resizing."""

    def __init__(self, inputs: InputSpec, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth + 1)]
        self.normalize = Normalize(inputs)
        self.down = nn.ModuleList(
            nn.Sequential(ConvBlock(before, after), ConvBlock(after, after))
            for before, after in zip([inputs.channels, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                ConvBlock(channels[level + 1] + channels[level], channels[level]),
                ConvBlock(channels[level], channels[level]),
            )
            for level in reversed(range(depth))
        )
        self.pool = nn.MaxPool2d(2)
        self.resize = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(width, outputs, 1)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, C, H, W)` → deepest features `(N, width·2^depth, H/2^depth, …)`, finest `(N, width, H, W)`."""
        x = self.down[0](self.normalize(images))
        bridges = []
        for level in list(self.down)[1:]:
            bridges.append(x)
            x = level(self.pool(x))
        deepest = x
        for level, bridge in zip(self.up, reversed(bridges), strict=True):
            x = level(torch.cat([self.resize(x), bridge], dim=1))
        return deepest, x

    def embed(self, images: Tensor) -> Tensor:
        return self.features(images)[0].mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.features(images)[1]))


@register("unet")
def unet(inputs: InputSpec, outputs: int, width: int = 16, depth: int = 2) -> nn.Module:
    """`width` channels at full resolution; height and width must be multiples of 2^depth."""
    if inputs.height % 2**depth or inputs.width % 2**depth:
        raise ValueError(
            f"unet: expected height and width that are multiples of {2**depth}, "
            f"received {inputs.height}×{inputs.width};"
            " lower `depth`, or declare another `image:` size with `resize: true`"
        )
    return UNet(inputs, outputs, width, depth)
