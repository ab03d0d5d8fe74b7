"""Inputs as arrays, as their kind has them → what a network takes. Exported with it, so that both see the same.

What the numbers mean is told by their type: uint8 are intensities, channels last; any other whole numbers are numbers
of units, as of words.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from components.artifacts import InputSpec


def preprocess(inputs: Tensor) -> Tensor:
    """uint8 `(N, …, C)` → float32 `(N, C, …)` in [0, 1]; whole numbers `(N, L)` → int64 `(N, L)`."""
    if inputs.dtype != torch.uint8:
        return inputs.to(torch.int64)
    return inputs.movedim(-1, 1).to(torch.float32) / 255.0


def nothing(spec: InputSpec, count: int = 1) -> Tensor:
    """Inputs of zeros as an array, `(count, *spec.shape)`: by which a network is traced or counted."""
    return torch.zeros(count, *spec.shape, dtype=getattr(torch, spec.type))


def channels_last(inputs: Tensor) -> Tensor:
    """The layout in which most convolutions over pictures are fastest; what has no channels beside rows stays so."""
    return laid_out(inputs, "channels_last")


def laid_out(inputs: Tensor, memory_format: Literal["channels_last", "contiguous"]) -> Tensor:
    """Inputs as they are to lie in memory; only pictures `(N, C, H, W)` can have their channels last."""
    if memory_format == "channels_last" and inputs.ndim == 4:
        return inputs.contiguous(memory_format=torch.channels_last)
    return inputs.contiguous()
