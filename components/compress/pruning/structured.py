"""Whole channels out of a network, with everything that depends on them (Torch-Pruning, Fang et al. 2023).

Which layers belong together (a residual's two sides, what a concatenation carries on, a depthwise convolution and what
is around it) the library finds by tracing; what it makes is looked at here before anybody goes on with it.
"""

from __future__ import annotations

import copy
import importlib.util
import random
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from components import offered
from components.artifacts import InputSpec
from components.config import StructuredConfig
from components.data.reading.loading import Arrays
from components.export.errors import CompressionError
from components.inputs.registry import noise
from components.models.parts.attention import SelfAttention, SpatialAttention
from components.models.preprocessing import preprocess
from components.models.registry import Network
from components.tasks.protocol import Task
from components.training.reading.samples import batch_of

STEPS = 100  # a step takes at most 1 % of the channels: the target is met as closely as that
VECTORS = (16, 8)  # channels that fill one, in float32 with AVX-512 and with AVX2
MOST = 0.95  # of a layer's channels that may go: a layer of none would end the network
BATCH = 64
# Layers that need all channels of what they see: heads of attention, and the two maps that CBAM looks at.
BOUND = (SelfAttention, SpatialAttention)

Reached = Callable[[nn.Module], bool]


def missing() -> str | None:
    """Why nothing can be pruned in a structured way here; None where it can."""
    if importlib.util.find_spec("torch_pruning") is not None:
        return None
    return f"Torch-Pruning is not installed (`{offered.installing('pruning')}`)"


def cut(network: nn.Module, inputs: InputSpec, config: StructuredConfig, reached: Reached) -> nn.Module:
    """The network with its least important channels taken out, one step after the other, until `reached`.

    The outputs stay as many as they are. The network that is given is not to be used any more; for `importance: taylor`
    it has gradients already (`feel`). Raises CompressionError for a network that cannot be traced, or whose layers end
    before that.
    """
    *coarse, finest = _multiples(network, inputs, config)
    for multiple in coarse:
        found = _cut(copied(network), inputs, config, multiple, reached)
        if reached(found):
            return found
    found = _cut(network, inputs, config, finest, reached)
    if not reached(found):
        raise CompressionError(
            f"{type(network).__name__}: expected prune.keep to be reachable, and {MOST:.0%} of the channels that may go"
            f"{f', {finest} at a time,' if finest > 1 else ''} are not enough; keep more, or prune a network without "
            f"attention across channels"
        )
    return found


def _multiples(network: nn.Module, inputs: InputSpec, config: StructuredConfig) -> list[int]:
    """In which steps layers are to be cut, the first choice first."""
    if config.multiple_of != "auto":
        return [config.multiple_of]
    narrowest = min(_widths(network, inputs), default=1)
    return [*(multiple for multiple in VECTORS if narrowest >= 2 * multiple), 1]


def _widths(network: nn.Module, inputs: InputSpec) -> list[int]:
    """Channels of the convolutions whose outputs are maps, which a squeeze-and-excitation's are not."""
    widths: list[int] = []

    def see(_layer: nn.Module, _inputs: object, maps: Tensor) -> None:
        if maps.shape[2:].numel() > 1:
            widths.append(maps.shape[1])

    held = {part for module in _held(network) for part in module.modules()}
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module not in held]
    hooks = [layer.register_forward_hook(see) for layer in layers]
    _shape_of_answer(network.eval(), preprocess(torch.from_numpy(noise(inputs, 1))))
    for hook in hooks:
        hook.remove()
    return widths


def _cut(network: nn.Module, inputs: InputSpec, config: StructuredConfig, multiple: int, reached: Reached) -> nn.Module:
    """The network itself, cut in steps of `multiple` channels until `reached` or until nothing more may go."""
    import torch_pruning

    name = type(network).__name__
    sample = preprocess(torch.from_numpy(noise(inputs, 2)))
    network.eval()
    expected = _shape_of_answer(network, sample)
    try:
        pruner = _pruner(torch_pruning, network, sample[:1], config, multiple)
        for _ in range(STEPS):
            if reached(network):
                break
            pruner.step()
    except (
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        NotImplementedError,
        RuntimeError,
        TypeError,
    ) as error:
        raise CompressionError(
            f"{name}: expected a network that Torch-Pruning can prune, and it says: {error}"
        ) from error
    found = _shape_of_answer(network, sample)
    if found != expected:
        raise CompressionError(f"{name}: expected answers of shape {expected} after pruning, found {found}")
    network.zero_grad(set_to_none=True)
    return network


def feel(network: nn.Module, task: Task, samples: Arrays) -> nn.Module:
    """The network with the gradient of the mean loss on `samples` in its parameters, in evaluation mode."""
    network.eval()
    network.zero_grad(set_to_none=True)
    for start in range(0, len(samples), BATCH):
        part = slice(start, start + BATCH)
        inputs, targets = (np.ascontiguousarray(each[part]) for each in (samples.inputs, samples.targets))
        batch = batch_of(inputs, targets, torch.device("cpu"))
        loss = task.loss(network(batch.inputs), batch)["loss"]
        (loss * (len(inputs) / len(samples))).backward()  # type: ignore[no-untyped-call]
    return network


def copied(network: nn.Module) -> nn.Module:
    """The network with its gradients, which a plain copy leaves behind."""
    found = copy.deepcopy(network)
    for own, other in zip(network.parameters(), found.parameters(), strict=True):
        other.grad = None if own.grad is None else own.grad.clone()
    return found


def _pruner(library: Any, network: nn.Module, sample: Tensor, config: StructuredConfig, multiple: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ConvNeXt's scales are no layers: they are pruned with what they scale
        return library.pruner.BasePruner(
            network,
            sample,
            importance=_importance(library, config.importance),
            global_pruning=config.ranking == "global",
            pruning_ratio=MOST,
            max_pruning_ratio=MOST,
            iterative_steps=STEPS,
            ignored_layers=_held(network),
            round_to=multiple if multiple > 1 else None,
            # The library's own defaults are one dictionary for all pruners of a process.
            in_channel_groups={},
            out_channel_groups={},
            num_heads={},
        )


def _held(network: nn.Module) -> list[nn.Module]:
    """What keeps its widths."""
    return [cast(Network, network).head, *(module for module in network.modules() if isinstance(module, BOUND))]


def _importance(library: Any, kind: str) -> Any:
    if kind == "taylor":
        return library.importance.GroupTaylorImportance()
    if kind == "magnitude":
        return library.importance.GroupMagnitudeImportance(p=2)
    draw = random.Random(0)  # noqa: S311 — which channels go in a control, not a secret

    def by_chance(group: Any) -> Tensor:
        return torch.tensor([draw.random() for _ in group[0].idxs])

    return by_chance


def _shape_of_answer(network: nn.Module, sample: Tensor) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(network(sample).shape)
