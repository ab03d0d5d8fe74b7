"""Convolutions over texts (Kim 2014), of which padding is no part: an answer depends on a text's own units alone."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from components.artifacts import TextSpec
from components.models.parts.layers import Count, Probability
from components.models.parts.tables import Vectors, beside, looked_up, table
from components.models.registry import register
from components.tokenizing import PADDING

# Numbers of neighbours that a filter sees, as "3,4,5".
Kernels = Annotated[str, Field(pattern=r"^[1-9]\d?(,[1-9]\d?)*$")]
Pool = Literal["max", "attention", "mean"]

FAR = 1e4  # of a score that comes to nothing in a softmax, and that half precision can hold


class TextCNN(nn.Module):
    """Vectors of units, filters over neighbours side by side, dilated blocks where there are some, one pooled vector.

    Behind a text's end all maps are 0, so that no layer sees a difference between little padding and much. A text
    without any unit has the embedding 0.
    """

    def __init__(
        self,
        inputs: TextSpec,
        outputs: int,
        dimension: int,
        width: int,
        kernels: list[int],
        depth: int,
        pool: Pool,
        vectors: Vectors,
    ) -> None:
        super().__init__()
        channels = width * len(kernels)
        self.embedding = table(inputs.numbers, dimension, vectors)
        self.frozen = beside(self.embedding, vectors)
        seen = dimension if self.frozen is None else 2 * dimension
        self.filters = nn.ModuleList(nn.Conv1d(seen, width, kernel, padding=kernel // 2) for kernel in kernels)
        self.blocks = nn.ModuleList(Dilated(channels, 2**block) for block in range(depth))
        self.pool = pool
        self.score = nn.Conv1d(channels, 1, 1) if pool == "attention" else None
        self.dropout: nn.Module = nn.Identity()
        self.head = nn.Linear(channels, outputs)

    def features(self, numbers: Tensor) -> Tensor:
        """int64 `(N, L)` → `(N, D, L)`, none below 0, and 0 behind each text's end."""
        vectors = looked_up(self.embedding, self.frozen, numbers).transpose(1, 2)
        there = _there(numbers, vectors.dtype)
        length = numbers.shape[1]  # an even filter over padded neighbours gives one more
        maps = torch.cat([one(vectors * there)[..., :length] for one in self.filters], dim=1)
        maps = F.relu(maps) * there
        for block in self.blocks:
            maps = F.relu(maps + block(maps, there)) * there
        return maps

    def embed(self, numbers: Tensor) -> Tensor:
        """int64 `(N, L)` → `(N, D)`."""
        maps = self.features(numbers)
        there = _there(numbers, maps.dtype)
        if self.pool == "max":
            pooled = maps.amax(dim=2)  # none is below 0, so padding is never more than what is there
        elif self.score is None:
            pooled = maps.sum(dim=2) / there.sum(dim=2).clamp(min=1.0)
        else:
            scores = self.score(maps) * there - FAR * (1.0 - there)
            pooled = (maps * scores.softmax(dim=2)).sum(dim=2)
        return cast(Tensor, self.dropout(pooled))

    def forward(self, numbers: Tensor) -> Tensor:
        """int64 `(N, L)` → `(N, K)`."""
        return cast(Tensor, self.head(self.embed(numbers)))


class Dilated(nn.Module):
    """What is added to `(N, D, L)`: two filters over three places that lie `dilation` apart (Strubell et al. 2017).

    Without normalisation, whose statistics would count padding; the second filter starts at 0, so a block starts as the
    identity (Zhang et al. 2019).
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
        nn.init.zeros_(self.second.weight)

    def forward(self, maps: Tensor, there: Tensor) -> Tensor:
        return cast(Tensor, self.second(F.relu(self.first(maps)) * there))


@register("textcnn", takes="text")
def textcnn(
    inputs: TextSpec,
    outputs: int,
    dimension: Count = 64,  # of the vector that each unit has
    width: Count = 64,  # filters of each length
    kernels: Kernels = "3,4,5",  # lengths of the filters, in units
    # residual blocks behind the filters, each of which sees twice as far as the one before it
    depth: Annotated[int, Field(ge=0, le=8)] = 0,
    pool: Pool = "max",  # how the places' vectors become one: the most, the mean, or a mean whose weights are learnt
    dropout: Probability = 0.5,  # probability that a component of the text's vector is left out in training
    # the units' vectors are trained, stay as they begin, or are there twice, once either way (Kim 2014)
    vectors: Vectors = "trained",
) -> nn.Module:
    """`width` filters of each of `kernels` over vectors of `dimension`, then `depth` blocks that see ever farther.

    `pool` makes a text's vector of its places': by the most of each component (`max`), the mean, or a mean whose
    weights are learnt (`attention`). `dropout` leaves out components of it, half of them in the paper. `vectors` says
    whether those of the units are trained, which matters where they come from a file (`pretrained: vectors:PATH`).
    """
    lengths = [int(kernel) for kernel in kernels.split(",")]
    network = TextCNN(inputs, outputs, dimension, width, lengths, depth, pool, vectors)
    if dropout:
        network.dropout = nn.Dropout(dropout)
    return network


def _there(numbers: Tensor, kind: torch.dtype) -> Tensor:
    """`(N, 1, L)`: 1 where a text has a unit, 0 behind its end."""
    return (numbers != PADDING).to(kind).unsqueeze(1)
