"""Networks that are narrower than their entry point builds them: which tensors have which shapes, and built again so.

Pruning takes channels out; what is left is told by `NetworkConfig.shapes`, tensor by tensor. Which channels are taken
out is `components.compress.pruning`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from components.config import ConfigurationError

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(network: nn.Module, whole: nn.Module) -> dict[str, tuple[int, ...]]:
    """By the names of the state, the shapes of `network` that differ from `whole`'s, which has the same layers."""
    before = whole.state_dict()
    return {
        name: tuple(value.shape) for name, value in network.state_dict().items() if value.shape != before[name].shape
    }


def narrow(network: nn.Module, shapes: Shapes) -> nn.Module:
    """The network itself, its tensors of these names cut to these shapes: the first of each dimension are left.

    So fresh weights stay as they were initialised. Raises ConfigurationError for a tensor that the network has not got,
    or that would have to grow.
    """
    state = network.state_dict()
    wrong = [_refusal(name, shape, state.get(name)) for name, shape in shapes.items() if not _fits(shape, state, name)]
    if wrong:
        raise ConfigurationError("\n".join(wrong))
    cut: dict[nn.Module, None] = {}
    for name, shape in shapes.items():
        place, _, own = name.rpartition(".")
        module = network.get_submodule(place)
        value = state[name][tuple(slice(size) for size in shape)].clone()
        trained = own in module._parameters
        setattr(module, own, nn.Parameter(value, module._parameters[own].requires_grad) if trained else value)  # type: ignore[union-attr]
        cut[module] = None
    for module in cut:
        _count_again(module)
    return network


def _fits(shape: tuple[int, ...], state: Mapping[str, Tensor], name: str) -> bool:
    if name not in state or len(shape) != state[name].ndim:
        return False
    return all(0 < size <= most for size, most in zip(shape, state[name].shape, strict=True))


def _refusal(name: str, shape: tuple[int, ...], value: Tensor | None) -> str:
    expected = "a tensor that the network has" if value is None else f"a shape within {tuple(value.shape)}"
    return f"network.shapes.{name}: expected {expected}, received {tuple(shape)}"


def _count_again(module: nn.Module) -> None:
    """What a layer knows about its own tensors' shapes."""
    weight = cast(Any, module).weight if isinstance(getattr(module, "weight", None), torch.Tensor) else None
    if weight is None:
        return  # a module with tensors of its own takes their shapes as they are
    layer: Any = module
    if isinstance(module, _ConvNd):
        own, across = (weight.shape[1], weight.shape[0]) if module.transposed else (weight.shape[0], weight.shape[1])
        if module.groups == module.in_channels == module.out_channels > 1:  # depthwise
            layer.groups = weight.shape[0]
        layer.out_channels = own * (layer.groups if module.transposed else 1)
        layer.in_channels = across * (1 if module.transposed else layer.groups)
    elif isinstance(module, nn.Linear):
        layer.out_features, layer.in_features = weight.shape
    elif isinstance(module, _BatchNorm):
        layer.num_features = len(weight)
    elif isinstance(module, nn.GroupNorm):
        layer.num_channels = len(weight)
    elif isinstance(module, nn.LayerNorm):
        layer.normalized_shape = tuple(weight.shape)
