"""Compact one-stage detectors: a residual trunk, a feature pyramid (Lin et al. 2017) and one head for its levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.compact import at_least
from components.models.families.residual import ResidualBlock
from components.models.forms import BOXES
from components.models.parts.denoising import Denoise
from components.models.parts.layers import ConvBlock, Count, Normalization, Parts
from components.models.registry import register

PRIOR = 0.01  # what an untrained network says of every place and class (Lin et al. 2017): most show nothing
BEGIN = 2.0  # strides from a place to each side of the box that an untrained network says
DEEPEST = 16  # pixels to a place of the trunk's last map, at least: what is around an object says what it is
WIDEST = 4  # times `width`: the channels of a map, at most
TOWER = 2  # convolutions between the pyramid and the head
LARGEST = 4.0  # logarithm of how many times its prior a box is, at most: past it exp is of no use, and then infinite
SIZE = r"[1-9][0-9]*x[1-9][0-9]*"

Stride = Literal[4, 8, 16]
Anchors = Annotated[str, Field(pattern=rf"^({SIZE}(,{SIZE})*)?$")]
Depths = Annotated[str, Field(pattern=r"^([0-9]{1,2}(,[0-9]{1,2})*)?$")]


class Detector(nn.Module):
    """Boxes and class logits at each place of a grid, or of several.

    Without anchors a place says how far the four sides are from it (Tian et al. 2019), in strides by a softplus; with
    them it says one box for each, as moves and stretches of it (Ren et al. 2015).
    """

    priors: Tensor  # (L, 4): centre, width and height in pixels
    strides: Tensor  # (L, 1): pixels to a place

    def __init__(
        self,
        inputs: ImageSpec,
        outputs: int,
        width: int,
        depths: Sequence[int],
        strides: list[int],
        anchors: Anchors,
        seen: int,
        parts: Parts,
    ) -> None:
        super().__init__()
        kind = parts.normalization
        widths = [min(2**level, WIDEST) * width for level in range(len(depths))]
        across = 3 * width
        self.normalize = parts.begin(inputs)
        self.stem = ConvBlock(inputs.channels, width, stride=2, normalize=kind)
        self.fine = nn.Sequential(*(ResidualBlock(width, parts, nn.Identity()) for _ in range(depths[0])))
        self.down = nn.ModuleList(
            _stage(*ends, depth, parts) for ends, depth in zip(pairwise(widths), depths[1:], strict=True)
        )
        self.first = int(math.log2(strides[0]))  # the map that the pyramid ends on; the stem's is 1
        self.levels = len(strides)
        self.lateral = nn.ModuleList(nn.Conv2d(channels, across, 1) for channels in widths[self.first - 1 :])
        self.smooth = nn.ModuleList(ConvBlock(across, across, normalize=kind) for _ in strides)
        ends = pairwise([across] * TOWER + [seen * across])
        self.tower = nn.Sequential(*(ConvBlock(*each, normalize=kind) for each in ends))
        sizes = [tuple(float(side) for side in size.split("x")) for size in anchors.split(",") if size]
        self.anchored, self.size = bool(sizes), (inputs.width, inputs.height)
        self.head = nn.Conv2d(seen * across, max(1, len(sizes)) * (4 + outputs), 1)
        self._begin(outputs)
        priors, own = _priors(inputs, strides, sizes)
        self.register_buffer("priors", priors, persistent=False)
        self.register_buffer("strides", own, persistent=False)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """`(N, C, H, W)` → the trunk's last map `(N, D, h, w)`, and what the head sees `(N, E, places, 1)`."""
        maps = [self.fine(self.stem(self.normalize(images)))]
        for stage in self.down:
            maps.append(stage(maps[-1]))
        x: Tensor | None = None
        levels = []
        for lateral, own in zip(reversed(self.lateral), reversed(maps[self.first - 1 :]), strict=True):
            across = lateral(own)
            x = across if x is None else across + F.interpolate(x, size=across.shape[2:], mode="nearest")
            levels.append(x)
        chosen = reversed(levels[-self.levels :])
        seen = [self.tower(smooth(level)).flatten(2) for smooth, level in zip(self.smooth, chosen, strict=True)]
        return maps[-1], torch.cat(seen, dim=2).unsqueeze(3)

    def embed(self, images: Tensor) -> Tensor:
        return self.features(images)[0].mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` → `(N, L, 8 + C)` float32: priors, boxes and logits, all anchors of a place side by side."""
        raw = cast(Tensor, self.head(self.features(images)[1])).float().squeeze(3).transpose(1, 2)
        each = self.head.out_channels * raw.shape[1] // len(self.priors)
        told = raw.reshape(-1, len(self.priors), each)
        # By its shape: the length of a tensor is a plain number, which an exported graph would keep.
        priors = self.priors.expand(told.shape[0], -1, -1)
        return torch.cat([priors, self._boxes(told[..., :4]), told[..., 4:]], dim=2)

    def blocks(self) -> list[list[str]]:
        """Names of parameters by block, from the first layer to the last before the head."""
        pyramid = [*(f"lateral.{i}" for i in range(len(self.lateral))), *(f"smooth.{i}" for i in range(self.levels))]
        tower = [f"tower.{i}" for i in range(TOWER)]
        first = ["stem", *(["fine"] if len(self.fine) else [])]
        layers = [first, *([f"down.{i}"] for i in range(len(self.down))), pyramid, *([name] for name in tower)]
        return [
            [f"{layer}.{name}" for layer in block for name, _ in self.get_submodule(layer).named_parameters()]
            for block in layers
        ]

    def _boxes(self, told: Tensor) -> Tensor:
        """`(N, L, 4)` of the head → left, top, right, bottom in pixels; within the picture once it is trained."""
        centres = self.priors[:, :2]
        if self.anchored:
            sizes = self.priors[:, 2:]
            middle = centres + told[..., :2] * sizes
            half = torch.exp(told[..., 2:].clamp_max(LARGEST)) * sizes / 2
            boxes = torch.cat([middle - half, middle + half], dim=2)
        else:
            sides = F.softplus(told) * self.strides
            boxes = torch.cat([centres - sides[..., :2], centres + sides[..., 2:]], dim=2)
        if self.training:
            return boxes  # a side that is cut off would have no gradient
        most = torch.tensor([*self.size, *self.size], dtype=boxes.dtype, device=boxes.device)
        return torch.minimum(boxes.clamp_min(0.0), most)

    def _begin(self, outputs: int) -> None:
        """An untrained network says little else than the prior, of the places as of the classes."""
        nn.init.normal_(self.head.weight, std=0.01)
        bias = torch.zeros(self.head.out_channels // (4 + outputs), 4 + outputs)
        bias[:, 4:] = -math.log((1.0 - PRIOR) / PRIOR)
        if not self.anchored:
            bias[:, :4] = math.log(math.expm1(BEGIN))
        with torch.no_grad():
            cast(Tensor, self.head.bias).copy_(bias.flatten())


def _stage(inputs: int, outputs: int, blocks: int, parts: Parts) -> nn.Sequential:
    """Half the resolution, then residual blocks."""
    first = ConvBlock(inputs, outputs, stride=2, normalize=parts.normalization)
    return nn.Sequential(first, *(ResidualBlock(outputs, parts, nn.Identity()) for _ in range(blocks)))


def _priors(inputs: ImageSpec, strides: list[int], sizes: list[tuple[float, ...]]) -> tuple[Tensor, Tensor]:
    """`(L, 4)` and `(L, 1)`: level by level, row by row; without anchors a prior is a place's own square."""
    priors, own = [], []
    for stride in strides:
        rows, columns = (math.ceil(side / stride) for side in (inputs.height, inputs.width))
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        centres = torch.stack([x, y], dim=2).reshape(-1, 1, 2) * stride
        these = torch.tensor(sizes or [(stride, stride)], dtype=torch.float32)
        both = torch.cat([centres.expand(-1, len(these), -1), these.expand(len(centres), -1, -1)], dim=2)
        priors.append(both.reshape(-1, 4))
        own.append(torch.full((len(priors[-1]), 1), float(stride)))
    return torch.cat(priors), torch.cat(own)


@register("detector", gives=BOXES)
def detector(
    inputs: ImageSpec,
    outputs: int,
    width: Count = 16,  # channels of the stem; the trunk ends with four times as many
    blocks: Count = 1,  # residual blocks after each halving
    stride: Stride = 8,  # pixels from place to place of the finest grid
    levels: Literal[1, 2, 3] = 1,  # how many grids there are, each twice as coarse as the one before it
    anchors: Anchors = "",  # boxes to begin with, as "16x16,32x24": widths and heights in pixels; empty: none
    attention: Literal["none", "se", "cbam"] = "none",  # se: squeeze-and-excitation; cbam: channels, then places
    normalization: Normalization = "batch",
    denoise: Denoise = "none",
    depths: Depths = "",  # residual blocks of each map, as "1,2,2,0", from the stem's on; empty: 0, then `blocks`
    seen: Literal[1, 2, 3] = 1,  # how many times as wide as the pyramid is what the head sees
) -> nn.Module:
    """A box and a logit per class at every place of a grid of `stride` pixels, and of grids twice as coarse each.

    `levels` is how many grids there are: a second one suits objects of more than some eight strides. `blocks` residual
    blocks follow each halving, of `width` channels in the stem to 4·width, or so many as `depths` says. `anchors`, as
    "16x16,32x24", are widths and heights in pixels of boxes to begin with, of which every place has one each. An object
    that is narrower than the stride may lie between all places. Images must have at least 8×8 pixels.
    """
    at_least("detector", inputs, 8)
    strides = [stride * 2**level for level in range(levels)]
    maps = int(math.log2(max(DEEPEST, 2 * strides[-1])))
    each = [int(depth) for depth in depths.split(",") if depth] or [0, *[blocks] * (maps - 1)]
    if len(each) != maps:
        raise ValueError(f"network.arguments.depths: expected {maps} numbers, one a map, received {depths!r}")
    parts = Parts(attention=attention, normalization=normalization, denoise=denoise)
    return Detector(inputs, outputs, width, each, strides, anchors, seen, parts)
