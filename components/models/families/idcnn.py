"""Iterated dilated convolutions (Strubell et al. 2017): for each unit of a text what it is, by what stands around it.

Padding is no part of it: an answer depends on a text's own units alone.
"""

from __future__ import annotations

from typing import Annotated, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from components.artifacts import TextSpec
from components.models.forms import SEQUENCE
from components.models.parts.layers import Count, Probability
from components.models.parts.tables import Vectors, beside, looked_up, table
from components.models.registry import register
from components.tokenizing import PADDING

# How far apart the three neighbours lie that each layer of a block sees, as "1,2,4".
Dilations = Annotated[str, Field(pattern=r"^[1-9]\d{0,2}(,[1-9]\d{0,2})*$")]

SHARE = 0.1  # of a layer's usual weights, beside the identity that it begins as


class IteratedDilated(nn.Module):
    """Vectors of units, a filter over three neighbours, and one block of dilated filters that is passed several times.

    Behind a text's end all maps are 0, so that no layer sees a difference between little padding and much; so are the
    outputs there.
    """

    def __init__(
        self,
        inputs: TextSpec,
        outputs: int,
        dimension: int,
        width: int,
        dilations: list[int],
        iterations: int,
        vectors: Vectors,
    ) -> None:
        super().__init__()
        self.embedding = table(inputs.numbers, dimension, vectors)
        self.frozen = beside(self.embedding, vectors)
        self.first = nn.Conv1d(dimension if self.frozen is None else 2 * dimension, width, 3, padding=1)
        self.block = nn.ModuleList(nn.Conv1d(width, width, 3, padding=each, dilation=each) for each in dilations)
        for layer in self.block:
            _identity(cast(nn.Conv1d, layer))
        self.iterations = iterations
        self.dropout: nn.Module = nn.Identity()
        self.head = nn.Conv1d(width, outputs, 1)

    def features(self, numbers: Tensor) -> Tensor:
        """int64 `(N, L)` → `(N, D, L)`, none below 0, and 0 behind each text's end."""
        there = _there(numbers, self.first.weight.dtype)
        vectors = looked_up(self.embedding, self.frozen, numbers)
        vectors = self.dropout(vectors).transpose(1, 2) * there
        maps = F.relu(self.first(vectors)) * there
        for _ in range(self.iterations):
            for layer in self.block:
                maps = F.relu(layer(maps)) * there
        return maps

    def embed(self, numbers: Tensor) -> Tensor:
        """int64 `(N, L)` → `(N, D)`: the mean over a text's units."""
        there = _there(numbers, self.first.weight.dtype)
        return self.features(numbers).sum(dim=2) / there.sum(dim=2).clamp(min=1.0)

    def forward(self, numbers: Tensor) -> Tensor:
        """int64 `(N, L)` → `(N, K, L)`, 0 behind each text's end."""
        maps = self.dropout(self.features(numbers))
        return cast(Tensor, self.head(maps) * _there(numbers, maps.dtype))


@register("idcnn", gives=SEQUENCE, takes="text")
def idcnn(
    inputs: TextSpec,
    outputs: int,
    dimension: Count = 64,  # of the vectors of units
    width: Count = 64,  # filters of each layer
    dilations: Dilations = "1,2,4,1",  # how far apart the neighbours lie that each layer of the block sees
    iterations: Annotated[int, Field(ge=1, le=16)] = 2,  # times that the block is passed
    dropout: Probability = 0.15,  # of components of the vectors, and of what the head sees
    # the units' vectors are trained, stay as they begin, or are there twice, once either way
    vectors: Vectors = "trained",
) -> nn.Module:
    """A filter over vectors of `dimension`, then a block of filters `dilations` apart, `iterations` times the same one.

    `dropout` leaves out components of the vectors and of what the head sees. `vectors` says whether those of the units
    are trained, which matters where they come from a file (`pretrained: vectors:PATH`).
    """
    apart = [int(each) for each in dilations.split(",")]
    network = IteratedDilated(inputs, outputs, dimension, width, apart, iterations, vectors)
    if dropout:
        network.dropout = nn.Dropout(dropout)
    return network


def _identity(layer: nn.Conv1d) -> None:
    """Begin as what gives on what it sees, with a little of its neighbours (the paper's, after Yu and Koltun 2016)."""
    with torch.no_grad():
        layer.weight *= SHARE
        layer.weight[:, :, 1] += torch.eye(layer.out_channels)
        layer.bias.zero_()  # type: ignore[union-attr]


def _there(numbers: Tensor, kind: torch.dtype) -> Tensor:
    """`(N, 1, L)`: 1 where a text has a unit, 0 behind its end."""
    return (numbers != PADDING).to(kind).unsqueeze(1)
