"""What a way of using several workers must offer to the loop; `choosing` takes one by `training.strategy`.

    strategy    a worker holds                replicas
    data        the whole network             each worker is one (DDP)
    sharded     a shard of every tensor       copies of the shards (FSDP2; more than one: hybrid sharding)
    pipeline    some of the layers            copies of the pipeline (GPipe; more than one: pipelines side by side)

Whatever the strategy, an epoch shows the same global batches, and tensors are stored whole, under the names that the
network gives them: a checkpoint does not know by which workers it was written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn

from components.tasks.protocol import Batch
from components.training.objectives.objective import Objective

Precision = Callable[[], AbstractContextManager[None]]


class Strategy(Protocol):
    """One network in training, as one worker sees it. Everybody calls everything alike."""

    network: nn.Module  # what this worker holds of it
    part: int  # which part of each global batch this worker is shown, counted from 0 …
    parts: int  # … of how many
    quantum: int  # samples by which the parts of a step can be divided without a rest

    def begin_epoch(self) -> None:
        """What must be anew each epoch, so that a resumed one adds in the order of an undisturbed one."""
        ...

    def backward(self, batch: Batch, objective: Objective, whole: int) -> dict[str, Tensor]:
        """Forward and backward of this worker's part of `whole` samples; gradients end up as those of the global mean.

        Returns the objective's parts as means over this worker's samples; {} where it does not see the outputs.
        """
        ...

    def clip(self, norm: float) -> None:
        """Scale all gradients so that their norm, over all that is trained, is at most `norm`."""
        ...

    def average_buffers(self) -> None:
        """Make the copies' floating-point buffers (normalisation's running statistics) the mean of all."""
        ...

    def outputs(self, inputs: Tensor) -> Tensor | None:
        """Raw outputs in evaluation mode for this worker's part of the inputs; None where it does not see them."""
        ...

    def evenness(self) -> dict[str, float]:
        """How evenly the workers have shared the epoch's work, as metrics; {} where nothing is known of it."""
        ...

    def parameters(self) -> dict[str, nn.Parameter]:
        """What this worker holds, by the whole network's names."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers that this worker holds, by the whole network's names."""
        ...

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Everybody's pieces of parameter-like tensors → the whole ones, for the first worker (others may get less)."""
        ...

    def mine(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole parameter-like tensors by their parameter's or buffer's name → this worker's pieces of them."""
        ...
