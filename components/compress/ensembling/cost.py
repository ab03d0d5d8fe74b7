"""What an answer costs: parameters and operations, counted and not timed, so that a model's report repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.artifacts import Card, InputSpec

if TYPE_CHECKING:
    from torch import nn


class Cost(Card):
    """Of one network or ensemble."""

    parameters: int
    macs: int  # multiply-accumulates for one input, of convolutions and matrix products; FLOPs are about twice as many


def cost_of(network: nn.Module, spec: InputSpec) -> Cost:
    """Count what the network does for one input."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from components.models.preprocessing import nothing, preprocess

    counter = FlopCounterMode(display=False)
    # Not in inference mode: the counter hears of operators through the dispatcher, which that mode goes past.
    with torch.no_grad(), counter:
        network(preprocess(nothing(spec)))
    return Cost(parameters=sum(p.numel() for p in network.parameters()), macs=counter.get_total_flops() // 2)
