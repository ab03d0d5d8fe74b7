"""The group of workers that trains one network, as the loop sees it: a rank, a count and four ways to agree.

With one worker nothing is initialised and nothing is sent. Starting the group is `cluster`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from components.config import TrainingConfig
from components.config.training import CHANNELS_LAST, MemoryFormat

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """This worker's place in the group."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Everybody's value, in order of rank, for everybody."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def from_first(self, value: T) -> T:
        """The first worker's value, for everybody."""
        if self.count == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0)
        return values[0]

    def smallest(self, value: int) -> int:
        """The smallest of everybody's values."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, device=self.device)
        dist.all_reduce(shared, op=dist.ReduceOp.MIN)
        return int(shared.item())

    def average(self, tensors: Sequence[Tensor], group: dist.ProcessGroup | None = None, count: int = 0) -> None:
        """Make everybody's tensors the mean of all, in place; of a `group` of `count` workers, where one is given."""
        count = count or self.count
        if count == 1:
            return
        for tensor in tensors:
            dist.all_reduce(tensor, group=group)
            tensor.div_(count)


def supports_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 faster than float32: AVX-512 BF16 or AMX, or a GPU that has it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def autocast(config: TrainingConfig, device: torch.device) -> Iterator[None]:
    """bfloat16 autocast where `precision` asks for it, or is "auto" and the hardware has it."""
    wanted = config.precision == "bfloat16" or (config.precision == "auto" and supports_bfloat16(device))
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=wanted):
        yield


def placed(network: nn.Module, device: torch.device, memory_format: MemoryFormat) -> nn.Module:
    """The network on the device, its kernels lying in memory as the pictures will."""
    laid = torch.channels_last if memory_format == CHANNELS_LAST else torch.contiguous_format
    return network.to(device, memory_format=laid)  # type: ignore[call-overload, no-any-return]


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Same input, same bits: PyTorch's deterministic kernels for the block, and what was set before after it.

    On CUDA a kernel without a deterministic form (a mask's cross-entropy) warns instead of ending the training.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined] # costs a pass a tensor
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
