"""Compact MobileNets: inverted residuals around depthwise convolutions (Sandler et al. 2018), for small images.

With `attention: se` and its place behind the depthwise convolution, the block is MobileNetV3's (Howard et al. 2019).
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.compact import Compact, at_least
from components.models.parts.layers import ConvBlock, Count, Parts
from components.models.registry import register

STAGES = 3
LAST = 4  # the embedding's channels, in those of the last stage: MobileNetV2's 1280 : 320


class InvertedResidual(nn.Module):
    """1×1 to `expansion` times the channels, depthwise 3×3, 1×1 back without activation; around it the identity."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, parts: Parts, drop: nn.Module) -> None:
        super().__init__()
        kind, inner = parts.normalization, inputs * expansion
        self.body = nn.Sequential(
            ConvBlock(inputs, inner, kernel=1, normalize=kind),
            ConvBlock(inner, inner, stride=stride, dilation=parts.dilation, groups=inner, normalize=kind),
            *parts.branch(inner),
            ConvBlock(inner, outputs, kernel=1, activation=False, normalize=kind),
        )
        self.same = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        found = cast(Tensor, self.body(x))
        return x + self.drop(found) if self.same else found


@register("mobilenet")
def mobilenet(
    inputs: ImageSpec,
    outputs: int,
    parts: Parts,
    width: Count = 16,  # channels of the stem; doubled in each further stage
    blocks: Count = 2,  # of a stage
    stride: Count = 1,  # of the first convolution
    expansion: Count = 4,  # how many times as many channels a block has inside
) -> nn.Module:
    """Stem, three stages of `blocks` inverted residuals at 1, 1/2 and 1/4 of its resolution, 1×1 to the embedding.

    `width` channels in the stem and the first stage, doubled in each further one. Images must have at least 4×4 pixels
    times `stride`.
    """
    at_least("mobilenet", inputs, 4 * stride)
    kind, channels = parts.normalization, width
    layers: list[nn.Module] = [parts.begin(inputs), ConvBlock(inputs.channels, width, stride=stride, normalize=kind)]
    for stage in range(STAGES):
        for block in range(blocks):
            halved = 2 if stage and not block else 1
            drop = parts.drop(stage * blocks + block + 1, STAGES * blocks)
            layers.append(InvertedResidual(channels, width * 2**stage, halved, expansion, parts, drop))
            channels = width * 2**stage
    layers.append(ConvBlock(channels, LAST * channels, kernel=1, normalize=kind))
    return Compact(layers, LAST * channels, outputs, parts)
