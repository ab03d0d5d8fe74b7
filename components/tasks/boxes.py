"""Truths of a detector as tensors: `(N, M, 7)` label or -1, left, top, right, bottom, ignored, visible; in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from components.models.parts.boxes import areas

REMAINS = 0.3  # of a box's area; where augmentation leaves less of it in the picture, the object is gone


@dataclass(frozen=True)
class Truths:
    """The parts of targets that are learnt by."""

    boxes: Tensor  # (N, M, 4)
    labels: Tensor  # (N, M) int64, 0 where there is none
    learnt: Tensor  # (N, M) bool
    ignored: Tensor  # (N, M) bool: neither learnt nor judged
    sure: Tensor  # (N, M) how sure it is that there is each: 1 where somebody has labelled it


class Moves(Protocol):
    """Where augmentation puts what N images show."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    def points(self, points: Tensor) -> Tensor:
        """`(N, P, 2)` float, x and y in pixels from the upper left corner, each where its place in the image goes."""
        ...


def truths_of(targets: Tensor, classes: int) -> Truths:
    """The parts of targets; a label past the last class is taken for the last."""
    targets = targets.float()
    labels, ignored = targets[..., 0].long(), targets[..., 5] > 0.5
    learnt, spared, sure = (labels >= 0) & ~ignored, (labels >= 0) & ignored, torch.ones_like(targets[..., 0])
    return Truths(targets[..., 1:5], labels.clamp(0, classes - 1), learnt, spared, sure)


def moved(targets: Tensor, transform: Moves) -> Tensor:
    """The targets where the transform puts them: the hull of each box's four corners, cut to the picture.

    Of what is cut to less than `REMAINS` of its area the label becomes -1; what is ignored stays as long as any of it
    is in the picture, for whatever of it there is must not be learnt as background.
    """
    labels, boxes, rest = torch.split(targets, [1, 4, 2], dim=2)
    left, top, right, bottom = boxes.float().unbind(dim=2)
    corners = torch.stack([left, top, right, top, right, bottom, left, bottom], dim=2)
    there = transform.points(corners.reshape(len(targets), -1, 2)).reshape(*boxes.shape[:2], 4, 2)
    hull = torch.cat([there.amin(dim=2), there.amax(dim=2)], dim=2)
    height, width = transform.size
    cut = torch.minimum(hull.clamp_min(0.0), hull.new_tensor([width, height, width, height]))
    least = torch.where(rest[..., 0] > 0.5, 0.0, REMAINS) * areas(hull)
    stays = (areas(cut) >= least) & (areas(cut) > 0.0)
    return torch.cat([torch.where(stays.unsqueeze(2), labels, -1.0), cut.to(targets.dtype), rest], dim=2)
