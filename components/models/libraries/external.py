"""Networks that others keep, by name: `torchvision:resnet18`, `timm:efficientnet_lite0`.

They are built for the data's channels and size, their last linear layer becomes the `head`, and arguments are theirs,
checked against the signature of the network's class. One argument is ours: `stem` (`auto`, `original`, `small`). What
is peculiar to a library stands in its own file. Importing one takes a second or two, so it happens when one is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

import torch
from torch import nn

from components.artifacts import ImageSpec
from components.config import ConfigurationError, NetworkConfig
from components.models.libraries.stem import Stem
from components.models.parts.arguments import wrong_arguments

PLAIN = (bool, int, float, str)


class Library(Protocol):
    """What a library's file offers."""

    RESERVED: frozenset[str]  # arguments that follow from the data

    def names(self) -> Sequence[str]:
        """All networks it can classify images with."""
        ...

    def known(self, name: str) -> bool:
        """Whether there is a network of that name."""
        ...

    def refusal(self, name: str) -> str | None:
        """Why a network of that name cannot be taken, where it is known and cannot."""
        ...

    def kind(self, name: str) -> type[nn.Module]:
        """The class of the network of that name."""
        ...

    def build(self, name: str, inputs: ImageSpec, outputs: int, stem: Stem, arguments: Mapping[str, Any]) -> nn.Module:
        """The network with the surface of `registry.Network`."""
        ...


def problems(config: NetworkConfig, key: str) -> list[str]:
    """What is wrong with the configuration of a `LIBRARY:NAME`; nothing is built."""
    origin, name = config.name.split(":", 1)
    if origin not in ("torchvision", "timm"):
        return [f"{key}.name: expected torchvision:NAME or timm:NAME, received {config.name!r}"]
    library = _library(origin)
    if (refusal := library.refusal(name)) is not None:
        return [f"{key}.name: {refusal}, received {config.name!r}"]
    if not library.known(name):
        close = get_close_matches(name, library.names(), n=3, cutoff=0.5)
        meant = f"; did you mean {', '.join(f'{origin}:{other}' for other in close)}?" if close else ""
        return [f"{key}.name: expected a network that {origin} has, received {config.name!r}{meant}"]
    return _wrong_arguments(library, name, config.arguments, key)


def build(config: NetworkConfig, inputs: ImageSpec, outputs: int) -> nn.Module:
    """See `registry.build`."""
    if wrong := problems(config, "network"):
        raise ConfigurationError("\n".join(wrong))
    origin, name = config.name.split(":", 1)
    arguments = dict(config.arguments)
    stem: Any = arguments.pop("stem", "auto")
    try:
        network = _library(origin).build(name, inputs, outputs, stem, arguments)
        with torch.no_grad():  # some are never too small for an image until they see it
            network.eval()(torch.zeros(1, inputs.channels, inputs.height, inputs.width))
        return network.train()
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"network: expected arguments that {config.name} can be built with for {inputs.height}×{inputs.width} "
            f"pixels, received {config.arguments}: {error}"
        ) from error


def _wrong_arguments(library: Library, name: str, arguments: Mapping[str, Any], key: str) -> list[str]:
    expected: dict[str, Any] = {"stem": Stem}
    for parameter in inspect.signature(library.kind(name).__init__).parameters.values():
        if parameter.name in library.RESERVED or parameter.kind is parameter.VAR_KEYWORD:
            continue
        kind = _plain(parameter)
        if kind is not None:
            expected[parameter.name] = kind
    return wrong_arguments(arguments, expected, key)


def _plain(parameter: inspect.Parameter) -> Any:
    """The type of an argument that can stand in a configuration; None for one that cannot."""
    if parameter.annotation in PLAIN:
        return parameter.annotation
    if type(parameter.default) in PLAIN:
        return type(parameter.default)
    return None


def _library(origin: str) -> Library:
    from components.models.libraries import from_timm, from_torchvision

    libraries: dict[str, Any] = {"timm": from_timm, "torchvision": from_torchvision}
    library: Library = libraries[origin]
    return library
