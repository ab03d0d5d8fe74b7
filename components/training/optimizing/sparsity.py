"""Zeros that stay zero: what pruning has taken out of kernels and matrices does not grow back in training.

What is held is read from the weights that training starts from, so nothing has to be kept beside them: a resumed
training starts from the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Zeros:
    """Where the tensors of more than one dimension are zero now; without parameters, nowhere."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        sparse = [p for p in parameters.values() if p.ndim > 1 and bool((p.detach() == 0).any())]
        self._held: list[tuple[nn.Parameter, Tensor]] = [(p, p.detach() != 0) for p in sparse]

    def restore(self) -> None:
        """After a step of the optimizer, whose momentum and decay know nothing of it."""
        with torch.no_grad():
            for parameter, kept in self._held:
                parameter.mul_(kept)
