"""The whole network on every worker, gradients averaged (PyTorch's DistributedDataParallel); or on the only worker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook

from components.tasks.protocol import Batch
from components.training.objectives.objective import Objective
from components.training.parallel.pieces import mean_of, micro_batches
from components.training.parallel.strategy import Precision
from components.training.processes.workers import Workers


class Replicated:
    """See `Strategy`. `compressed`: gradients travel as bfloat16, half the bytes, and are added in it."""

    quantum = 1

    def __init__(
        self, network: nn.Module, workers: Workers, accumulate: int, precision: Precision, *, compressed: bool = False
    ) -> None:
        self.network, self.workers, self.accumulate, self.precision = network, workers, accumulate, precision
        self.part, self.parts = workers.rank, workers.count
        self.compressed = compressed
        self.wrapped = network
        self.forward_seconds = 0.0  # of the epoch: before workers wait for each other

    def begin_epoch(self) -> None:
        """DDP regroups its buckets after its first step, which changes the order of additions: wrapped anew."""
        self.forward_seconds = 0.0
        if self.parts == 1:
            return
        device = self.workers.device
        ids = [device] if device.type == "cuda" else None
        wrapped = nn.parallel.DistributedDataParallel(self.network, device_ids=ids, forward_sync_buffers=False)
        if self.compressed:
            wrapped.register_comm_hook(None, bf16_compress_hook)
        self.wrapped = wrapped

    def backward(self, batch: Batch, objective: Objective, whole: int) -> dict[str, Tensor]:
        pieces = micro_batches(batch, self.accumulate)
        losses = []
        for index, piece in enumerate(pieces):
            with self._held_back(last=index + 1 == len(pieces)):
                began = time.perf_counter()
                with self.precision():
                    outputs = self.wrapped(piece.inputs)
                found = objective(outputs.float(), piece)
                self.forward_seconds += time.perf_counter() - began
                # Workers' gradients are averaged: a piece that is larger than its fellows must count for more.
                (found["loss"] * (len(piece.inputs) * self.parts / whole)).backward()  # type: ignore[no-untyped-call]
            losses.append(found)
        return mean_of(losses, [len(piece.inputs) for piece in pieces])

    def _held_back(self, *, last: bool) -> nullcontext[None]:
        """Gradients are sent with the last piece only."""
        if last or not isinstance(self.wrapped, nn.parallel.DistributedDataParallel):
            return nullcontext()
        return self.wrapped.no_sync()  # type: ignore[return-value]

    def clip(self, norm: float) -> None:
        nn.utils.clip_grad_norm_([p for p in self.network.parameters() if p.requires_grad], norm)

    def average_buffers(self) -> None:
        self.workers.average([b for b in self.network.buffers() if b.is_floating_point()])

    def outputs(self, inputs: Tensor) -> Tensor:
        with torch.inference_mode(), self.precision():
            return self.network(inputs).float()  # type: ignore[no-any-return]

    def evenness(self) -> dict[str, float]:
        """`worker_imbalance`: the slowest worker's forward passes in units of the mean of all.

        On a GPU, which works on its own, it is the time that it takes to ask for them.
        """
        if self.parts == 1:
            return {}
        each = self.workers.gather(self.forward_seconds)
        return {"worker_imbalance": max(each) * len(each) / max(sum(each), 1e-9)}

    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.network.named_parameters())

    def state(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(tensors)

    def mine(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(whole)
