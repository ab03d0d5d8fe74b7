"""A network that feels int8 while it trains: its factors are rounded as they will be, its gradients are not.

Quantization-aware training (Jacob et al. 2018): the forward pass computes with what 8 bits leave of weights and
inputs, and the backward pass goes straight through the rounding. Normalisation that is folded into a convolution later
scales whole output channels, and so do the weights' ranges, so rounding before or after folding is the same.

Ranges are those of the moment: of the weights as they are, of the inputs of this batch. So nothing has to be kept
beside the weights: names, checkpoints and strategies are those of any other training, and the trained weights are those
of the plain network. Its int8 graph gets its ranges by calibration like every other one.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WEIGHT_LEVELS = 127  # int8, symmetric: −127 … 127, as ONNX Runtime writes weights
INPUT_LEVELS = 255  # uint8
_LEAST = torch.finfo(torch.float32).tiny  # of a scale: what is all zeros stays so


class RoundedConv2d(nn.Conv2d):
    """A convolution of rounded weights and rounded inputs."""

    def forward(self, input: Tensor) -> Tensor:
        return cast(Tensor, self._conv_forward(round_inputs(input), round_weights(self.weight), self.bias))


class RoundedLinear(nn.Linear):
    """A matrix product of rounded weights and rounded inputs."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(round_inputs(input), round_weights(self.weight), self.bias)


_ROUNDED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: RoundedConv2d, nn.Linear: RoundedLinear}


def rounded(network: nn.Module) -> nn.Module:
    """The network itself, its convolutions and matrix products from now on rounded; raises ValueError without any."""
    found = [module for module in network.modules() if type(module) in _ROUNDED]
    if not found:
        raise ValueError("network: expected Conv2d or Linear to round, found none")
    for module in found:
        # Another class on the same object: no name changes, and whoever holds the module holds the rounded one.
        module.__class__ = _ROUNDED[type(module)]
    return network


def round_weights(weights: Tensor) -> Tensor:
    """Weights (outputs, …) in int8 with a range an output channel, as floats."""
    with torch.no_grad():
        largest = weights.detach().flatten(1).abs().amax(dim=1)
        scales = (largest / WEIGHT_LEVELS).clamp_min(_LEAST).float()
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weights, scales, zeros, 0, -WEIGHT_LEVELS, WEIGHT_LEVELS)


def round_inputs(values: Tensor) -> Tensor:
    """Activations in uint8 with the range that they have, and 0 in it exactly, as floats."""
    with torch.no_grad():
        low, high = values.detach().aminmax()
        low, high = low.float().clamp_max(0.0), high.float().clamp_min(0.0)
        scale = ((high - low) / INPUT_LEVELS).clamp_min(_LEAST)
        zero = (-low / scale).round().clamp(0, INPUT_LEVELS).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(values, scale, zero, 0, INPUT_LEVELS)
