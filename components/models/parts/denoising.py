"""What takes noise out of pictures before the network sees them; part of the graph, so that serving does the same."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Denoise = Literal["none", "median", "gaussian"]

# Of nine values the median is the middle of: the greatest of the columns' least, the median of their medians, the least
# of their greatest (Devillard 1998). Nothing but minima and maxima, which every engine has.


class Median(nn.Module):
    """Each pixel becomes the median of itself and its eight neighbours; edges are repeated."""

    def forward(self, images: Tensor) -> Tensor:
        edged = F.pad(images, (1, 1, 1, 1), mode="replicate")
        height, width = images.shape[2:]
        columns = []
        for across in range(3):
            column = [edged[:, :, down : down + height, across : across + width] for down in range(3)]
            columns.append(_ordered(*column))
        least, middle, greatest = zip(*columns, strict=True)
        return _median(
            torch.maximum(torch.maximum(least[0], least[1]), least[2]),
            _median(*middle),
            torch.minimum(torch.minimum(greatest[0], greatest[1]), greatest[2]),
        )


class Gaussian(nn.Module):
    """A blur by 1-2-1 in both directions, a deviation of 0.85 pixels; edges are repeated."""

    weight: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        one = torch.tensor([1.0, 2.0, 1.0]) / 4.0
        self.register_buffer("weight", torch.outer(one, one).expand(channels, 1, 3, 3).clone(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        edged = F.pad(images, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(edged, self.weight.to(images.dtype), groups=images.shape[1])


def denoise(kind: Denoise, channels: int) -> nn.Module | None:
    """The layer of that name; None for none."""
    match kind:
        case "median":
            return Median()
        case "gaussian":
            return Gaussian(channels)
    return None


def _ordered(one: Tensor, two: Tensor, three: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Least, median and greatest of three, place by place."""
    least, most = torch.minimum(one, two), torch.maximum(one, two)
    return torch.minimum(least, three), _median(one, two, three), torch.maximum(most, three)


def _median(one: Tensor, two: Tensor, three: Tensor) -> Tensor:
    least, most = torch.minimum(one, two), torch.maximum(one, two)
    return torch.maximum(least, torch.minimum(most, three))
