"""timm's networks, with the surface of `registry.Network`: timm's own `forward_features` and `forward_head`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_type_hints

import torch
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.models.libraries.from_torchvision import expanded
from components.models.libraries.stem import Stem, halvings_to_skip, skip_halvings
from components.models.parts.layers import Normalize

RESERVED = frozenset({"self", "num_classes", "in_chans", "img_size", "device", "dtype"})


def names() -> Sequence[str]:
    import timm

    return list(timm.list_models())


def known(name: str) -> bool:
    """Also with the tag of its weights: `resnet18.a1_in1k`."""
    from timm.models import is_model, is_model_pretrained

    return bool(is_model(name) and ("." not in name or is_model_pretrained(name)))


def refusal(name: str) -> str | None:
    """None: timm's are all for classification."""
    return None


def kind(name: str) -> type[nn.Module]:
    """The class of the network of that name, whose signature says which arguments there are."""
    from timm.models import model_entrypoint

    entry = model_entrypoint(name)
    said = get_type_hints(entry).get("return")
    if isinstance(said, type) and issubclass(said, nn.Module) and said is not nn.Module:
        return said
    with torch.device("meta"):  # neither memory nor arithmetic
        return type(entry())


def create(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    import timm

    return timm.create_model(name, pretrained=False, **arguments)


def build(name: str, inputs: ImageSpec, outputs: int, stem: Stem, arguments: Mapping[str, Any]) -> nn.Module:
    given = {"num_classes": outputs, "in_chans": inputs.channels, **arguments}
    size = inspect.signature(kind(name).__init__).parameters.get("img_size")
    if (
        size is not None and size.default is not None
    ):  # a table of positions, or windows: the halvings are theirs to choose
        return Timm(inputs, create(name, {**given, "img_size": (inputs.height, inputs.width)}))
    network = create(name, given)
    children = expanded(network, [child for child, _ in network.named_children()], "")
    skip_halvings([network.get_submodule(child) for child in children], halvings_to_skip(stem, inputs))
    return Timm(inputs, network)


class Timm(nn.Module):
    """The library's network as `body`, without its classifier, which is the `head`."""

    def __init__(self, inputs: ImageSpec, network: nn.Module) -> None:
        super().__init__()
        body: Any = network
        self.normalize = Normalize(inputs)
        head = body.get_classifier()
        if not isinstance(head, nn.Linear):
            raise ValueError(f"expected a network with a linear classifier, found {type(head).__name__}")
        self.head_name = next(name for name, module in body.named_modules() if module is head)
        self.head = head
        body.reset_classifier(0)
        self.body = body

    def features(self, images: Tensor) -> Tensor:
        """As a map `(N, D, h, w)`; a transformer's tokens stand in one column, `(N, D, tokens, 1)`."""
        return self.as_map(self.body.forward_features(self.normalize(images)))

    def as_map(self, found: Tensor) -> Tensor:
        """What the library's `forward_features` gives, as `features` does."""
        if found.ndim == 3:
            return found.transpose(1, 2).unsqueeze(-1)
        return found.permute(0, 3, 1, 2) if getattr(self.body, "output_fmt", "NCHW") == "NHWC" else found

    def embed(self, images: Tensor) -> Tensor:
        found = self.body.forward_features(self.normalize(images))
        return cast(Tensor, self.body.forward_head(found, pre_logits=True))

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.head(self.embed(images)))

    def blocks(self) -> list[list[str]]:
        """Names of parameters from the first layer to the last before the head, in timm's own grouping."""
        from timm.models import group_parameters

        groups = group_parameters(self.body, self.body.group_matcher(coarse=False))
        return [[f"body.{name}" for name in groups[number]] for number in sorted(groups)]
