"""Weights that become zeros, in tensors that keep their shapes: single ones (Han et al. 2015), or two of each four.

Kernels of convolutions and matrices are pruned, the head is not. Their zeros stay zeros in training
(`components.training.optimizing.sparsity`). They make a network smaller once it is compressed, and faster only where
the hardware and its kernels know what to do with them; ONNX Runtime and OpenVINO on a CPU do not.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from components.export.errors import CompressionError

GROUP = 4
ZEROS = 2  # of each group (Mishra et al. 2021)


def unstructured(network: nn.Module, keep: float) -> nn.Module:
    """The network itself with all but the share `keep` of its kernels' weights set to zero: the smallest of all."""
    kernels = list(_kernels(network).values())
    sizes = torch.cat([kernel.detach().abs().flatten() for kernel in kernels])
    count = len(sizes) - round(keep * len(sizes))
    if count:
        gone = torch.zeros(len(sizes), dtype=torch.bool)
        gone[torch.topk(sizes, count, largest=False).indices] = True
        parts = torch.split(gone, [kernel.numel() for kernel in kernels])
        with torch.no_grad():
            for kernel, part in zip(kernels, parts, strict=True):
                kernel.masked_fill_(part.view(kernel.shape), 0.0)
    return network


def two_of_four(network: nn.Module) -> nn.Module:
    """The network itself with the two smaller ones of each four weights over the input channels set to zero.

    Layers whose input channels are no multiple of four stay whole: the first one, and depthwise convolutions. Raises
    CompressionError where those are all.
    """
    kernels = [kernel for kernel in _kernels(network).values() if kernel.shape[1] % GROUP == 0]
    if not kernels:
        raise CompressionError(
            f"{type(network).__name__}: expected layers whose input channels are a multiple of {GROUP}, found none"
        )
    with torch.no_grad():
        for kernel in kernels:
            rows = kernel.movedim(1, -1)  # (O, h, w, I): input channels side by side
            fours = rows.reshape(-1, GROUP)
            gone = torch.zeros_like(fours, dtype=torch.bool)
            gone.scatter_(1, torch.topk(fours.abs(), ZEROS, dim=1, largest=False).indices, True)
            kernel.copy_(fours.masked_fill(gone, 0.0).view(rows.shape).movedim(-1, 1))
    return network


def _kernels(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and name != "head"
    }
