"""Contrastive distillation after Tian et al. (2020): the two embeddings of one image are to find each other.

The paper draws thousands of other images from a memory bank; here they are those of the batch (InfoNCE, van den Oord et
al. 2018): no bank to store and to resume, and a weaker bound on the mutual information.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.training.objectives.watching import Seen

DIMENSIONS = 128  # of the space that both are projected to: the paper's


class Contrast(nn.Module):
    """Cross-entropy of finding an image's other embedding among those of the batch, mean of both directions."""

    def __init__(self, student: Seen, teacher: Seen, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.project_student = nn.Linear(student.embedding.shape[1], DIMENSIONS)
        self.project_teacher = nn.Linear(teacher.embedding.shape[1], DIMENSIONS)

    def forward(self, student: Seen, teacher: Seen) -> Tensor:
        own = F.normalize(self.project_student(student.embedding), dim=1)
        its = F.normalize(self.project_teacher(teacher.embedding), dim=1)
        alike = own @ its.T / self.temperature
        truth = torch.arange(len(alike), device=alike.device)
        return (F.cross_entropy(alike, truth) + F.cross_entropy(alike.T, truth)) / 2
