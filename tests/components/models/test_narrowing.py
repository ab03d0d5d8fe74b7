from __future__ import annotations

import pytest
import torch

from components.config import ConfigurationError, NetworkConfig
from tests.components.models.models_builders import images, network, spec

CONFIG = NetworkConfig(name="residual", arguments={"width": 8})
NARROWER = {"features.4.body.0.convolution.weight": (9, 16, 3, 3)}


def test_a_network_that_is_as_wide_as_it_is_built_says_nothing_about_shapes() -> None:
    assert CONFIG.model_dump() == {"name": "residual", "arguments": {"width": 8}}
    assert NetworkConfig(name="residual", arguments={"width": 8}, shapes={}).digest() == CONFIG.digest()
    assert CONFIG.model_copy(update={"shapes": NARROWER}).digest() != CONFIG.digest()


def test_what_is_left_is_as_it_was_initialised_and_layers_know_their_widths() -> None:
    layer, normalization, following = (
        f"features.4.body.{place}" for place in ("0.convolution", "0.normalization", "1.convolution")
    )
    shapes = {
        f"{layer}.weight": (9, 16, 3, 3),
        **{f"{normalization}.{name}": (9,) for name in ("weight", "bias", "running_mean", "running_var")},
        f"{following}.weight": (16, 9, 3, 3),
    }
    narrow, whole = network(CONFIG.model_copy(update={"shapes": shapes})), network(CONFIG)
    assert torch.equal(narrow.get_parameter(f"{layer}.weight"), whole.get_parameter(f"{layer}.weight")[:9])
    assert narrow.get_submodule(layer).out_channels == narrow.get_submodule(following).in_channels == 9
    assert narrow.get_submodule(normalization).num_features == 9
    narrow(images(spec())).sum().backward()
    assert all(parameter.grad is not None for parameter in narrow.parameters())


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"nobody.weight": (1,)}, r"network\.shapes\.nobody\.weight: expected a tensor that the network has"),
        ({"head.weight": (5, 99)}, r"network\.shapes\.head\.weight: expected a shape within \(5, 32\), received"),
        ({"head.weight": (5,)}, r"expected a shape within \(5, 32\), received \(5,\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shapes: dict[str, tuple[int, ...]], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        network(CONFIG.model_copy(update={"shapes": shapes}))
