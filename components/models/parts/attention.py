"""Attention that any compact network can take: `(N, C, H, W)` → the same shape.

`se` and `cbam` stand at the end of every block's branch, `self` once after the last block, where the map is smallest:
its cost is quadratic in the number of pixels.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Attention = Literal["none", "se", "cbam", "self"]

# Hu et al. 2018, table 10: 8 and 16 differ by less than a tenth of a point; compact networks are narrow.
REDUCTION = 8
LEAST_HIDDEN = 4
SPATIAL_KERNEL = 7  # Woo et al. 2018, table 2
HEAD_WIDTH = 32  # channels of a head


def _hidden(channels: int) -> int:
    return max(LEAST_HIDDEN, channels // REDUCTION)


class SqueezeExcitation(nn.Module):
    """Each channel is scaled by what all channels' means say (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, _hidden(channels), 1)
        self.excite = nn.Conv2d(_hidden(channels), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.excite(torch.relu(self.squeeze(x.mean(dim=(2, 3), keepdim=True))))
        return x * torch.sigmoid(scale)


class ChannelAttention(nn.Module):
    """CBAM's first half: as squeeze-and-excitation, by the channels' means and maxima (Woo et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, _hidden(channels), 1, bias=False)
        self.excite = nn.Conv2d(_hidden(channels), channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, most = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        scale = self.excite(torch.relu(self.squeeze(mean))) + self.excite(torch.relu(self.squeeze(most)))
        return x * torch.sigmoid(scale)


class SpatialAttention(nn.Module):
    """CBAM's second half: each place is scaled by what the mean and the maximum over channels around it say."""

    def __init__(self, normalization: nn.Module) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 1, SPATIAL_KERNEL, padding=SPATIAL_KERNEL // 2, bias=False)
        self.normalization = normalization

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.normalization(self.convolution(seen)))


class SelfAttention(nn.Module):
    """Every place looks at every other: `x + project(softmax(q·kᵀ/√d)·v)`, with several heads (Vaswani et al. 2017).

    As Wang et al. 2018 ("Non-local neural networks") put it behind convolutions: it starts as the identity.
    """

    def __init__(self, channels: int, normalization: nn.Module) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(1, channels // HEAD_WIDTH), 0, -1) if channels % heads == 0)
        self.normalization = normalization
        self.mix = nn.Conv2d(channels, 3 * channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        for parameter in self.project.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        channels, height, width = x.shape[1:]
        mixed = self.mix(self.normalization(x)).reshape(-1, 3, self.heads, channels // self.heads, height * width)
        query, key, value = (part.squeeze(1).transpose(2, 3) for part in mixed.split(1, dim=1))
        seen = F.scaled_dot_product_attention(query, key, value)  # (N, heads, places, channels a head)
        return x + cast(Tensor, self.project(seen.transpose(2, 3).reshape(-1, channels, height, width)))
