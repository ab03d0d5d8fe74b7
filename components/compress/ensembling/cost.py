"""What an answer costs: parameters and operations, counted and not timed, so that a model's report repeats."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from components.artifacts import Card, InputSpec
from components.models.preprocessing import nothing, preprocess


class Cost(Card):
    """Of one network or ensemble."""

    parameters: int
    flops: int  # for one image: two a multiply-add, of convolutions and matrix products


def cost_of(network: nn.Module, spec: InputSpec) -> Cost:
    """Count what the network does for one input."""
    counter = FlopCounterMode(display=False)
    # Not in inference mode: the counter hears of operators through the dispatcher, which that mode goes past.
    with torch.no_grad(), counter:
        network(preprocess(nothing(spec)))
    return Cost(parameters=sum(p.numel() for p in network.parameters()), flops=counter.get_total_flops())
