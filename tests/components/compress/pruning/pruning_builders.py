"""Networks of this room's tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from components.artifacts import ImageSpec
from components.config import NetworkConfig, StructuredConfig
from components.models import registry

INPUTS = ImageSpec(height=16, width=16, channels=1, mean=(0.3,), std=(0.2,))
OUTPUTS = 5


def network(name: str, width: int = 12, **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    config = NetworkConfig(name=name, arguments={"width": width, **arguments})
    built = registry.build(config, INPUTS, OUTPUTS).eval()
    with torch.no_grad():
        for parameter in built.parameters():  # branches that start as nothing would say nothing
            if parameter.abs().max() < 1e-3:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
    return built


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def structured(**changes: Any) -> StructuredConfig:
    return StructuredConfig.model_validate({"kind": "structured", "epochs": 1, **changes})
