"""Every tensor cut over the workers and put together where it is used: PyTorch's FSDP2 (Zhao et al. 2023).

A worker keeps its share of the weights, gradients and optimizer's state; a layer's weights are gathered for its forward
and its backward pass. With several replicas the shares are within a replica and gradients are averaged over all
(hybrid sharding). Normalisation's running statistics are small and kept whole.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from components.tasks.protocol import Batch
from components.training.objectives.objective import Objective
from components.training.parallel.pieces import mean_of, micro_batches
from components.training.parallel.strategy import Precision
from components.training.processes.workers import Workers

LEAST_SHARDED = 2**14  # parameters of a block that is gathered by itself: smaller ones travel with the root


class Sharded:
    """See `Strategy`."""

    quantum = 1

    def __init__(
        self, network: nn.Module, workers: Workers, replicas: int, accumulate: int, precision: Precision
    ) -> None:
        self.workers, self.accumulate, self.precision = workers, accumulate, precision
        self.part, self.parts = workers.rank, workers.count
        mesh = init_device_mesh(
            workers.device.type, (replicas, workers.count // replicas), mesh_dim_names=("replicate", "shard")
        )
        mesh = mesh if replicas > 1 else mesh["shard"]
        network.to(memory_format=torch.contiguous_format)  # FSDP2 cuts rows
        for block in _blocks(network):
            fully_shard(block, mesh=mesh)
        # Also the root's own, which would else stay whole from validation's forward pass on.
        self.sharded: FSDPModule = fully_shard(network, mesh=mesh, reshard_after_forward=True)
        self.network = network  # the same object

    def begin_epoch(self) -> None:
        """Nothing: the order of additions never changes."""

    def backward(self, batch: Batch, objective: Objective, whole: int) -> dict[str, Tensor]:
        pieces = micro_batches(batch, self.accumulate)
        losses = []
        for index, piece in enumerate(pieces):
            self.sharded.set_requires_gradient_sync(index + 1 == len(pieces))
            with self.precision():
                outputs = self.network(piece.inputs)
            found = objective(outputs.float(), piece)
            # Gradients are averaged: a piece that is larger than its fellows must count for more.
            (found["loss"] * (len(piece.inputs) * self.parts / whole)).backward()  # type: ignore[no-untyped-call]
            losses.append(found)
        return mean_of(losses, [len(piece.inputs) for piece in pieces])

    def clip(self, norm: float) -> None:
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        total = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if isinstance(total, DTensor):
            total = total.full_tensor()
        nn.utils.clip_grads_with_norm_(parameters, norm, total)

    def average_buffers(self) -> None:
        self.workers.average([b for b in self.network.buffers() if b.is_floating_point()])

    def outputs(self, inputs: Tensor) -> Tensor:
        # Not in inference mode: tensors that are gathered in it could not be trained afterwards.
        with torch.no_grad(), self.precision():
            return self.network(inputs).float()  # type: ignore[no-any-return]

    def evenness(self) -> dict[str, float]:
        return {}

    def parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.network.named_parameters())

    def state(self) -> dict[str, Tensor]:
        return dict(self.network.state_dict())

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in tensors.items()}

    def mine(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        held = self.state()
        return {name: _share(value, held.get(name)) for name, value in whole.items()}


def _share(value: Tensor, held: Tensor | None) -> Tensor:
    """This worker's share of a whole tensor that everybody has, cut as the held one is."""
    if not isinstance(held, DTensor) or held.shape != value.shape:
        return value
    return distribute_tensor(value.to(held.device), held.device_mesh, held.placements, src_data_rank=None)


def _blocks(network: nn.Module) -> list[nn.Module]:
    """The children of the network's parts that are large enough to be gathered by themselves, in their order."""
    found: list[nn.Module] = []
    for child in network.children():
        inner = list(child.children()) if isinstance(child, (nn.Sequential, nn.ModuleList)) else [child]
        found += [block for block in inner if sum(p.numel() for p in block.parameters()) >= LEAST_SHARDED]
    return [block for block in found if not isinstance(block, (nn.ModuleList, nn.ModuleDict))]
