"""Attention transfer (Zagoruyko & Komodakis 2017): where the student looks is to be where the teacher looks."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from components.training.objectives.hint import same_size
from components.training.objectives.watching import Seen


class AttentionTransfer(nn.Module):
    """Squared distance of the two attention maps, each of length 1, mean over the images: 0 to 2.

    A pixel's attention is the mean square over the channels. The authors' code takes the mean over the pixels as well,
    which for maps of h·w pixels makes their weight h·w times as large as here.
    """

    def forward(self, student: Seen, teacher: Seen) -> Tensor:
        own, its = same_size(_map(student.features), _map(teacher.features))
        return (_unit(own) - _unit(its)).square().sum(dim=1).mean()


def _map(features: Tensor) -> Tensor:
    return features.square().mean(dim=1, keepdim=True)


def _unit(attention: Tensor) -> Tensor:
    return F.normalize(attention.flatten(1), dim=1)
