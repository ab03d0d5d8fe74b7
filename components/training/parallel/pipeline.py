"""The network cut into stages, one a worker, through which micro-batches flow (GPipe, Huang et al. 2019).

PyTorch's `distributed.pipelining` moves activations and gradients; where to cut is decided here, by the floating-point
operations of each layer, such that the slowest stage is as fast as possible. With several replicas there are as many
pipelines side by side, each shown its part of the batch, and gradients are averaged between them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe
from torch.utils.flop_counter import FlopCounterMode

from components.models.parts.sequence import sequence
from components.tasks.protocol import Batch
from components.training.jobs.job import TrainingError
from components.training.objectives.objective import Objective
from components.training.parallel.pieces import equal_count, mean_of, micro_batches
from components.training.parallel.strategy import Precision
from components.training.processes.workers import Workers

Layers = Sequence[tuple[str, nn.Module]]


class Stage(nn.Module):
    """Consecutive layers of a network, and the names that the network gives to what is in them."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = nn.ModuleList(module for _, module in layers)
        self.prefixes = [name for name, _ in layers]

    def forward(self, x: Tensor) -> Tensor:
        """Row-major is what travels between workers, and channels-last what is convolved fastest."""
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.contiguous())  # type: ignore[no-untyped-call]
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = layer(x)
        return x.contiguous()

    def whole_name(self, name: str) -> str:
        """`layers.3.weight` → the whole network's name of it."""
        _, index, rest = name.split(".", 2)
        return f"{self.prefixes[int(index)]}.{rest}"


def _nothing(outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
    raise RuntimeError("expected a step to be under way")


@dataclass
class _Step:
    """What the loss of the step that is under way needs to know, and its parts so far."""

    objective: Objective = _nothing
    whole: int = 0
    pieces: dict[int, Batch] = field(default_factory=dict)  # by where their targets are
    losses: list[dict[str, Tensor]] = field(default_factory=list)


class Pipeline:
    """See `Strategy`. The micro-batches of a step are of one size: a rest would need a pipeline of its own."""

    def __init__(
        self,
        network: nn.Module,
        sample: Tensor,
        workers: Workers,
        replicas: int,
        accumulate: int,
        precision: Precision,
    ) -> None:
        self.workers, self.accumulate, self.precision = workers, accumulate, precision
        self.parts = replicas
        self.stages = workers.count // replicas
        self.part, self.stage = divmod(workers.rank, self.stages)
        self.quantum = accumulate * replicas
        layers = sequence(network)
        if len(layers) < self.stages:
            raise TrainingError(
                f"training.workers: expected at most {len(layers)} stages, as many as the network has layers to cut "
                f"between, received {self.stages}"
            )
        self.costs = operations(layers, sample)
        bounds = cut(self.costs, self.stages)
        self.network: nn.Module = Stage(layers[bounds[self.stage] : bounds[self.stage + 1]])
        self.balance = balance(self.costs, bounds)
        # Everybody must take part in making every group.
        pipes = [_group(range(r * self.stages, (r + 1) * self.stages)) for r in range(replicas)]
        peers = [_group(range(s, workers.count, self.stages)) for s in range(self.stages)]
        self.pipe, self.peers = pipes[self.part], peers[self.stage]
        self.schedules: dict[tuple[Any, ...], ScheduleGPipe] = {}  # a shape of micro-batches each
        self._step = _Step()

    @property
    def last(self) -> bool:
        """Whether this worker sees the network's outputs."""
        return self.stage + 1 == self.stages

    def begin_epoch(self) -> None:
        """Nothing: the order of additions never changes."""

    def backward(self, batch: Batch, objective: Objective, whole: int) -> dict[str, Tensor]:
        pieces = micro_batches(batch, equal_count(len(batch.inputs), self.accumulate))
        self._step = _Step(objective, whole, {piece.targets.data_ptr(): piece for piece in pieces})
        schedule = self._schedule(pieces[0].inputs, len(pieces), training=True)
        given: dict[str, Any] = {"arg_mbs": [(piece.inputs,) for piece in pieces]} if self.stage == 0 else {}
        if self.last:
            given |= {"target_mbs": [piece.targets for piece in pieces], "losses": []}
        with self.precision():
            schedule.step(**given, return_outputs=False)
        self._average_gradients()
        # The shapes of a new schedule are found by one more micro-batch, whose loss is counted first.
        losses = self._step.losses[-len(pieces) :]
        return mean_of(losses, [len(piece.inputs) for piece in pieces]) if self.last else {}

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        step = self._step
        piece = step.pieces[targets.data_ptr()]  # an objective may want the inputs too
        with torch.autocast(self.workers.device.type, enabled=False):
            found = step.objective(outputs.float(), piece)
        step.losses.append(found)
        return found["loss"] * (len(piece.inputs) * self.parts / step.whole)

    def _schedule(self, inputs: Tensor, count: int, *, training: bool) -> ScheduleGPipe:
        """Buffers are of one shape: one schedule for each that occurs."""
        key = (tuple(inputs.shape), count, training)
        if key not in self.schedules:
            stage = PipelineStage(self.network, self.stage, self.stages, self.workers.device, group=self.pipe)
            self.schedules[key] = ScheduleGPipe(
                stage, count, loss_fn=self._loss if training else None, scale_grads=False
            )
        return self.schedules[key]

    def _average_gradients(self) -> None:
        if self.parts == 1:
            return
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if not gradients:
            return
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat, group=self.peers)
        flat /= self.parts
        at = 0
        for gradient in gradients:
            gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()

    def clip(self, norm: float) -> None:
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        own = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        squares = own.square().reshape(1).to(self.workers.device)
        dist.all_reduce(squares, group=self.pipe)
        nn.utils.clip_grads_with_norm_(parameters, norm, squares.sqrt()[0])

    def average_buffers(self) -> None:
        if self.parts > 1:
            self.workers.average(
                [b for b in self.network.buffers() if b.is_floating_point()], group=self.peers, count=self.parts
            )

    def outputs(self, inputs: Tensor) -> Tensor | None:
        schedule = self._schedule(inputs, 1, training=False)
        given: dict[str, Any] = {"arg_mbs": [(inputs,)]} if self.stage == 0 else {}
        with torch.no_grad(), self.precision():
            found = schedule.eval(**given)
        return found.float() if self.last else None

    def evenness(self) -> dict[str, float]:
        """`pipeline_balance`: the mean stage's operations in units of the dearest one's, by which all are held up."""
        return {"pipeline_balance": self.balance}

    def parameters(self) -> dict[str, nn.Parameter]:
        return {self._name(name): value for name, value in self.network.named_parameters()}

    def state(self) -> dict[str, Tensor]:
        return {self._name(name): value for name, value in self.network.state_dict().items()}

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mine = {name: value.detach().cpu() for name, value in tensors.items()}
        gathered: list[dict[str, Tensor]] | None = [{}] * self.workers.count if self.workers.first else None
        dist.gather_object(mine if self.part == 0 else {}, gathered)
        return {name: value for theirs in gathered or [] for name, value in theirs.items()}

    def mine(self, whole: Mapping[str, Tensor]) -> dict[str, Tensor]:
        held = self.state()
        return {name: value for name, value in whole.items() if name in held}

    def _name(self, name: str) -> str:
        return cast(Stage, self.network).whole_name(name)


