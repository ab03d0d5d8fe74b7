"""Compact U-Nets (Ronneberger et al. 2015): an encoder, a decoder, and a bridge at every resolution."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.forms import MAP
from components.models.parts.denoising import Denoise
from components.models.parts.layers import ConvBlock, Count, Normalization, Parts
from components.models.registry import register


class UNet(nn.Module):
    """`depth` halvings with the channels doubled at each, and the way back up by nearest-neighbour resizing."""

    def __init__(self, inputs: ImageSpec, outputs: int, width: int, depth: int, parts: Parts) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth + 1)]
        self.normalize = parts.begin(inputs)
        self.down = nn.ModuleList(
            _pair(before, after, parts) for before, after in zip([inputs.channels, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(
            _pair(channels[level + 1] + channels[level], channels[level], parts) for level in reversed(range(depth))
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

    def blocks(self) -> list[list[str]]:
        """Names of parameters by block, from the first layer to the last before the head."""
        levels = [*(f"down.{i}" for i in range(len(self.down))), *(f"up.{i}" for i in range(len(self.up)))]
        return [[f"{level}.{name}" for name, _ in self.get_submodule(level).named_parameters()] for level in levels]


def _pair(inputs: int, outputs: int, parts: Parts) -> nn.Sequential:
    kind = parts.normalization
    first, second = (ConvBlock(channels, outputs, normalize=kind) for channels in (inputs, outputs))
    return nn.Sequential(first, second, *parts.branch(outputs))


@register("unet", gives=MAP)
def unet(
    inputs: ImageSpec,
    outputs: int,
    width: Count = 16,  # channels at full resolution; doubled at each halving
    depth: Count = 2,  # halvings; height and width must be multiples of 2^depth
    attention: Literal["none", "se", "cbam"] = "none",  # se: squeeze-and-excitation; cbam: channels, then places
    normalization: Normalization = "batch",
    denoise: Denoise = "none",
) -> nn.Module:
    """`width` channels at full resolution; height and width must be multiples of 2^depth.

    Of the arguments that compact networks share, it takes those that make sense in a decoder too.
    """
    if inputs.height % 2**depth or inputs.width % 2**depth:
        raise ValueError(
            f"unet: expected height and width that are multiples of {2**depth}, "
            f"received {inputs.height}×{inputs.width};"
            " lower `depth`, or declare another `image:` size with `fit: stretch`"
        )
    return UNet(inputs, outputs, width, depth, Parts(attention=attention, normalization=normalization, denoise=denoise))
