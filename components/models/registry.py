"""Architectures by name. A family's entry point takes the input, the number of outputs and its own arguments.

Every network has one surface: `forward` maps images `(N, C, H, W)` in [0, 1], or texts `(N, L)`, to raw outputs,
`features` to a feature map, `embed` to what is seen of it by the `head`. A compact family is one file and one
registration; networks that others keep are taken from them by name (`external`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Protocol, TypeVar, get_type_hints

from torch import Tensor, nn

from components.artifacts import Head, ImageSpec, InputSpec
from components.config import ConfigurationError, NetworkConfig
from components.members import FAMILIES
from components.models.forms import VECTOR
from components.models.narrowing import narrow
from components.models.parts.arguments import wrong_arguments
from components.models.parts.layers import Parts
from components.models.parts.units import in_units

# Short names for what is asked for most; any other network is `torchvision:NAME` or `timm:NAME`.
ALIASES = {
    "convnext_tiny": "torchvision:convnext_tiny",
    "densenet121": "torchvision:densenet121",
    "efficientnet_b0": "torchvision:efficientnet_b0",
    "efficientnet_lite0": "timm:efficientnet_lite0",
    "mobilenet_v2": "torchvision:mobilenet_v2",
    "mobilenet_v3_large": "torchvision:mobilenet_v3_large",
    "mobilenet_v3_small": "torchvision:mobilenet_v3_small",
    "resnet18": "torchvision:resnet18",
    "resnet34": "torchvision:resnet34",
    "resnet50": "torchvision:resnet50",
}


class Network(Protocol):
    """What every architecture offers.

    Where the last layer is linear in the embedding, it is an `nn.Linear` called `head`, and the outputs are
    `head(embed(images))`: so it can be fitted again by itself. It is so in all but those that answer for each place:
    the U-Net and the detector, whose head is a 1×1 convolution over the finest features, and whose `features` are two
    maps, the deepest and the finest; and `idcnn`, whose head is one over a text's units.
    """

    head: nn.Module

    def __call__(self, inputs: Tensor) -> Tensor:
        """`(N, C, H, W)` in [0, 1] → raw outputs `(N, K)`, `(N, K, H, W)`, `(N, K, L)` or `(N, L, 8 + K)`."""
        ...

    def features(self, inputs: Tensor) -> Any:
        """`(N, C, H, W)` in [0, 1] → the last feature map `(N, D, h, w)`."""
        ...

    def embed(self, inputs: Tensor) -> Tensor:
        """`(N, C, H, W)` in [0, 1] → `(N, D)`: what the head sees, pooled over space."""
        ...


EntryPoint = TypeVar("EntryPoint", bound=Callable[..., nn.Module])
_entries: dict[str, Callable[..., nn.Module]] = {}
_gives: dict[str, str] = {}
_takes: dict[str, str] = {}


def register(name: str, *, gives: str = VECTOR, takes: str = "image") -> Callable[[EntryPoint], EntryPoint]:
    """Add an entry point `(inputs: InputSpec, outputs: int, **arguments) -> nn.Module`; a name in use raises.

    `gives` is the form of its outputs: one of `forms`, or what the family alone gives. `takes` is the kind of input
    that it is for.

    One that has an argument `parts: Parts` takes the arguments that all compact networks share.
    """

    def add(entry: EntryPoint) -> EntryPoint:
        if name in _entries:
            raise ValueError(f"architecture {name!r} is registered already, by {_entries[name].__module__}")
        _entries[name], _gives[name], _takes[name] = entry, gives, takes
        return entry

    return add


def home(name: str) -> str:
    """The module that registered an architecture."""
    return _entry(name).__module__


def names() -> list[str]:
    """The families; besides them there are `ALIASES`, and whatever `external` finds."""
    return sorted({*FAMILIES.names(), *_entries})


def arguments(name: str) -> dict[str, tuple[Any, Any]]:
    """A family's arguments: annotation and default of each, its own first."""
    entry = _entry(name)
    known = inspect.signature(entry).parameters
    hints = get_type_hints(entry, include_extras=True)
    found = {
        argument: (hints[argument], parameter.default)
        for argument, parameter in known.items()
        if argument not in ("inputs", "outputs", "parts")
    }
    return {**found, **(_shared() if "parts" in known else {})}


