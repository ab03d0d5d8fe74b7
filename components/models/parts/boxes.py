"""Boxes as tensors `(…, 4)`: left, top, right, bottom in pixels, right and bottom exclusive."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-7  # square pixels: what is divided by is never less, so that boxes without an area overlap nothing


def areas(boxes: Tensor) -> Tensor:
    """`(…, 4)` → `(…,)`; 0 for a box whose sides have changed places."""
    left, top, right, bottom = boxes.unbind(dim=-1)
    return (right - left).clamp_min(0.0) * (bottom - top).clamp_min(0.0)


def overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union, in [0, 1]: shapes `(…, 4)` that broadcast → `(…,)`; of boxes without an area 0."""
    shared, union = _shared(one, other)
    return shared / union.clamp_min(LEAST)


def pairwise(one: Tensor, other: Tensor) -> Tensor:
    """`overlaps` of every box with every other: `(…, A, 4)`, `(…, B, 4)` → `(…, A, B)`."""
    return overlaps(one.unsqueeze(-2), other.unsqueeze(-3))


def generalized_overlaps(one: Tensor, other: Tensor) -> Tensor:
    """Generalized intersection over union (Rezatofighi et al. 2019), in [-1, 1].

    It falls with the distance of boxes that do not touch, which have the same overlap of 0 wherever they are.
    """
    shared, union = _shared(one, other)
    around = torch.cat([torch.minimum(one, other)[..., :2], torch.maximum(one, other)[..., 2:]], dim=-1)
    hull = areas(around)
    return shared / union.clamp_min(LEAST) - (hull - union) / hull.clamp_min(LEAST)


def _shared(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Areas that belong to both and to either."""
    shared = areas(torch.cat([torch.maximum(one, other)[..., :2], torch.minimum(one, other)[..., 2:]], dim=-1))
    return shared, areas(one) + areas(other) - shared
