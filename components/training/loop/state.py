"""What changes while a network is trained, and the same on disk: stored after each epoch, and gone on from.

Tensors are stored whole under the network's own names, so a checkpoint does not know by which strategy it was written.
Files are `checkpoint`'s business, what is done with the state `loop`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from components.training.loop.checkpoint import Checkpoint
from components.training.optimizing.optimization import MovingAverage
from components.training.optimizing.sparsity import Zeros
from components.training.optimizing.transfer import Blocks
from components.training.parallel.strategy import Strategy
from components.training.processes.workers import Workers
from components.training.reading.sampling import mix


@dataclass
class State:
    """A network in training. `best` are the whole weights of its best epoch so far, where those are to be returned."""

    strategy: Strategy
    blocks: Blocks  # of the network, where transfer tells them apart
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None
    zeros: Zeros  # that stay
    epoch: int  # finished
    history: list[dict[str, Any]]
    best: dict[str, Tensor] | None = None

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The moving average in the network's place for the block, where there is one."""
        if self.average is not None:
            self.average.swap(self.strategy.parameters())
        yield
        if self.average is not None:
            self.average.swap(self.strategy.parameters())


def stored(state: State, workers: Workers) -> Checkpoint | None:
    """The state as tensors and facts, for the first worker; all must ask."""
    strategy = state.strategy
    tensors = _within("network", strategy.whole(strategy.state()))
    if state.average is not None:
        tensors |= _within("average", strategy.whole(state.average.values))
    tensors |= _optimizer_tensors(state, workers)
    tensors |= _within("best", state.best or {})
    for rank, states in enumerate(workers.gather(_random_state(workers.device))):
        tensors |= _within(f"random/{rank}", states)
    if not workers.first:
        return None
    return Checkpoint(tensors, {"epoch": state.epoch, "workers": workers.count, "history": state.history})


def restore(state: State, found: Checkpoint, workers: Workers, seed: int) -> None:
    """Put a fresh state where the checkpoint was.

    A worker that there was no such worker of then gets randomness of its own, that of no other epoch.
    """
    strategy = state.strategy
    _copy(strategy.mine(_under(found.tensors, "network")), strategy.state())
    if state.average is not None:
        _copy(strategy.mine(_under(found.tensors, "average")), state.average.values)
    _restore_optimizer(state, found)
    state.best = _under(found.tensors, "best") or None
    state.epoch = int(found.facts["epoch"])
    state.history = list(found.facts["history"])
    random = _under(found.tensors, f"random/{workers.rank}")
    if not random:
        torch.manual_seed(mix("training", seed, workers.rank, state.epoch))
        return
    torch.set_rng_state(random["cpu"])
    if "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"], workers.device)


def _optimizer_tensors(state: State, workers: Workers) -> dict[str, Tensor]:
    """`optimizer/FIELD/PARAMETER`: what the optimizer remembers of each parameter, whole."""
    fields: dict[str, dict[str, Tensor]] = {}
    for name, parameter in state.strategy.parameters().items():
        for field, value in state.optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                fields.setdefault(field, {})[name] = value
    # Asked for in one order by all workers, also by those that hold no parameter with such a field.
    everywhere = sorted({field for theirs in workers.gather(list(fields)) for field in theirs})
    return {
        key: value
        for field in everywhere
        for key, value in _within(f"optimizer/{field}", state.strategy.whole(fields.get(field, {}))).items()
    }


def _restore_optimizer(state: State, found: Checkpoint) -> None:
    parameters = state.strategy.parameters()
    positions = {
        id(parameter): index
        for index, parameter in enumerate(p for group in state.optimizer.param_groups for p in group["params"])
    }
    fields = sorted({name.split("/")[1] for name in found.tensors if name.startswith("optimizer/")})
    remembered: dict[int, dict[str, Tensor]] = {}
    for field in fields:
        for name, value in state.strategy.mine(_under(found.tensors, f"optimizer/{field}")).items():
            parameter = parameters[name]
            remembered.setdefault(positions[id(parameter)], {})[field] = _laid_out(value, parameter)
    groups = state.optimizer.state_dict()["param_groups"]  # settings are the configuration's
    state.optimizer.load_state_dict({"state": remembered, "param_groups": groups})


def _copy(values: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> None:
    if missing := sorted(targets.keys() - values.keys()):
        raise ValueError(f"checkpoint: expected a value of {missing[0]}, found none")
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(values[name])


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _within(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """The tensor with its parameter's strides: a fused optimizer walks both by address, and files are row-major."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
