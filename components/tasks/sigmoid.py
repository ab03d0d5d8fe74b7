"""Binary cross-entropy of labels that are there or not, each class a question of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from components.tasks.protocol import Batch


@dataclass(frozen=True)
class Sigmoid:
    """`(N, C)` logits and targets in [0, 1] → the mean over samples and classes, in float32.

    With `weights` each class counts as much as they say. With `gamma`, a label counts `(1 − p)^gamma`, p being the
    probability of what is true of it (Lin et al. 2017): what the network is sure of counts little. Smoothing draws
    targets towards a half.
    """

    weights: Tensor | None = None  # (C,), mean 1
    gamma: float = 0.0
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        units = self.units(outputs, batch.targets)
        return {"loss": units.mean() if units.numel() else units.sum()}

    def units(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """`(N, C)`."""
        logits, truth = outputs.float(), targets.float()
        soft = truth * (1.0 - self.label_smoothing) + self.label_smoothing / 2
        units = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        if self.gamma:
            likely = F.logsigmoid(torch.where(truth > 0, logits, -logits))
            # Above 0: there a power below 1 has no finite derivative.
            units = (-torch.expm1(likely)).clamp_min(torch.finfo(logits.dtype).eps) ** self.gamma * units
        return units if self.weights is None else units * self.weights.to(units.device)
