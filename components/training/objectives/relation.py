"""Relational distillation (Park et al. 2019): how images lie to each other is to be as in the teacher's embedding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.training.objectives.watching import Seen

TRIPLES_OF = 64  # images of a batch whose angles are looked at: all triples of n are n³


class Distances(nn.Module):
    """Huber's distance of the two tables of pairwise distances, each in units of its own mean."""

    def forward(self, student: Seen, teacher: Seen) -> Tensor:
        return F.smooth_l1_loss(_distances(student.embedding), _distances(teacher.embedding))


class Angles(nn.Module):
    """Huber's distance of the cosines at every corner of every triple of the batch's first `TRIPLES_OF` images."""

    def forward(self, student: Seen, teacher: Seen) -> Tensor:
        return F.smooth_l1_loss(_angles(student.embedding[:TRIPLES_OF]), _angles(teacher.embedding[:TRIPLES_OF]))


def _distances(embedding: Tensor) -> Tensor:
    """`(N, E)` → `(N, N)`; 0 on the diagonal, where a root would have no derivative."""
    squares = embedding.square().sum(dim=1)
    products = embedding @ embedding.T
    found = (squares[:, None] + squares[None, :] - 2 * products).clamp_min(1e-12).sqrt()
    found = found.masked_fill(torch.eye(len(found), dtype=torch.bool, device=found.device), 0.0)
    others = len(found) * (len(found) - 1)
    return found / (found.sum() / max(others, 1)).clamp_min(1e-12)


def _angles(embedding: Tensor) -> Tensor:
    """`(N, E)` → `(N, N, N)`: the cosine at i between the directions to j and to k."""
    directions = F.normalize(embedding[None, :, :] - embedding[:, None, :], dim=2)
    return torch.bmm(directions, directions.transpose(1, 2))
