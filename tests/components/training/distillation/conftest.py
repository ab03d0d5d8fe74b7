"""Teachers that answer differently to different images, as Model folders: one network, and an ensemble of two."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from components.artifacts import Model, ModelCard, write_model
from components.config import NetworkConfig
from components.models.network import save_weights, untrained
from components.training.loop.surroundings import Data


def _write(place: Path, card: ModelCard) -> Path:
    torch.manual_seed(5)
    network = untrained(card)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(8.0)  # surer of itself than at birth
    return write_model(place, card, lambda folder: save_weights(network, folder)).folder


def _card(data: Data, name: str) -> ModelCard:
    return ModelCard(
        name=name,
        task="classification",
        network=NetworkConfig(name="residual", arguments={"width": 8}),
        classes=data.card.classes,
        input=data.card.input,
        data=data.digest,
    )


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Path:
    return _write(tmp_path_factory.mktemp("models") / "teacher", _card(data, "teacher"))


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Model:
    """Of two members of different widths; the second has more weight."""
    members = tuple(NetworkConfig(name="residual", arguments={"width": width}) for width in (4, 6))
    changes = {
        "network": NetworkConfig(name="ensemble"),
        "members": members,
        "fusion": "mean_probability",
    }
    card = _card(data, "ensemble").model_copy(update=changes)
    torch.manual_seed(6)
    network = untrained(card)
    with torch.no_grad():
        network.fusion.weights.copy_(torch.tensor([0.3, 0.7]))  # type: ignore[operator,union-attr]
    place = tmp_path_factory.mktemp("models") / "ensemble"
    return write_model(place, card, lambda folder: save_weights(network, folder))
