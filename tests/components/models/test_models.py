"""Every registered architecture, and the way of its weights to the disk and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.artifacts import ArtifactError, ImageSpec, Model, ModelCard, write_model
from components.config import ConfigurationError, NetworkConfig
from components.models import registry
from components.models.ensemble import Ensemble, mean_probability
from components.models.network import load_network, save_weights, untrained

ARCHITECTURES = [name for name in registry.names() if registry.takes(name) == "image"]
OUTPUTS = 5


def spec(height: int = 16, width: int = 16, channels: int = 1) -> ImageSpec:
    return ImageSpec(height=height, width=width, channels=channels, mean=(0.3,) * channels, std=(0.2,) * channels)


def network(name: str, seed: int = 0, inputs: ImageSpec | None = None) -> nn.Module:
    torch.manual_seed(seed)
    return registry.build(small(name), inputs or spec(), OUTPUTS).eval()


def small(name: str) -> NetworkConfig:
    return NetworkConfig(name=name, arguments={"width": 4})


def images(count: int = 3, inputs: ImageSpec | None = None) -> torch.Tensor:
    inputs = inputs or spec()
    shape = (count, inputs.channels, inputs.height, inputs.width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def card(name: str = "residual", members: tuple[NetworkConfig, ...] = (), fusion: str | None = None) -> ModelCard:
    return ModelCard(
        name="model",
        task="classification",
        network=NetworkConfig(name="ensemble") if members else small(name),
        members=members,
        fusion=fusion,
        classes=tuple("abcde"),
        input=spec(),
        data="d",
    )


# -- architectures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("own", "widths"), [({}, [4, 8, 8, 8, 16, 16, 16]), ({"last": 12}, [4, 8, 8, 8, 12, 12, 12])])
def test_the_last_stage_of_a_residual_network_may_have_a_width_of_its_own(
    own: dict[str, int], widths: list[int]
) -> None:
    built = registry.build(NetworkConfig(name="residual", arguments={"width": 4, **own}), spec(), OUTPUTS)
    assert [layer.out_channels for layer in built.modules() if isinstance(layer, nn.Conv2d)] == widths
    assert built(images()).shape == (3, OUTPUTS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_and_embeddings_have_their_shapes_and_no_nan(name: str, channels: int) -> None:
    inputs = spec(16, 24, channels)  # not square: height and width must not be mixed up
    built = network(name, inputs=inputs)
    with torch.inference_mode():
        outputs, embedding = built(images(3, inputs)), built.embed(images(3, inputs))
    assert outputs.shape in {(3, OUTPUTS), (3, OUTPUTS, 16, 24), (3, 2 * 3, 8 + OUTPUTS)}
    assert embedding.ndim == 2
    assert len(embedding) == 3
    assert torch.isfinite(outputs).all()
    assert torch.isfinite(embedding).all()
    assert embedding.std(dim=0).sum() > 0  # different images are seen as different


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_width_makes_a_network_larger_and_every_weight_is_used(name: str) -> None:
    sizes = []
    for width in (4, 8):
        built = registry.build(NetworkConfig(name=name, arguments={"width": width}), spec(), OUTPUTS)
        sizes.append(sum(weight.numel() for weight in built.parameters()))
        built(images()).square().sum().backward()
        assert all(weight.grad is not None for weight in built.parameters())
    assert 0 < sizes[0] < sizes[1]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_images_are_normalised_inside_by_the_training_splits_statistics(name: str) -> None:
    plain = network(name)
    other = registry.build(small(name), spec().model_copy(update={"mean": (0.0,), "std": (1.0,)}), OUTPUTS).eval()
    state = {key: value for key, value in plain.state_dict().items() if not key.endswith((".mean", ".std"))}
    left_out = other.load_state_dict({k: v for k, v in state.items() if k in other.state_dict()}, strict=False)
    assert len(left_out.missing_keys) == 2  # the mean and the deviation are part of what is saved
    with torch.inference_mode():
        expected = other((images() - 0.3) / 0.2)
        torch.testing.assert_close(plain(images()), expected)


@pytest.mark.parametrize(
    ("config", "height", "width", "says"),
    [
        (NetworkConfig(name="convnext"), 8, 3, "at least 4×4 pixels, received 8×3"),
        (NetworkConfig(name="densenet"), 3, 8, "at least 4×4 pixels, received 3×8"),
        (NetworkConfig(name="detector"), 7, 8, "at least 8×8 pixels, received 7×8"),
        (NetworkConfig(name="mobilenet", arguments={"stride": 2}), 7, 8, "at least 8×8 pixels, received 7×8"),
        (NetworkConfig(name="residual"), 3, 8, "at least 4×4 pixels, received 3×8"),
        (NetworkConfig(name="unet"), 16, 18, "multiples of 4, received 16×18"),
        (NetworkConfig(name="unet", arguments={"depth": 4}), 24, 16, "multiples of 16, received 24×16"),
    ],
)
def test_images_that_do_not_fit_are_refused_when_the_network_is_built(
    config: NetworkConfig, height: int, width: int, says: str
) -> None:
    with pytest.raises(ValueError, match=f"{config.name}: .*{says}"):
        registry.build(config, spec(height, width), OUTPUTS)


def test_the_smallest_and_odd_images_that_an_architecture_allows_pass_through_it() -> None:
    for inputs in (spec(4, 4), spec(7, 5)):
        assert torch.isfinite(network("residual", inputs=inputs)(images(2, inputs))).all()
    assert network("unet", inputs=spec(4, 4))(images(2, spec(4, 4))).shape == (2, OUTPUTS, 4, 4)


def test_an_unknown_architecture_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigurationError) as error:
        registry.build(NetworkConfig(name="perceptron"), spec(), OUTPUTS)
    assert str(error.value).startswith(
        "network.name: expected one of convnext, densenet, detector, idcnn, mobilenet, residual, textcnn, unet, "
    )
    assert str(error.value).endswith("torchvision:NAME or timm:NAME, received 'perceptron'")


def test_all_wrong_arguments_are_named_at_once_under_their_key() -> None:
    config = NetworkConfig(name="unet", arguments={"width": "wide", "blocks": 2, "depth": True})
    assert registry.problems(config, "student.network") == [
        "student.network.arguments.blocks: expected one of attention, denoise, depth, normalization, width, received 2",
        "student.network.arguments.depth: expected int, received True",
        "student.network.arguments.width: expected int, received 'wide'",
    ]
    with pytest.raises(ConfigurationError, match=r"arguments\.blocks.*\n.*arguments\.depth"):
        registry.build(config, spec(), OUTPUTS)
    assert registry.problems(NetworkConfig(name="unet", arguments={"width": 8, "depth": 1})) == []


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_second_architecture_of_one_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is registered already, by components.models"):
        registry.register(name)(lambda inputs, outputs: nn.Identity())
    assert not isinstance(network(name), nn.Identity)


# -- weights ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Model]:
    def save(built: nn.Module, about: ModelCard) -> Model:
        return write_model(tmp_path / "model", about, lambda folder: save_weights(built, folder))

    return save


def same(first: nn.Module, second: nn.Module) -> bool:
    states = first.state_dict(), second.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(value, states[1][key]) and value.dtype == states[1][key].dtype for key, value in states[0].items()
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_come_back_to_the_bit_whatever_their_layout_in_memory(name: str, saved: Callable[..., Model]) -> None:
    built = network(name).train()
    built(images())  # moves the running statistics away from where they start
    built = built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loaded = load_network(saved(built, card(name)))
    assert same(built, loaded)
    assert not loaded.training
    with torch.inference_mode():
        assert torch.equal(loaded(images()), built.eval().to(memory_format=torch.contiguous_format)(images()))


def test_an_ensemble_is_the_weighted_mean_of_its_members_probabilities() -> None:
    members = [network("residual", seed) for seed in range(3)]
    ensemble = Ensemble(members, "mean_probability", OUTPUTS).eval()
    ensemble.fusion.get_buffer("weights").copy_(torch.tensor([0.6, 0.3, 0.1]))
    with torch.inference_mode():
        logits = [member(images()).double().numpy() for member in members]
        answer = ensemble(images())
        embedding = ensemble.embed(images())
        side_by_side = torch.cat([member.embed(images()) for member in members], dim=1)
    each = [np.exp(values) / np.exp(values).sum(axis=1, keepdims=True) for values in logits]
    mean = 0.6 * each[0] + 0.3 * each[1] + 0.1 * each[2]
    np.testing.assert_allclose(answer.exp().numpy(), mean, atol=1e-6)  # it is a distribution as it stands
    np.testing.assert_allclose(torch.softmax(answer, 1).numpy(), mean, atol=1e-6)
    assert torch.equal(embedding, side_by_side)


def test_a_member_of_no_weight_has_no_say_and_no_nan() -> None:
    logits = torch.stack([torch.tensor([[4.0, 0.0]]), torch.tensor([[-1000.0, 1000.0]])])
    fused = mean_probability(logits, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(torch.softmax(fused, 1), torch.softmax(logits[0], 1))


def test_an_ensemble_comes_back_with_its_members_and_weights(saved: Callable[..., Model]) -> None:
    members = (small("residual"), NetworkConfig(name="residual", arguments={"width": 8}))
    about = card(members=members, fusion="mean_probability")
    ensemble = untrained(about)
    ensemble.get_buffer("fusion.weights").copy_(torch.tensor([0.9, 0.1]))
    assert same(ensemble, load_network(saved(ensemble, about)))


def test_members_without_a_word_on_how_they_are_combined_are_refused() -> None:
    with pytest.raises(ArtifactError, match="expected `fusion` beside `members`"):
        untrained(card(members=(small("residual"),)))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[:-40], id="cut short"),
        pytest.param(lambda content: b"\xff" * 16 + content[16:], id="overwritten head"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: b"\x80\x04.", id="a pickle"),
    ],
)
def test_damaged_weights_are_refused_by_the_name_of_their_file(
    damage: Callable[[bytes], bytes], saved: Callable[..., Model]
) -> None:
    model = saved(network("residual"), card())
    model.weights.write_bytes(damage(model.weights.read_bytes()))
    with pytest.raises(ArtifactError, match=r"model\.safetensors: expected the weights of residual"):
        load_network(model)


def test_weights_of_another_architecture_are_refused_by_the_name_of_their_file(saved: Callable[..., Model]) -> None:
    model = saved(network("unet"), card("residual"))
    with pytest.raises(ArtifactError, match=r"model\.safetensors: expected the weights of residual"):
        load_network(model)


def test_missing_weights_are_refused_by_the_name_of_their_file(saved: Callable[..., Model]) -> None:
    model = saved(network("residual"), card())
    model.weights.unlink()
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        load_network(model)
