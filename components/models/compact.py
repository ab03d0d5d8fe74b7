"""What the compact families share: a chain of layers, a choice of pooling, dropout and a linear head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.parts.layers import Parts
from components.models.parts.pooling import pool


class Compact(nn.Module):
    """`features` `(N, C, H, W)` → `(N, D, h, w)`, pooled to the embedding `(N, D)`, from which `head` makes outputs."""

    def __init__(self, features: Sequence[nn.Module], channels: int, outputs: int, parts: Parts) -> None:
        super().__init__()
        self.features = nn.Sequential(*features, *parts.end(channels))
        self.pool = pool(parts.pooling)
        self.dropout = nn.Dropout(parts.dropout) if parts.dropout else nn.Identity()
        self.head = nn.Linear(channels, outputs)

    def embed(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.dropout(self.pool(self.features(images))))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.embed(images)))

    def stages(self) -> list[tuple[str, nn.Module]]:
        """The layers in order, by the names that their weights have in the network's state."""
        features = [(f"features.{name}", layer) for name, layer in self.features.named_children()]
        return [*features, ("pool", self.pool), ("dropout", self.dropout), ("head", self.head)]


def at_least(name: str, inputs: ImageSpec, pixels: int) -> None:
    """Raise ValueError for images that would have no pixel left at the end."""
    if min(inputs.height, inputs.width) < pixels:
        raise ValueError(
            f"{name}: expected images of at least {pixels}×{pixels} pixels, received {inputs.height}×{inputs.width}"
        )
