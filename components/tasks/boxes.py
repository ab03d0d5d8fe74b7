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
    """The targets where the transform puts them: around the ellipse that fills each box, cut to the picture.

    An object seldom reaches into its box's corners, so that the hull of those is too large wherever the picture is
    turned (Kalra et al. 2021). Without rotation and shear it is the box itself. The transform must be affine.
    Of what is cut to less than `REMAINS` of its area the label becomes -1; what is ignored stays as long as any of it
    is in the picture, for whatever of it there is must not be learnt as background.
    """
    labels, boxes, rest = torch.split(targets, [1, 4, 2], dim=2)
    low, high = torch.split(boxes.float(), 2, dim=2)
    middle, half = (low + high) / 2, torch.diag_embed((high - low) / 2)  # half: (N, M, 2, 2), along x and along y
    ends = torch.cat([middle.unsqueeze(2), middle.unsqueeze(2) + half], dim=2)
    there = transform.points(ends.reshape(len(targets), -1, 2)).reshape(*boxes.shape[:2], 3, 2)
    centre = there[:, :, 0]
    reach = (there[:, :, 1:] - there[:, :, :1]).square().sum(dim=2).sqrt()  # of the ellipse along x and y
    hull = torch.cat([centre - reach, centre + reach], dim=2)
    height, width = transform.size
    cut = torch.minimum(hull.clamp_min(0.0), hull.new_tensor([width, height, width, height]))
    least = torch.where(rest[..., 0] > 0.5, 0.0, REMAINS) * areas(hull)
    stays = (areas(cut) >= least) & (areas(cut) > 0.0)
    return torch.cat([torch.where(stays.unsqueeze(2), labels, -1.0), cut.to(targets.dtype), rest], dim=2)
