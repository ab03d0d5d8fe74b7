"""One surface, whatever the network: every family in the registry with all that it can be given, and others'."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from components.artifacts import ImageSpec
from components.config import ConfigurationError, NetworkConfig
from components.models import registry
from components.models.parts.sequence import blocks, sequence
from tests.components.models.models_builders import (
    COMPACT,
    OTHERS,
    OUTPUTS,
    VARIANTS,
    awaken,
    compact,
    images,
    network,
    spec,
)

CONFIGS = [
    *(compact(name) for name in COMPACT),
    *(compact(name, **arguments) for name, arguments in VARIANTS),
    *(NetworkConfig(name=name) for name in OTHERS),
]
INPUTS = (spec(8, 8, 1), spec(28, 28, 1), spec(33, 20, 3), spec(64, 64, 3))


def called(config: NetworkConfig) -> str:
    return f"{config.name} {' '.join(str(value) for value in config.arguments.values())}"


def test_the_cases_hold_every_family_every_attention_and_every_pooling() -> None:
    assert set(registry.names()) == {*COMPACT, "detector", "idcnn", "textcnn", "unet"}, (
        "add the new family to the builders"
    )
    for argument, values in (
        ("attention", {"none", "se", "cbam", "self"}),
        ("pooling", {"average", "max", "gem"}),
        ("normalization", {"batch", "group"}),
    ):
        default = registry.arguments("residual")[argument][1]
        assert {config.arguments.get(argument, default) for config in CONFIGS} == values


@pytest.mark.parametrize("config", CONFIGS, ids=called)
def test_features_embedding_and_head_are_one_network(config: NetworkConfig) -> None:
    for inputs in INPUTS:
        built = awaken(network(config, inputs)).eval()
        with torch.inference_mode():
            shown = images(inputs)
            features, embedding, outputs = built.features(shown), built.embed(shown), built(shown)
            from_embedding = built.head(embedding)
        assert features.ndim == 4
        assert len(features) == 3
        assert min(features.shape[2:]) >= 1
        assert isinstance(built.head, nn.Linear)
        assert embedding.shape == (3, built.head.in_features)
        assert outputs.shape == (3, OUTPUTS)
        assert torch.equal(outputs, from_embedding)
        assert torch.isfinite(outputs).all()
        assert embedding.std(dim=0).sum() > 0  # different images are seen as different


@pytest.mark.parametrize("config", CONFIGS, ids=called)
def test_every_parameter_is_reached_by_a_gradient_and_a_seed_decides_it_all(config: NetworkConfig) -> None:
    inputs = spec(16, 16, 1)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        built, again, other = (awaken(network(config, inputs, seed=seed)).train() for seed in (0, 0, 1))
        gradients = []
        for one in (built, again, other):
            one.to(memory_format=torch.channels_last)
            torch.manual_seed(7)
            shown = images(inputs, 8).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                loss = one(shown).float().square().sum()
            loss.backward()
            gradients.append({name: parameter.grad for name, parameter in one.named_parameters()})
    finally:
        torch.use_deterministic_algorithms(before)
    unreached = [name for name, gradient in gradients[0].items() if gradient is None or not gradient.any()]
    # What normalisation takes out again has none: a bias, or a key's, before it. Nothing of that is in our families.
    assert unreached == [] or ":" in config.name
    assert not any(gradient is None for gradient in gradients[0].values())
    assert all(torch.equal(gradient, gradients[1][name]) for name, gradient in gradients[0].items())
    assert any(not torch.equal(gradient, gradients[2][name]) for name, gradient in gradients[0].items())


@pytest.mark.parametrize("config", CONFIGS, ids=called)
def test_the_chain_of_layers_is_the_network_by_the_names_of_its_state(config: NetworkConfig) -> None:
    inputs = spec(20, 20, 1)
    built = awaken(network(config, inputs)).eval()
    if config.name.startswith("timm:"):
        with pytest.raises(ConfigurationError, match=r"a chain of layers .*received Timm"):
            sequence(built)
    else:
        layers = sequence(built)
        assert layers[-1] == ("head", built.head)
        with torch.inference_mode():
            x = images(inputs)
            for _, layer in layers:
                x = layer(x)
            assert torch.equal(x, built(images(inputs)))
        state = {f"{name}.{inner}": value for name, layer in layers for inner, value in layer.state_dict().items()}
        assert state.keys() == built.state_dict().keys()
        assert all(value is built.state_dict(keep_vars=True)[name] for name, value in _kept(layers).items())
    order = blocks(built)
    assert len(order) > 2
    named = [name for block in order for name in block]
    expected = {name for name, _ in built.named_parameters() if not name.startswith("head.")}
    assert len(named) == len(set(named))
    assert set(named) == expected


def _kept(layers: list[tuple[str, nn.Module]]) -> dict[str, Any]:
    return {f"{n}.{inner}": v for n, layer in layers for inner, v in layer.state_dict(keep_vars=True).items()}


def test_a_unet_is_no_chain_and_has_blocks_nevertheless() -> None:
    built = network(NetworkConfig(name="unet", arguments={"width": 4, "attention": "cbam", "normalization": "group"}))
    with pytest.raises(ConfigurationError, match="received UNet, which cannot be cut into stages"):
        sequence(built)
    expected = [name for name, _ in built.named_parameters() if not name.startswith("head.")]
    assert [name for block in blocks(built) for name in block] == expected
    assert built(images(spec())).shape == (3, OUTPUTS, 16, 16)


@pytest.mark.parametrize("name", COMPACT)
@pytest.mark.parametrize("pieces", [1, 4])
def test_with_group_normalisation_the_loss_does_not_depend_on_how_a_batch_is_cut(name: str, pieces: int) -> None:
    built = awaken(network(compact(name, normalization="group"))).train()
    shown = images(spec(), 8)
    whole = built(shown)
    cut = torch.cat([built(piece) for piece in shown.chunk(pieces)])
    torch.testing.assert_close(cut, whole)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in built.modules())


@pytest.mark.parametrize("name", COMPACT)
def test_dilation_sees_farther_at_the_same_price(name: str) -> None:
    near, far = (awaken(network(compact(name, blocks=1, dilation=dilation), spec(64, 64))) for dilation in (1, 2))
    assert [p.shape for p in near.parameters()] == [p.shape for p in far.parameters()]

    def seen(built: nn.Module) -> int:
        """Pixels that one place of the feature map depends on."""
        shown = images(spec(64, 64), 1).requires_grad_()
        features = built.eval().features(shown)
        features[:, :, features.shape[2] // 2, features.shape[3] // 2].sum().backward()
        assert shown.grad is not None
        return int((shown.grad != 0).sum())

    assert seen(far) > 1.2 * seen(near)


@pytest.mark.parametrize("name", COMPACT)
def test_dropout_and_stochastic_depth_are_there_in_training_alone(name: str) -> None:
    built = awaken(network(compact(name, dropout=0.5, stochastic_depth=0.5)))
    shown = images(spec(), 8)
    torch.manual_seed(0)
    first, second = built.train()(shown), built(shown)
    assert not torch.equal(first, second)
    assert torch.equal(built.eval()(shown), built(shown))
    assert any(isinstance(module, nn.Dropout) for module in built.modules())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (compact("residual", attention="sel"), r"arguments\.attention: expected 'none', 'se', 'cbam' or 'self'"),
        (compact("residual", dropout=1.0), r"arguments\.dropout: expected less than 1, received 1\.0"),
        (compact("densenet", blocks=0), r"arguments\.blocks: expected greater than or equal to 1, received 0"),
        (compact("mobilenet", expansion=2.5), r"arguments\.expansion: expected int, received 2\.5"),
        (NetworkConfig(name="unet", arguments={"pooling": "gem"}), r"arguments\.pooling: expected one of attention"),
        (NetworkConfig(name="resnet19"), r"did you mean resnet18\?"),
        (NetworkConfig(name="hub:resnet18"), r"expected torchvision:NAME or timm:NAME"),
        (NetworkConfig(name="torchvision:resnet19"), r"that torchvision has, .*did you mean torchvision:resnet18"),
        (NetworkConfig(name="timm:efficientnet_light0"), r"did you mean timm:efficientnet_lite0"),
        (NetworkConfig(name="torchvision:fasterrcnn_resnet50_fpn"), r"classifies images, .* for detection"),
        (NetworkConfig(name="torchvision:vit_b_16"), r"a chain of layers; timm has vision transformers"),
        (NetworkConfig(name="torchvision:squeezenet1_0"), r"last layer is linear"),
        (NetworkConfig(name="torchvision:mobilenet_v2", arguments={"droput": 0.1}), r"arguments\.droput: expected one"),
        (NetworkConfig(name="torchvision:mobilenet_v2", arguments={"dropout": "x"}), r"arguments\.dropout: expected f"),
        (NetworkConfig(name="timm:test_resnet", arguments={"num_classes": 3}), r"arguments\.num_classes: expected one"),
        (NetworkConfig(name="timm:test_resnet", arguments={"stem": "tiny"}), r"expected 'auto', 'original' or 'small'"),
    ],
    ids=lambda value: value.name if isinstance(value, NetworkConfig) else "",
)
def test_what_is_wrong_is_said_before_anything_is_built(config: NetworkConfig, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        registry.build(config, spec(32, 32, 3), OUTPUTS)
    (problem,) = registry.problems(config, "line.student.network")
    assert problem.startswith("line.student.network.")


@pytest.mark.parametrize("alias", sorted(registry.ALIASES))
def test_every_short_name_is_a_network_that_there_is(alias: str) -> None:
    assert registry.problems(NetworkConfig(name=alias)) == []


def test_a_short_name_builds_what_it_stands_for() -> None:
    built = network(NetworkConfig(name="resnet18"), spec(32, 32, 3))
    same = network(NetworkConfig(name="torchvision:resnet18"), spec(32, 32, 3))
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), same.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "inputs", "smallest"),
    [
        (name, spec(side, side), side)
        for name, side in (("residual", 4), ("densenet", 4), ("mobilenet", 4), ("convnext", 4))
    ],
)
def test_the_smallest_images_pass_and_smaller_ones_are_refused(name: str, inputs: ImageSpec, smallest: int) -> None:
    assert network(compact(name), inputs).eval()(images(inputs)).shape == (3, OUTPUTS)
    with pytest.raises(ValueError, match=f"{name}: expected images of at least {smallest}×{smallest} pixels"):
        network(compact(name), spec(smallest - 1, smallest))
