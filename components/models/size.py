"""How large a network is: what it has to be told, and what it has to compute for an input."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from components.artifacts import InputSpec
from components.models.preprocessing import nothing, preprocess


@dataclass(frozen=True)
class Size:
    """`macs`: multiply-accumulates of convolutions and matrix products for one input; FLOPs are about twice as many."""

    parameters: int
    macs: int


def size(network: nn.Module, inputs: InputSpec) -> Size:
    """Counted by PyTorch's own counter, operator by operator, while the network answers for one input."""
    device = next(network.parameters()).device
    shown = preprocess(nothing(inputs)).to(device)
    training = network.training
    network.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(shown)
    finally:
        network.train(training)
    return Size(sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2)
