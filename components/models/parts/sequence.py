"""A network as an ordered chain of named layers: for cutting it into stages, and for telling early layers from late."""

from __future__ import annotations

from torch import nn

from components.config import ConfigurationError


def sequence(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers whose composition is the network's `forward`, in order, `head` last.

    A layer's name is the prefix that its weights have in the network's state: `features.4` holds `features.4.body…`.
    Raises ConfigurationError for a network that is no chain (branches that rejoin, as a U-Net's).
    """
    stages = getattr(network, "stages", None)
    if stages is None:
        raise ConfigurationError(
            f"network: expected one that is a chain of layers (residual, densenet, mobilenet, convnext, or one of "
            f"torchvision's), received {type(network).__name__}, which cannot be cut into stages"
        )
    layers: list[tuple[str, nn.Module]] = stages()
    return layers


def blocks(network: nn.Module) -> list[list[str]]:
    """Names of the parameters of each block, from the first layer to the last before the head, which is left out.

    A block has weights: normalisation that stands as a layer of its own belongs to the layer before it.
    """
    own = getattr(network, "blocks", None)
    if own is not None:
        named: list[list[str]] = own()
        return named
    found: list[list[str]] = []
    for prefix, layer in sequence(network):
        parameters = dict(layer.named_parameters())
        names = [f"{prefix}.{name}" for name in parameters]
        if not names or prefix == "head":
            continue
        if found and all(parameter.ndim <= 1 for parameter in parameters.values()):
            found[-1] += names
        else:
            found.append(names)
    return found
