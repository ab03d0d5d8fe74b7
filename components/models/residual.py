"""Compact residual networks with a stem for small images: full resolution once, then two halvings."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from components.artifacts import InputSpec
from components.models.layers import ConvBlock, Normalize, ResidualBlock
from components.models.registry import register


class Residual(nn.Module):
    """Stem, two stages of `blocks` residual blocks at 1/2 and 1/4 of its resolution, mean pooling, linear head."""

    def __init__(self, inputs: InputSpec, outputs: int, width: int, blocks: int, stride: int) -> None:
        super().__init__()
        stages: list[nn.Module] = [Normalize(inputs), ConvBlock(inputs.channels, width, stride=stride)]
        for stage in (1, 2):
            stages += [ConvBlock(width * stage, width * stage * 2), nn.MaxPool2d(2)]
            stages += [ResidualBlock(width * stage * 2) for _ in range(blocks)]
        self.features = nn.Sequential(*stages)
        self.head = nn.Linear(width * 4, outputs)

    def embed(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.features(images)).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.embed(images)))


@register("residual")
def residual(inputs: InputSpec, outputs: int, width: int = 32, blocks: int = 1, stride: int = 1) -> nn.Module:
    """`width` channels in the stem, 2·width and 4·width in the stages; `stride` 2 in the stem costs a quarter.

    Images must have at least 4×4 pixels, 8×8 with stride 2.
    """
    least = 4 * stride
    if min(inputs.height, inputs.width) < least:
        raise ValueError(
            f"residual: expected images of at least {least}×{least} pixels, received {inputs.height}×{inputs.width}"
        )
    return Residual(inputs, outputs, width, blocks, stride)
