"""Small networks, images and models for this room's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from components.artifacts import ImageSpec, Model, ModelCard, write_model
from components.config import NetworkConfig
from components.models import registry
from components.models.network import save_weights

OUTPUTS = 5
COMPACT = ("convnext", "densenet", "mobilenet", "residual")
# Every attention and every pooling, each with a family that the others do not have.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("convnext", {"attention": "se", "pooling": "gem", "normalization": "group", "stochastic_depth": 0.2}),
    ("densenet", {"attention": "cbam", "pooling": "max", "blocks": 2, "dropout": 0.2}),
    ("mobilenet", {"attention": "self", "blocks": 1, "dilation": 2}),
    ("residual", {"attention": "se", "pooling": "gem"}),
]
# Small ones of other libraries; timm keeps some for tests.
OTHERS = (
    *("torchvision:resnet18", "torchvision:mobilenet_v3_small", "torchvision:shufflenet_v2_x0_5"),
    *("timm:test_resnet", "timm:test_efficientnet", "timm:test_convnext"),
)


def spec(height: int = 16, width: int = 16, channels: int = 1) -> ImageSpec:
    return ImageSpec(height=height, width=width, channels=channels, mean=(0.3,) * channels, std=(0.2,) * channels)


def network(config: NetworkConfig, inputs: ImageSpec | None = None, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return registry.build(config, inputs or spec(), OUTPUTS)


def compact(name: str, **arguments: Any) -> NetworkConfig:
    return NetworkConfig(name=name, arguments={"width": 8, **arguments})


def images(inputs: ImageSpec, count: int = 3) -> torch.Tensor:
    shape = (count, inputs.channels, inputs.height, inputs.width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def awaken(built: nn.Module) -> nn.Module:
    """Weights that start near zero, and statistics that have seen nothing, moved to where training has them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.abs().max() < 1e-3:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
        for module in built.modules():
            if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.1)
    return built


def saved(folder: Path, config: NetworkConfig, built: nn.Module, inputs: ImageSpec, classes: int = OUTPUTS) -> Model:
    card = ModelCard(
        name="model",
        task="classification",
        network=config,
        classes=tuple(f"class {number}" for number in range(classes)),
        input=inputs,
        data="d",
    )
    return write_model(folder, card, lambda target: save_weights(built, target))
