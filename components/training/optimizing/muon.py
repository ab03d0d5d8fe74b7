"""Muon: momentum whose matrices are made orthogonal before they are taken as a step (Jordan et al. 2024).

For the kernels of convolutions, as matrices of `(outputs, inputs·height·width)`; everything else (biases,
normalisation, the head) is what Adam's steps suit, and is given them by the same optimizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

MOMENTUM = 0.9
BETAS = (0.9, 0.999)
EPSILON = 1e-8
ITERATIONS = 5
# Of the quintic iteration; they drive singular values to about 1 within five rounds (Jordan et al. 2024).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Groups with `orthogonal` are stepped by Muon, the others by Adam with decoupled decay at `lr · adam_rate`.

    `lr` is the step's root mean square: a kernel moves as far as with Adam at the same rate (Liu et al. 2025).
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "orthogonal": False})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._orthogonal if group["orthogonal"] else self._adam
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                step = update(parameter, parameter.grad)
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                parameter.add_(step, alpha=-group["lr"])
        return loss

    def _orthogonal(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        momentum.lerp_(gradient, 1.0 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM)  # Nesterov's
        matrix = ahead.reshape(len(ahead), -1)
        # An orthogonal matrix's entries have the root mean square 1/√(longer side); Adam's steps have about 0.2.
        scale = 0.2 * max(matrix.shape) ** 0.5
        step: Tensor = (orthogonal(matrix) * scale).view(ahead.shape)
        return step

    def _adam(self, parameter: Tensor, gradient: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] = torch.zeros(())
        state["step"] += 1
        state["exp_avg"].lerp_(gradient, 1.0 - BETAS[0])
        state["exp_avg_sq"].lerp_(gradient.square(), 1.0 - BETAS[1])
        step = float(state["step"])
        mean = state["exp_avg"] / (1.0 - BETAS[0] ** step)
        square = state["exp_avg_sq"] / (1.0 - BETAS[1] ** step)
        taken: Tensor = mean / (square.sqrt() + EPSILON)
        return taken


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, nearly: singular values end up between 0.7 and 1.2.

    Newton and Schulz's iteration, in float32. `(M, N)` → `(M, N)`; zeros stay zeros. A round multiplies from the left
    by a polynomial of the Gram matrix, and these commute: so all rounds are done on the small square, and the matrix
    itself is multiplied once, a fifth of the work.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    wide: Tensor = matrix.T if tall else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram = wide @ wide.T
    unit = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    total = unit
    for _ in range(ITERATIONS):
        factor = a * unit + b * gram + c * (gram @ gram)
        total = factor @ total
        gram = factor @ gram @ factor
    found = total @ wide
    return found.T if tall else found
