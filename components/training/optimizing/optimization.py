"""Optimizer and learning-rate schedule, from `TrainingConfig`. The schedule is a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from components.config import TrainingConfig
from components.training.optimizing.muon import Muon
from components.training.optimizing.scaling import peak_rate
from components.training.optimizing.transfer import Blocks, parameter_groups

# PyTorch's OneCycleLR defaults (Smith & Topin 2017): start at 1/25 of the peak, end at 1/10,000 of the start.
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = ONE_CYCLE_START * 1e-4
MOMENTUM = 0.9


def rate(step: int, steps: int, config: TrainingConfig) -> float:
    """Learning rate of step `step` of `steps` (counted from 0), over the whole training.

    one-cycle: cosine up over the share `warmup`, cosine down to almost nothing. cosine: linear up, cosine down to 0.
    constant: linear up, then the rate itself.
    """
    if config.schedule == "one-cycle":
        return peak_rate(config) * _one_cycle(step, steps, config.warmup)
    rising = round(config.warmup * steps)
    if step < rising:
        return peak_rate(config) * (step + 1) / rising
    if config.schedule == "cosine":
        return peak_rate(config) * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
    return peak_rate(config)


def _one_cycle(step: int, steps: int, warmup: float) -> float:
    peak = warmup * steps - 1
    last = steps - 1
    if step <= peak:
        return _cosine(ONE_CYCLE_START, 1.0, step / peak if peak > 0 else 1.0)
    return _cosine(1.0, ONE_CYCLE_END, (step - peak) / (last - peak))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def build_optimizer(
    parameters: Mapping[str, nn.Parameter], blocks: Blocks, config: TrainingConfig
) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov momentum 0.9, one fused kernel a step, on CPUs too; or Muon."""
    groups = parameter_groups(parameters, blocks, config)
    if config.optimizer == "muon":
        return Muon([part for group in groups for part in _kernels_apart(group)], lr=config.learning_rate)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=MOMENTUM, nesterov=True, fused=True)


def _kernels_apart(group: dict[str, Any]) -> list[dict[str, Any]]:
    """The group's convolutions, for Muon, and what else there is: the head's matrix is better off with Adam's steps."""
    parts = [
        {**group, "params": [p for p in group["params"] if (p.ndim > 2) == kernels], "orthogonal": kernels}
        for kernels in (True, False)
    ]
    return [part for part in parts if part["params"]]


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """The step's rate; each group takes its own share of it."""
    for group in optimizer.param_groups:
        group["lr"] = value * group["scale"]


class MovingAverage:
    """Exponential moving average of a network's parameters (Polyak & Juditsky 1992), warmed up as TensorFlow's.

    Batch normalisation's statistics are the network's own: they are averages already.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay = decay
        self.values = {name: p.detach().clone() for name, p in parameters.items()}

    def share(self, step: int, steps: int) -> float:
        """Of the weights after step `step` of `steps` in the average; early ones have more, for the start is random."""
        return 1.0 - min(self.decay, (1 + step) / (10 + step))

    def update(self, parameters: Mapping[str, nn.Parameter], step: int, steps: int) -> None:
        """Take in the weights after step `step` (counted from 0) of `steps`."""
        new = [parameters[name].detach() for name in self.values]
        torch._foreach_lerp_(list(self.values.values()), new, self.share(step, steps))

    def swap(self, parameters: Mapping[str, nn.Parameter]) -> None:
        """Exchange the parameters with the averages; again, and all is as it was."""
        with torch.no_grad():
            for name, average in self.values.items():
                held: Tensor = average.clone()
                average.copy_(parameters[name])
                parameters[name].copy_(held)
