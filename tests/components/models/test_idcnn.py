"""The network for units: what is behind a text, or beside it, changes nothing; it sees as far as it says; it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from components.artifacts import Head, TextSpec
from components.config import ConfigurationError, NetworkConfig
from components.models import registry
from components.models.forms import SEQUENCE
from components.models.parts.tables import tables
from components.models.size import size

SPEC = TextSpec(kind="text", unit="word", length=24, lower=True, vocabulary=tuple(f"word{n}" for n in range(60)))
OUTPUTS = 5
VARIANTS: list[dict[str, Any]] = [
    *({}, {"dilations": "1", "iterations": 1}, {"dilations": "1,2,8", "iterations": 3}),
    *({"vectors": "frozen"}, {"vectors": "both", "iterations": 1}),
]


def network(arguments: dict[str, Any], *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    config = NetworkConfig(name="idcnn", arguments={"dimension": 8, "width": 8, **arguments})
    return registry.build(config, SPEC, Head(gives=SEQUENCE, outputs=OUTPUTS)).eval()


def texts(lengths: list[int], room: int, *, seed: int = 0) -> Tensor:
    """`(N, room)` numbers of texts of these lengths, padded."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randint(1, SPEC.numbers, (len(lengths), max(*lengths, 1)), generator=generator)
    padded = torch.zeros(len(lengths), room, dtype=torch.int64)
    for row, length in enumerate(lengths):
        padded[row, :length] = numbers[row, :length]
    return padded


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_every_unit_has_an_answer_and_behind_the_end_is_nothing(arguments: dict[str, Any]) -> None:
    built, shown = network(arguments), texts([24, 5, 0], 24)
    with torch.inference_mode():
        features, embedding, outputs = built.features(shown), built.embed(shown), built(shown)  # type: ignore[operator]
        torch.testing.assert_close(built.head(features)[0], outputs[0])  # type: ignore[operator]
    assert outputs.shape == (3, OUTPUTS, 24) and features.shape[::2] == (3, 24) and embedding.shape[0] == 3
    assert isinstance(built.head, nn.Conv1d)
    assert (outputs[1, :, 5:] == 0).all() and (outputs[2] == 0).all() and torch.isfinite(embedding).all()
    assert outputs[1, :, :5].std() > 0


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_to_the_bit_neither_padding_nor_neighbours_are_part_of_an_answer(arguments: dict[str, Any]) -> None:
    """With whole numbers for weights, whose sums are exact in whatever order a library takes them."""
    built = network(arguments)
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        for weights in built.state_dict().values():
            weights.copy_(torch.randint(-1, 2, weights.shape, generator=generator))
    alone = texts([8], 8)
    with torch.inference_mode():
        expected = built(alone)[0]
        assert expected.abs().sum() > 0
        for room in (9, 24, 60):
            for batch in (1, 3, 8):
                shown = texts([room] * batch, room, seed=room)
                shown[batch // 2] = 0
                shown[batch // 2, :8] = alone
                assert torch.equal(built(shown)[batch // 2, :, :8], expected)


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_with_any_weights_they_change_no_more_than_rounding(arguments: dict[str, Any]) -> None:
    built = network(arguments)
    with torch.no_grad():
        for table in tables(built, SPEC.numbers):
            table[0] = 5.0  # what training never does, and averaging might
    with torch.inference_mode():
        expected = built(texts([6], 6))[0]
        for room, batch in ((7, 1), (24, 3), (300, 8)):
            shown = torch.cat([texts([6], room), texts([room] * batch, room, seed=room)])
            torch.testing.assert_close(built(shown)[0, :, :6], expected, atol=1e-6, rtol=1e-6)
            other = torch.cat([texts([6], room), texts([room] * batch, room, seed=room + 1)])
            assert torch.equal(built(shown)[0], built(other)[0])  # the same bits at one size


@pytest.mark.parametrize(("arguments", "reach"), [({"dilations": "1", "iterations": 1}, 2), ({"dilations": "1,2"}, 7)])
def test_a_unit_sees_as_far_as_dilations_and_iterations_reach(arguments: dict[str, Any], reach: int) -> None:
    built, shown = network(arguments).double(), texts([24], 24)
    with torch.inference_mode():
        before = built(shown)[0]
        changed = shown.clone()
        changed[0, 12] = shown[0, 12] % (SPEC.numbers - 1) + 1
        moved = (built(changed)[0] != before).any(dim=0).nonzero().flatten()
    assert (int(moved.min()), int(moved.max())) == (12 - reach, 12 + reach)


def test_iterations_cost_time_and_no_weights() -> None:
    once, twice = (size(network({"iterations": each}), SPEC) for each in (1, 2))
    assert once.parameters == twice.parameters and once.macs < twice.macs


def test_every_weight_learns_but_that_of_padding() -> None:
    built = network({})
    built(texts([24, 3, 0], 24)).square().sum().backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert (built.get_submodule("embedding").weight.grad[0] == 0).all()  # type: ignore[index, union-attr]


def test_it_is_refused_where_a_vector_is_needed_and_for_pictures() -> None:
    config = NetworkConfig(name="idcnn")
    assert not registry.problems(config, form=SEQUENCE, given="text")
    assert "gives a sequence" in registry.problems(config, form="vector", given="text")[0]
    assert "is for those of kind text" in registry.problems(config, given="image")[0]
    with pytest.raises(ConfigurationError, match=r"network\.arguments\.dilations"):
        registry.build(NetworkConfig(name="idcnn", arguments={"dilations": "0"}), SPEC, OUTPUTS)
