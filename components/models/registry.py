"""Architectures by name. A family's entry point takes the input, the number of outputs and its own arguments.

Every network has one surface: `forward` maps images `(N, C, H, W)` in [0, 1] to raw outputs, `embed` to `(N, D)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Protocol, TypeVar

from torch import Tensor, nn

from components.artifacts import InputSpec
from components.config import ConfigurationError, NetworkConfig

FAMILIES = ("components.models.residual", "components.models.unet")


class Network(Protocol):
    """What every architecture offers.

    Where the last layer is linear in the embedding, it is an `nn.Linear` called `head`, and the outputs are
    `head(embed(images))`: so it can be fitted again by itself.
    """

    def __call__(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` in [0, 1] → raw outputs `(N, K)` or `(N, K, H, W)`."""
        ...

    def embed(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)` in [0, 1] → `(N, D)`: what the head sees, pooled over space."""
        ...


EntryPoint = TypeVar("EntryPoint", bound=Callable[..., nn.Module])
_entries: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable[[EntryPoint], EntryPoint]:
    """Add an entry point `(inputs: InputSpec, outputs: int, **arguments) -> nn.Module`; a name in use raises."""

    def add(entry: EntryPoint) -> EntryPoint:
        if name in _entries:
            raise ValueError(f"architecture {name!r} is registered already, by {_entries[name].__module__}")
        _entries[name] = entry
        return entry

    return add


def names() -> list[str]:
    """The registered architectures."""
    _load_families()
    return sorted(_entries)


def problems(config: NetworkConfig, key: str = "network") -> list[str]:
    """What is wrong with a network's configuration, a line each, with the key that it stands under."""
    if config.name not in names():
        return [f"{key}.name: expected one of {', '.join(names())}, received {config.name!r}"]
    known = inspect.signature(_entries[config.name], eval_str=True).parameters
    types = {name: parameter.annotation for name, parameter in known.items() if name not in ("inputs", "outputs")}
    wrong = []
    for name, value in sorted(config.arguments.items()):
        where = f"{key}.arguments.{name}"
        if name not in types:
            wrong.append(f"{where}: expected one of {', '.join(sorted(types))}, received {value!r}")
        elif type(value) is not types[name] and (type(value), types[name]) != (int, float):
            wrong.append(f"{where}: expected {types[name].__name__}, received {value!r}")
    return wrong


def build(config: NetworkConfig, inputs: InputSpec, outputs: int) -> nn.Module:
    """An untrained network; raises ConfigurationError for a name or an argument that does not exist."""
    if wrong := problems(config):
        raise ConfigurationError("\n".join(wrong))
    return _entries[config.name](inputs, outputs, **config.arguments)


def _load_families() -> None:
    for module in FAMILIES:
        import_module(module)
