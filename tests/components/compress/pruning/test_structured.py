from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch_pruning
from torch import nn

from components.compress.pruning.structured import cut
from components.config import NetworkConfig
from components.export.errors import CompressionError
from components.models import registry
from components.models.narrowing import shapes_of
from components.models.size import size
from tests.components.compress.pruning.pruning_builders import INPUTS, OUTPUTS, images, network, structured

FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("residual", {}),
    ("residual", {"normalization": "group", "attention": "se"}),
    ("residual", {"attention": "cbam", "pooling": "gem"}),
    ("residual", {"attention": "self", "stochastic_depth": 0.2}),
    ("mobilenet", {"attention": "se", "blocks": 1}),
    ("densenet", {"blocks": 2}),
    ("convnext", {"blocks": 1, "normalization": "group"}),
    ("unet", {}),
    ("detector", {"anchors": "8x8,16x8"}),
    ("detector", {"stride": 4, "levels": 2, "attention": "se"}),
]


def halved(built: nn.Module, target: str = "macs", **changes: Any) -> nn.Module:
    most = 0.5 * getattr(size(built, INPUTS), target)
    return cut(built, INPUTS, structured(**changes), lambda current: getattr(size(current, INPUTS), target) <= most)


@pytest.mark.parametrize("width", [12, 32])  # cut in any widths, and in multiples of 16
@pytest.mark.parametrize(("name", "arguments"), FAMILIES)
def test_every_family_is_narrower_and_can_be_built_again_with_bitwise_equal_answers(
    name: str, arguments: dict[str, Any], width: int
) -> None:
    before = size(network(name, width, **arguments), INPUTS)
    pruned = halved(network(name, width, **arguments))
    after = size(pruned, INPUTS)
    assert 0.3 * before.macs < after.macs <= 0.5 * before.macs
    assert after.parameters < before.parameters
    shapes = shapes_of(pruned, network(name, width, **arguments))
    assert shapes
    config = NetworkConfig(name=name, arguments={"width": width, **arguments}, shapes=shapes)
    again = registry.build(NetworkConfig.model_validate_json(config.model_dump_json()), INPUTS, OUTPUTS)
    again.load_state_dict(pruned.state_dict())
    with torch.no_grad():
        assert torch.equal(again.eval()(images()), pruned(images()))


def test_what_it_cannot_trace_is_refused_with_the_librarys_words() -> None:
    with pytest.raises(CompressionError, match="Compact: expected a network that Torch-Pruning can prune"):
        halved(network("densenet", 12, normalization="group"))


def test_what_cannot_be_reached_is_refused() -> None:
    with pytest.raises(CompressionError, match=r"expected prune\.keep to be reachable, and 95%"):
        cut(network("residual", 4), INPUTS, structured(), lambda current: False)


def zero(tensor: torch.Tensor, dimension: int, channels: range) -> None:
    with torch.no_grad():
        tensor.index_fill_(dimension, torch.tensor(channels), 0.0)


def test_channels_that_say_nothing_go_first_and_no_answer_changes() -> None:
    # What a dense layer adds is read by all layers behind it, at a place that the ones before it decide.
    built: Any = network("densenet", 12, blocks=3)
    dense = [layer for layer in built.features if type(layer).__name__ == "DenseLayer"][:3]
    transition = built.features[5]
    dead = range(8)  # of the 12 channels that the first layer of the first block adds behind the stem's 24
    zero(dense[0].body[5].weight, 0, dead)
    for normalization, convolution in (
        (dense[1].body[0], dense[1].body[2]),
        (dense[2].body[0], dense[2].body[2]),
        (transition[0], transition[2]),
    ):
        there = range(24 + dead.start, 24 + dead.stop)
        zero(normalization.weight, 0, there)
        zero(normalization.bias, 0, there)
        zero(convolution.weight, 1, there)
    with torch.no_grad():
        expected = built(images())
    pruned: Any = cut(built, INPUTS, structured(), lambda current: built.features[2].body[5].out_channels < 12)
    assert 4 <= pruned.features[2].body[5].out_channels < 12
    with torch.no_grad():
        torch.testing.assert_close(pruned(images()), expected)


def test_sizes_agree_with_torch_prunings_own_counter() -> None:
    pruned = halved(network("mobilenet", attention="se"))
    _, parameters, layers, _ = torch_pruning.utils.count_ops_and_params(pruned, images(1), layer_wise=True)
    factors = {layer: count for layer, count in layers.items() if isinstance(layer, nn.Conv2d | nn.Linear)}
    with torch.no_grad():
        seen: dict[nn.Module, int] = {}
        hooks = [
            layer.register_forward_hook(lambda module, _, out: seen.update({module: out[0].numel()}))
            for layer in factors
        ]
        pruned(images(1))
        for hook in hooks:
            hook.remove()
    biases = sum(seen[layer] for layer in factors if layer.bias is not None)  # it counts them, as additions
    found = size(pruned, INPUTS)
    assert found.macs == sum(factors.values()) - biases
    assert found.parameters == parameters


@pytest.mark.parametrize(
    ("name", "width", "arguments", "multiple"),
    [
        ("residual", 32, {"attention": "se"}, 16),  # whose squeezed widths are no maps
        ("residual", 16, {}, 8),
        ("residual", 12, {}, 1),
    ],
)
def test_layers_are_left_as_wide_as_vectors_where_they_are_wide_enough(
    name: str, width: int, arguments: dict[str, Any], multiple: int
) -> None:
    pruned = halved(network(name, width, **arguments))
    layers = [layer for layer in pruned.modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1)]
    assert min(math.gcd(layer.out_channels, 16) for layer in layers) == multiple


def test_what_cannot_be_reached_in_wide_steps_is_reached_in_narrow_ones() -> None:
    built = network("residual", 32)
    least = 0.02 * size(built, INPUTS).macs  # 16 channels a layer would be more
    with pytest.raises(CompressionError, match="16 at a time"):
        cut(network("residual", 32), INPUTS, structured(multiple_of=16), lambda now: size(now, INPUTS).macs <= least)
    assert size(cut(built, INPUTS, structured(), lambda now: size(now, INPUTS).macs <= least), INPUTS).macs <= least


@pytest.mark.parametrize(
    "changes", [{"importance": "random"}, {"ranking": "layer", "multiple_of": 1}, {"multiple_of": 8}]
)
def test_the_other_ways_to_choose(changes: dict[str, Any]) -> None:
    one, other = (halved(network("residual", 16), "parameters", **changes) for _ in range(2))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    widths = [m.out_channels for m in one.modules() if isinstance(m, nn.Conv2d)]
    if changes.get("multiple_of") == 8:
        assert not [width for width in widths if width % 8]
    if "ranking" in changes:
        whole = [m.out_channels for m in network("residual", 16).modules() if isinstance(m, nn.Conv2d)]
        shares = [width / before for width, before in zip(widths, whole, strict=True)]
        assert max(shares) - min(shares) < 0.1
