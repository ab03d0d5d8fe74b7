"""What a network gives is what its task asked for, is kept with the model, and comes back in its units."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from components.artifacts import Head, ImageSpec, ModelCard, write_model
from components.config import ConfigurationError, NetworkConfig
from components.models import registry
from components.models.network import load_network, save_weights
from components.models.parts.units import Units, in_units

SPEC = ImageSpec(height=8, width=8, channels=1, mean=(0.5,), std=(0.25,))
RESIDUAL = NetworkConfig(name="residual", arguments={"width": 4})
UNET = NetworkConfig(name="unet", arguments={"width": 4, "depth": 2})
AGES = Head(gives="vector", outputs=2, mean=(40.0, 1.7), std=(12.0, 0.1))


def test_a_family_that_gives_another_form_is_refused_with_those_that_give_it() -> None:
    assert registry.problems(UNET, "network", "map") == registry.problems(RESIDUAL, "network", "vector") == []
    (wrong,) = registry.problems(UNET, "line.student.network", "vector")
    assert wrong.startswith("line.student.network.name: expected a network that gives a vector")
    assert "residual" in wrong and wrong.endswith("received 'unet', which gives a map")
    assert "(unet)" in registry.problems(NetworkConfig(name="resnet18"), "network", "map")[0]
    assert "(there is none)" in registry.problems(RESIDUAL, "network", "boxes of chocolate")[0]
    with pytest.raises(ConfigurationError, match="gives a map"):
        registry.build(RESIDUAL, SPEC, Head(gives="map", outputs=3))


def test_values_come_in_their_units_and_an_untrained_network_is_near_their_mean(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = registry.build(RESIDUAL, SPEC, AGES).eval()
    images = torch.rand(64, 1, 8, 8)
    said = network(images)
    assert said.shape == (64, 2)
    assert torch.all((said.mean(dim=0) - torch.tensor(AGES.mean)).abs() < 3 * torch.tensor(AGES.std))
    # standardising what it says gives what its layer gives, and that is what it learns
    units = network.head
    assert isinstance(units, Units)
    plain = torch.nn.functional.linear(network.embed(images), units.weight, units.bias)
    torch.testing.assert_close((said - units.mean) / units.std, plain, rtol=1e-4, atol=1e-4)

    card = ModelCard(
        name="m", task="t", network=RESIDUAL, classes=(), input=SPEC, head=AGES.said(classes=0), data="d" * 64
    )
    model = write_model(tmp_path / "model", card, lambda folder: save_weights(network, folder))
    again = load_network(model)
    assert torch.equal(again(images), said)
    assert model.card.head == AGES


def test_a_number_per_class_is_not_said_so_that_cards_of_before_are_what_they_were() -> None:
    classes = tuple("abc")
    head = Head(gives="vector", outputs=3).said(len(classes))
    card = ModelCard(name="m", task="t", network=RESIDUAL, classes=classes, input=SPEC, head=head, data="d" * 64)
    assert head is None and "head" not in card.to_json()
    assert ModelCard.model_validate_json(card.to_json()).head is None


def test_units_need_a_value_per_output_and_a_linear_head() -> None:
    for values in ({"mean": (1.0,), "std": (1.0, 2.0)}, {"mean": (1.0, 2.0)}, {"std": (1.0, 2.0)}):
        with pytest.raises(ValidationError):
            Head(gives="vector", outputs=2, **values)
    with pytest.raises(ValueError, match="received Conv2d"):
        in_units(registry.build(UNET, SPEC, 2), (0.0, 0.0), (1.0, 1.0))
