"""Cross-entropies for classes of very different sizes: one label a sample, a softmax over the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from components.tasks.protocol import Batch

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Weighted:
    """Cross-entropy of each sample times its class's weight, mean over the samples.

    Not divided by the batch's sum of weights, as PyTorch's `weight=` would be: which samples share a batch, or a
    worker, must not decide how much each of them counts.
    """

    weights: Tensor  # (C,), mean 1 over the training samples
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        each = F.cross_entropy(outputs, batch.targets, reduction="none", label_smoothing=self.label_smoothing)
        return {"loss": (self.weights.to(outputs.device)[batch.targets] * each).mean()}


@dataclass(frozen=True)
class Focal:
    """`(1 − p)^gamma` · cross-entropy, p the true class's probability (Lin et al. 2017, for a softmax).

    What the network is sure of counts little, whatever its class. With gamma 0 it is the cross-entropy.
    """

    gamma: float
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        each = F.cross_entropy(outputs, batch.targets, reduction="none", label_smoothing=self.label_smoothing)
        logarithm = F.log_softmax(outputs, dim=1).gather(1, batch.targets[:, None]).squeeze(1)
        # Above 0: there a power below 1 has no finite derivative.
        doubt = (-torch.expm1(logarithm)).clamp_min(torch.finfo(outputs.dtype).eps)
        return {"loss": (doubt**self.gamma * each).mean()}


@dataclass(frozen=True)
class BalancedSoftmax:
    """Cross-entropy of logits that are moved by the classes' log prior (Ren et al. 2020).

    The network learns what would be right if all classes were equally frequent; the prior is added in training only,
    so that what is validated, exported and served is its plain softmax.
    """

    prior: Tensor  # (C,), logarithms
    label_smoothing: float = 0.0

    def __call__(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        moved = (outputs + self.prior.to(outputs.device)).float()
        if batch.targets.numel() == 0:
            return {"loss": moved.sum() * 0.0}
        return {"loss": F.cross_entropy(moved, batch.targets, label_smoothing=self.label_smoothing)}


def class_weights(counts: npt.NDArray[np.int64]) -> Floats:
    """Inverse class frequency, `(C,)`, such that the mean over the training samples is 1: the loss keeps its scale."""
    weights: Floats = counts.sum() / (len(counts) * counts.astype(np.float64))
    return weights


def log_prior(counts: npt.NDArray[np.int64]) -> Floats:
    """Logarithm of each class's share of the training samples, `(C,)`."""
    prior: Floats = np.log(counts / counts.sum())
    return prior