def gives(name: str) -> str:
    """The form of what a network gives; raises KeyError for a family that there is not."""
    if ":" in ALIASES.get(name, name):
        return VECTOR  # torchvision's and timm's classification networks
    _entry(name)
    return _gives[name]


def takes(name: str) -> str:
    """The kind of input that a network is for; raises KeyError for a family that there is not."""
    if ":" in ALIASES.get(name, name):
        return "image"  # torchvision's and timm's
    _entry(name)
    return _takes[name]


def problems(
    config: NetworkConfig, key: str = "network", form: str | None = None, given: str | None = None
) -> list[str]:
    """What is wrong with a network's configuration, a line each, with the key that it stands under.

    `form` is what the task's head gives, and `given` the kind of input, where these are known.
    """
    if wrong := _problems(config, key):
        return wrong
    if given is not None and takes(config.name) != given:
        suitable = ", ".join(name for name in names() if takes(name) == given) or "there is none"
        return [
            f"{key}.name: expected a network for inputs of kind {given} ({suitable}), received {config.name!r}, which "
            f"is for those of kind {takes(config.name)}"
        ]
    if form is None or gives(config.name) == form:
        return []
    fitting = (name for name in names() if gives(name) == form and given in (None, takes(name)))
    suitable = ", ".join(fitting) or "there is none"
    return [
        f"{key}.name: expected a network that gives a {form}, which the task needs ({suitable}), received "
        f"{config.name!r}, which gives a {gives(config.name)}"
    ]


def _problems(config: NetworkConfig, key: str) -> list[str]:
    name = ALIASES.get(config.name, config.name)
    if ":" in name:
        from components.models.libraries import external

        return external.problems(config.model_copy(update={"name": name}), key)
    if name not in names():
        known = [*names(), *sorted(ALIASES)]
        close = get_close_matches(name, known, n=1)
        return [
            f"{key}.name: expected one of {', '.join(known)}, torchvision:NAME or timm:NAME, received {name!r}"
            + (f"; did you mean {close[0]}?" if close else "")
        ]
    expected = {argument: annotation for argument, (annotation, _) in arguments(name).items()}
    return wrong_arguments(config.arguments, expected, key)


def build(config: NetworkConfig, inputs: InputSpec, head: Head | int) -> nn.Module:
    """An untrained network narrowed to its `shapes`, whatever `pretrained` says (that is `pretrained.load`'s business).

    A `head` that is a number asks for so many outputs in whatever form the family gives them.

    Raises ConfigurationError for a name, an argument or a tensor that does not exist, ValueError for images that do not
    fit.
    """
    if isinstance(head, int):
        return narrow(_whole(config, inputs, head), config.shapes)
    if wrong := problems(config, form=head.gives, given=inputs.kind):
        raise ConfigurationError("\n".join(wrong))
    network = narrow(_whole(config, inputs, head.outputs), config.shapes)
    return in_units(network, head.mean, head.std) if head.mean else network


def _whole(config: NetworkConfig, inputs: InputSpec, outputs: int) -> nn.Module:
    """As the entry point builds it."""
    name = ALIASES.get(config.name, config.name)
    if ":" in name:
        from components.models.libraries import external

        if not isinstance(inputs, ImageSpec):
            raise ConfigurationError("\n".join(problems(config, given=inputs.kind)))
        return external.build(config.model_copy(update={"name": name}), inputs, outputs)
    if wrong := _problems(config, "network"):
        raise ConfigurationError("\n".join(wrong))
    entry = _entry(name)
    own: Mapping[str, Any] = config.arguments
    if "parts" not in inspect.signature(entry).parameters:
        return entry(inputs, outputs, **own)
    shared = {argument: value for argument, value in own.items() if argument in _shared()}
    rest = {argument: value for argument, value in own.items() if argument not in shared}
    return entry(inputs, outputs, parts=Parts(**shared), **rest)


def _shared() -> dict[str, tuple[Any, Any]]:
    hints = get_type_hints(Parts, include_extras=True)
    return {field.name: (hints[field.name], field.default) for field in fields(Parts)}


def _entry(name: str) -> Callable[..., nn.Module]:
    """A family's entry point, imported now."""
    if name not in _entries:
        module = FAMILIES.load(name)
        if name not in _entries:
            raise ValueError(f"{module.__name__}: expected a family that is registered as {name!r}, received none")
    return _entries[name]
