"""Parts that several families are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.parts.attention import (
    Attention,
    ChannelAttention,
    SelfAttention,
    SpatialAttention,
    SqueezeExcitation,
)
from components.models.parts.denoising import Denoise, denoise
from components.models.parts.pooling import Pooling

Normalization = Literal["batch", "group"]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]

# Wu & He 2018: 32 groups; groups of fewer than 4 channels would leave nothing of a map of one pixel.
GROUPS = 32
GROUP_WIDTH = 4


@dataclass(frozen=True)
class Parts:
    """The arguments that every compact network takes, beside its own."""

    # se: squeeze-and-excitation; cbam: channels, then places; self: self-attention once, after the last block
    attention: Attention = "none"
    # how the last feature map becomes a vector; gem: the generalized mean, whose exponent is learnt
    pooling: Pooling = "average"
    dropout: Probability = 0.0  # of the embedding's components
    stochastic_depth: Probability = 0.0  # of the last block's branch; earlier ones less, linearly (Huang et al. 2016)
    dilation: Count = 1  # of the blocks' convolutions: 2 sees twice as far for the same price
    # group: no statistics over the batch, so that a loss does not depend on how the batch was cut
    normalization: Normalization = "batch"
    denoise: Denoise = "none"  # of the pictures, before anything else

    def begin(self, inputs: ImageSpec) -> nn.Module:
        """What a picture passes first: its noise is taken out, where that is asked for, and it is normalised."""
        first = denoise(self.denoise, inputs.channels)
        return Normalize(inputs) if first is None else nn.Sequential(first, Normalize(inputs))

    def normalize(self, channels: int) -> nn.Module:
        """The normalisation for that many channels."""
        return normalization(self.normalization, channels)

    def branch(self, channels: int) -> list[nn.Module]:
        """What stands at the end of every block's branch: at most one layer."""
        if self.attention == "se":
            return [SqueezeExcitation(channels)]
        if self.attention == "cbam":
            spatial = SpatialAttention(normalization(self.normalization, 1))
            return [nn.Sequential(ChannelAttention(channels), spatial)]
        return []

    def end(self, channels: int) -> list[nn.Module]:
        """What stands after the last block: at most one layer."""
        return [SelfAttention(channels, self.normalize(channels))] if self.attention == "self" else []

    def drop(self, block: int, blocks: int) -> nn.Module:
        """What a block's branch passes through; `block` is counted from 1 over the whole network."""
        rate = self.stochastic_depth * block / blocks
        return StochasticDepth(rate) if rate else nn.Identity()


def normalization(kind: Normalization, channels: int) -> nn.Module:
    """Batch or group normalisation (Ioffe & Szegedy 2015, Wu & He 2018)."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    most = max(1, min(GROUPS, channels // GROUP_WIDTH))
    return nn.GroupNorm(next(groups for groups in range(most, 0, -1) if channels % groups == 0), channels)


class Normalize(nn.Module):
    """`(x − mean) / std` a channel, with the training split's statistics: so serving cannot disagree."""

    mean: Tensor
    std: Tensor

    def __init__(self, inputs: ImageSpec) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(inputs.mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(inputs.std, dtype=torch.float32).clamp_min(1e-3).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class StochasticDepth(nn.Module):
    """In training, a sample's branch is left out with probability `rate`, and scaled to its mean where it is not."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = torch.empty((len(x), *[1] * (x.ndim - 1)), dtype=x.dtype, device=x.device).bernoulli_(1.0 - self.rate)
        return x * kept.div_(1.0 - self.rate)


class ConvBlock(nn.Module):
    """3×3 (or `kernel`) convolution, batch (or group) normalisation and, unless told otherwise, ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: bool = True,
        normalize: Normalization = "batch",
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=kernel // 2 * dilation,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        self.normalization = normalization(normalize, outputs)
        self.activation = nn.ReLU(inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.activation(self.normalization(self.convolution(x))))