def _group(ranks: range) -> dist.ProcessGroup:
    group = dist.new_group(list(ranks))
    # What those get who are not in it: they never ask it for anything.
    return cast(dist.ProcessGroup, group)


def operations(layers: Layers, sample: Tensor) -> list[int]:
    """Multiply-adds of each layer for one input; at least 1, so that a layer without any still has its place."""
    training = [(module, module.training) for _, module in layers]
    costs, x = [], sample
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        for module, was in training:
            module.eval()
            stack.callback(module.train, was)
        for _, module in layers:
            with FlopCounterMode(display=False) as counter:
                x = module(x)
            costs.append(max(1, counter.get_total_flops() // 2))
    return costs


def cut(costs: Sequence[int], stages: int) -> list[int]:
    """Bounds `[0, …, len(costs)]` of `stages` runs of layers, none empty, the dearest as cheap as can be."""
    total = [0]
    for cost in costs:
        total.append(total[-1] + cost)
    layers = len(costs)
    # best[k][n]: the dearest of k runs over the first n layers, and where the last of them begins
    best: list[dict[int, tuple[int, int]]] = [{0: (0, 0)}]
    for runs in range(1, stages + 1):
        row = {}
        for end in range(runs, layers - (stages - runs) + 1):
            row[end] = min(
                (max(dearest, total[end] - total[start]), start)
                for start, (dearest, _) in best[runs - 1].items()
                if start < end
            )
        best.append(row)
    bounds = [layers]
    for runs in range(stages, 0, -1):
        bounds.append(best[runs][bounds[-1]][1])
    return bounds[::-1]


def balance(costs: Sequence[int], bounds: Sequence[int]) -> float:
    """Mean over greatest cost of the stages: 1 where all are alike, 1/stages where one does everything."""
    each = [sum(costs[start:end]) for start, end in pairwise(bounds)]
    return sum(each) / len(each) / max(each)
