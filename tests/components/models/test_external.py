"""Networks of other libraries: the same answers as there, for any channels and sizes."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from components.config import ConfigurationError, NetworkConfig
from components.models import registry
from components.models.libraries import from_torchvision
from components.models.libraries.stem import halvings_to_skip
from tests.components.models.models_builders import OUTPUTS, images, network, spec

# One of each class that torchvision has.
CHAINS = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t"),
    *("mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18", "shufflenet_v2_x0_5", "swin_t", "swin_v2_t"),
    "vgg11_bn",
)
SIZES = {"inception_v3": 96, "maxvit_t": 224}


def renamed(built: nn.Module, state: dict[str, Any]) -> dict[str, Any]:
    """The library's state by the names that it has here."""
    head = str(built.head_name)
    return {
        f"head.{name[len(head) + 1 :]}" if name.startswith(f"{head}.") else f"body.{name}": value
        for name, value in state.items()
    }


def same_answers(built: nn.Module, theirs: nn.Module, size: int) -> None:
    missing = built.load_state_dict(renamed(built, theirs.state_dict()), strict=False)
    assert set(missing.missing_keys) == {"normalize.mean", "normalize.std"}
    assert missing.unexpected_keys == []
    shown = images(spec(size, size, 3), 2)
    with torch.inference_mode():
        expected = theirs.eval()((shown - 0.3) / 0.2)
        assert torch.equal(built.eval()(shown), expected)


@pytest.mark.parametrize("name", CHAINS)
def test_torchvisions_networks_answer_as_in_torchvision(name: str) -> None:
    size = SIZES.get(name, 64)
    built = network(NetworkConfig(name=f"torchvision:{name}", arguments={"stem": "original"}), spec(size, size, 3))
    own: dict[str, Any] = {"input_size": (size, size)} if name == "maxvit_t" else {}
    theirs = models.get_model(
        name, weights=None, num_classes=OUTPUTS, **from_torchvision.WITHOUT_EXITS.get(name, {}), **own
    )
    same_answers(built, theirs, size)


def test_every_class_of_torchvisions_is_among_them_or_refused() -> None:
    kinds = {from_torchvision.kind(name) for name in from_torchvision.names()}
    assert kinds == {from_torchvision.kind(name) for name in CHAINS}
    refused = [name for name in models.list_models(module=models) if from_torchvision.refusal(name)]
    assert len(refused) + len(from_torchvision.names()) == len(models.list_models(module=models))
    assert {name.split("_")[0].rstrip("0123456789") for name in refused} == {"mnasnet", "squeezenet", "vit"}


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "mobilenetv3_small_050", "regnety_002"]
)
def test_timms_networks_answer_as_in_timm(name: str) -> None:
    built = network(NetworkConfig(name=f"timm:{name}", arguments={"stem": "original"}), spec(64, 64, 3))
    size = {"img_size": 64} if name == "test_vit" else {}
    same_answers(built, timm.create_model(name, num_classes=OUTPUTS, **size), 64)


@pytest.mark.parametrize(
    ("stem", "size", "skipped"),
    [("auto", 224, 0), ("auto", 64, 1), ("auto", 28, 2), ("original", 28, 0), ("small", 96, 1), ("small", 32, 2)],
)
def test_small_images_skip_the_first_halvings(stem: Any, size: int, skipped: int) -> None:
    assert halvings_to_skip(stem, spec(size, size)) == skipped


@pytest.mark.parametrize(
    "name", ["torchvision:resnet18", "torchvision:mobilenet_v2", "torchvision:regnet_x_400mf", "timm:test_efficientnet"]
)
def test_a_small_stem_leaves_a_map_and_takes_the_same_weights(name: str) -> None:
    inputs = spec(32, 32, 3)
    original, small = (
        network(NetworkConfig(name=name, arguments={"stem": stem}), inputs).eval() for stem in ("original", "small")
    )
    small.load_state_dict(original.state_dict())
    with torch.inference_mode():
        assert original.features(images(inputs)).shape[2:] == (1, 1)
        assert small.features(images(inputs)).shape[2:] == (4, 4)


def test_arguments_reach_the_library() -> None:
    config = NetworkConfig(name="torchvision:mobilenet_v2", arguments={"width_mult": 0.5, "dropout": 0.4})
    built = network(config, spec(32, 32, 1))
    assert next(m for m in built.modules() if isinstance(m, nn.Dropout)).p == 0.4
    plain = network(NetworkConfig(name="torchvision:mobilenet_v2"), spec(32, 32, 1))
    assert sum(p.numel() for p in built.parameters()) < 0.5 * sum(p.numel() for p in plain.parameters())
    assert network(NetworkConfig(name="timm:test_resnet", arguments={"drop_rate": 0.3}), spec()).body.drop_rate == 0.3


def test_images_that_a_network_cannot_take_are_refused_when_it_is_built() -> None:
    with pytest.raises(ConfigurationError, match=r"timm:test_vit can be built with for 28×28 pixels"):
        network(NetworkConfig(name="timm:test_vit"), spec(28, 28))
    with pytest.raises(ConfigurationError, match="a network with a linear classifier, found Conv2d"):
        network(NetworkConfig(name="timm:dla34"), spec(64, 64, 3))


def test_nothing_of_another_library_is_imported_for_our_own_families() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from components.config import NetworkConfig; from components.models import registry;"
        "assert registry.problems(NetworkConfig(name='residual')) == [];"
        "assert not {'timm', 'torchvision'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_registry_lists_what_is_ours() -> None:
    assert not any(":" in name for name in registry.names())
