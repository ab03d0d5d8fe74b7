"""torchvision's classification networks, with the surface of `registry.Network`.

Each is a chain of its children: a trunk, a pooling, a classifier whose last layer is linear. Those that are none
(ViT's class token, SqueezeNet's convolution as classifier) are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, cast, get_type_hints

import torch
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.libraries.stem import Stem, halvings_to_skip, skip_halvings
from components.models.parts.layers import Normalize

RESERVED = frozenset(
    {"self", "num_classes", "weights", "progress", "block", "input_size", "aux_logits", "transform_input"}
)
# Their own names in torchvision → why they cannot be taken.
REFUSED = {
    "mnasnet": "expected a network whose weights any file can hold; timm's MNASNets can be taken (timm:mnasnet_100)",
    "squeezenet": "expected a network whose last layer is linear, which SqueezeNet's is not",
    "vit": "expected a network that is a chain of layers; timm has vision transformers that can be taken (timm:vit_…)",
}
# Early exits have losses of their own, which no task here knows.
WITHOUT_EXITS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def names() -> Sequence[str]:
    """Those that classify images and can be taken."""
    from torchvision import models

    return [name for name in models.list_models(module=models) if refusal(name) is None]


def known(name: str) -> bool:
    return name in names()


def refusal(name: str) -> str | None:
    from torchvision import models

    if name in models.list_models(module=models):
        return next((why for start, why in REFUSED.items() if name.startswith(start)), None)
    if name in models.list_models():
        where = models.get_model_builder(name).__module__.split(".")[2]
        return f"expected a network that classifies images, and torchvision has this one for {where}"
    return None


def kind(name: str) -> type[nn.Module]:
    """The class of the network of that name, whose signature says which arguments there are."""
    from torchvision import models

    return cast(type[nn.Module], get_type_hints(models.get_model_builder(name))["return"])


def create(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    return cast(nn.Module, models.get_model(name, weights=None, **WITHOUT_EXITS.get(name, {}), **arguments))


def build(name: str, inputs: ImageSpec, outputs: int, stem: Stem, arguments: Mapping[str, Any]) -> nn.Module:
    size = {"input_size": (inputs.height, inputs.width)} if name.startswith("maxvit") else {}
    network = create(name, {**size, **arguments, "num_classes": outputs})
    adapt_channels(network, inputs.channels)
    built = Torchvision(inputs, network)
    skip_halvings([built.get_submodule(layer) for layer in built.trunk], halvings_to_skip(stem, inputs))
    return built


class Torchvision(nn.Module):
    """The library's network as `body`, without its last layer, which is the `head`."""

    def __init__(self, inputs: ImageSpec, network: nn.Module) -> None:
        super().__init__()
        self.normalize = Normalize(inputs)
        self.body = network
        self.head_name, self.head = take_head(network)
        children = [name for name, _ in network.named_children()]
        last = self.head_name.split(".")[0]
        pooled = "avgpool" if "avgpool" in children else last
        trunk = list(takewhile(lambda child: child != pooled, children))
        classifier = network.get_submodule(last)
        pools_itself = isinstance(classifier, nn.Sequential) and isinstance(classifier[0], nn.AdaptiveAvgPool2d)
        # DenseNet ends with an activation that is no layer of its own.
        self.activation = nn.ReLU() if type(network).__name__ == "DenseNet" else nn.Identity()
        pool = getattr(network, "avgpool", nn.AdaptiveAvgPool2d(1))
        # ConvNeXt normalises before it flattens, and does both in its classifier.
        flattens = any(isinstance(layer, nn.Flatten) for layer in classifier.children())
        self.pool = nn.Sequential() if pools_itself else nn.Sequential(pool, *([] if flattens else [nn.Flatten(1)]))
        after = [c for c in children[children.index(pooled) :] if c not in ("avgpool", "flatten", last)]
        self.trunk = ["normalize", *expanded(network, trunk, "body."), "activation"]
        self.classifier = ["pool", *(f"body.{name}" for name in after), *expanded(network, [last], "body.")]

    def features(self, images: Tensor) -> Tensor:
        return self._through(self.trunk, images)

    def embed(self, images: Tensor) -> Tensor:
        return self._through(self.classifier, self.features(images))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.embed(images)))

    def stages(self) -> list[tuple[str, nn.Module]]:
        """The layers in order, by the names that their weights have in the network's state."""
        return [(name, self.get_submodule(name)) for name in (*self.trunk, *self.classifier, "head")]

    def _through(self, layers: Sequence[str], x: Tensor) -> Tensor:
        for name in layers:
            x = self.get_submodule(name)(x)
        return x


def take_head(network: nn.Module) -> tuple[str, nn.Linear]:
    """The last linear layer and its name; in the network, nothing is left in its place."""
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"{type(network).__name__}: expected a linear layer at the end, found none")
    name, head = linear[-1]
    network.set_submodule(name, nn.Identity())
    return name, head


def adapt_channels(network: nn.Module, channels: int) -> None:
    """Replace the first convolution by one for that many channels, with fresh weights, where it has another number."""
    name, first = next((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    if first.in_channels == channels:
        return
    fresh = nn.Conv2d(
        channels,
        first.out_channels,
        cast(Any, first.kernel_size),
        stride=cast(Any, first.stride),
        padding=cast(Any, first.padding),
        dilation=cast(Any, first.dilation),
        bias=first.bias is not None,
    )
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    if fresh.bias is not None:
        torch.nn.init.zeros_(fresh.bias)
    network.set_submodule(name, fresh)


def expanded(network: nn.Module, names: Sequence[str], prefix: str) -> list[str]:
    """The children's names behind `prefix`, in order: what containers contain in their place, other layers whole."""
    found: list[str] = []
    for name in names:
        module = network.get_submodule(name)
        if _is_container(module):
            found += expanded(module, [child for child, _ in module.named_children()], f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found


def _is_container(module: nn.Module) -> bool:
    """A chain of blocks, rather than one block that happens to be a chain: a convolution and what belongs to it."""
    if type(module) in (nn.Sequential, nn.ModuleList):
        return True
    is_block = any(isinstance(child, nn.Conv2d) for child in module.children())
    return type(module).forward is nn.Sequential.forward and not is_block
