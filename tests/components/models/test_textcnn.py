"""The network for texts: what is behind a text, or beside it, changes nothing; it learns; its graph says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from components.artifacts import TextSpec
from components.config import ConfigurationError, NetworkConfig
from components.models import registry
from components.models.parts.tables import tables
from components.models.preprocessing import preprocess

SPEC = TextSpec(kind="text", unit="word", length=24, lower=True, vocabulary=tuple(f"word{n}" for n in range(60)))
OUTPUTS = 3
VARIANTS: list[dict[str, Any]] = [
    {},
    {"kernels": "1,2,7", "pool": "mean"},
    {"depth": 3, "pool": "attention"},
    {"depth": 1, "pool": "max", "kernels": "4"},
    {"vectors": "frozen"},
    {"vectors": "both", "depth": 1, "pool": "mean"},
]
EXACT = [variant for variant in VARIANTS if variant.get("pool") != "attention"]  # a softmax rounds


def network(arguments: dict[str, Any], *, seed: int = 0) -> nn.Module:
    """Small, in evaluation, with blocks that do something."""
    torch.manual_seed(seed)
    built = registry.build(
        NetworkConfig(name="textcnn", arguments={"dimension": 8, "width": 8, **arguments}), SPEC, OUTPUTS
    )
    for block in built.get_submodule("blocks"):
        nn.init.normal_(block.second.weight, std=0.3)
    return built.eval()


def texts(lengths: list[int], room: int, *, seed: int = 0) -> Tensor:
    """`(N, room)` numbers of texts of these lengths, padded."""
    numbers = torch.randint(
        1, SPEC.numbers, (len(lengths), max(*lengths, 1)), generator=torch.Generator().manual_seed(seed)
    )
    padded = torch.zeros(len(lengths), room, dtype=torch.int64)
    for row, length in enumerate(lengths):
        padded[row, :length] = numbers[row, :length]
    return padded


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_features_embedding_and_head_are_one_network(arguments: dict[str, Any]) -> None:
    built, shown = network(arguments), texts([24, 5, 1], 24)
    with torch.inference_mode():
        features, embedding, outputs = built.features(shown), built.embed(shown), built(shown)  # type: ignore[operator]
        torch.testing.assert_close(built.head(embedding), outputs)  # type: ignore[operator]
    assert type(built.head) is nn.Linear
    assert features.shape == (3, built.head.in_features, 24)
    assert embedding.shape == (3, built.head.in_features)
    assert outputs.shape == (3, OUTPUTS)
    assert (features[1, :, 5:] == 0).all()
    assert features[1, :, :5].std() > 0
    assert outputs.std(dim=0).min() > 0


@pytest.mark.parametrize("arguments", EXACT, ids=str)
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
        for room in (9, 13, 24, 100):
            for batch in (1, 3, 8):
                shown = texts([room] * batch, room, seed=room)
                shown[batch // 2] = 0
                shown[batch // 2, :8] = alone
                assert torch.equal(built(shown)[batch // 2], expected)


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
            torch.testing.assert_close(built(shown)[0], expected, atol=1e-6, rtol=1e-6)
            other = torch.cat([texts([6], room), texts([room] * batch, room, seed=room + 1)])
            assert torch.equal(built(shown)[0], built(other)[0])


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_a_text_without_units_has_an_answer_and_one_unit_is_enough(arguments: dict[str, Any]) -> None:
    built = network(arguments)
    with torch.inference_mode():
        answered = built(texts([0, 1, 0], 24))
        shortest = built(texts([1], 1))
    torch.testing.assert_close(answered[0], built.head.bias)  # type: ignore[arg-type]
    assert torch.equal(answered[0], answered[2])
    assert not torch.equal(answered[0], answered[1])
    assert torch.isfinite(shortest).all()


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_every_weight_learns_but_that_of_padding(arguments: dict[str, Any]) -> None:
    built = network(arguments)
    built(texts([24, 3, 0], 24)).square().sum().backward()
    for name, parameter in built.named_parameters():
        # of a softmax's scores, what all have in common comes to nothing
        if name != "score.bias":
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    if arguments.get("vectors") != "frozen":
        assert (built.get_submodule("embedding").weight.grad[0] == 0).all()  # type: ignore[index, union-attr]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"depth": 2, "pool": "attention"}, {"pool": "mean"}, {"vectors": "frozen"}, {"vectors": "both"}],
    ids=str,
)
def test_it_learns_what_stands_next_to_each_other(arguments: dict[str, Any]) -> None:
    """Class 1: number 2 is followed by 3. Both are in every text, so that counting words does not tell."""
    generator = torch.Generator().manual_seed(0)
    shown = torch.randint(10, SPEC.numbers, (96, 24), generator=generator)
    label = torch.arange(96) % 2
    for row in range(96):
        at = int(torch.randint(0, 11, (1,), generator=generator))
        shown[row, at] = 2
        shown[row, at + 1 if label[row] else at + 12] = 3
    torch.manual_seed(0)
    built = registry.build(
        NetworkConfig(name="textcnn", arguments={"dimension": 16, "width": 16, **arguments}), SPEC, 2
    )
    optimizer = torch.optim.Adam(built.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        nn.functional.cross_entropy(built(shown), label).backward()
        optimizer.step()
    with torch.inference_mode():
        assert (built.eval()(shown).argmax(dim=1) == label).float().mean() > 0.95


class Served(nn.Module):
    """The network with what stands before it in an exported graph."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, numbers: Tensor) -> Tensor:
        answered: Tensor = self.network(preprocess(numbers))
        return answered


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_the_exported_graph_says_the_same_for_any_batch(arguments: dict[str, Any], tmp_path: Path) -> None:
    built = network(arguments)
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        Served(built),
        (torch.zeros(2, SPEC.length, dtype=torch.int32),),
        dynamo=True,
        opset_version=20,
        input_names=["text"],
        dynamic_shapes=({0: batch},),
        verbose=False,
    )
    assert program is not None
    program.optimize()
    program.save(tmp_path / "model.onnx")
    kinds = {node.op_type for node in program.model_proto.graph.node}
    assert {"Gather", "Conv", "Gemm"} <= kinds
    assert not kinds & {"Where", "NonZero", "If", "Loop"}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3, 8):
        shown = texts([24, 0, 1, 2, 5, 8, 13, 21][:count], SPEC.length, seed=count)
        (given,) = session.run(None, {"text": shown.numpy().astype(np.int32)})
        with torch.inference_mode():
            np.testing.assert_allclose(given, built(shown).numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kernels": "3,,4"}, "kernels"),
        ({"kernels": "0"}, "kernels"),
        ({"pool": "sum"}, "pool"),
        ({"depth": -1}, "depth"),
        ({"dimension": 0}, "dimension"),
        ({"vectors": "static"}, "vectors"),
    ],
)
def test_a_wrong_argument_is_refused_by_its_name(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=f"network.arguments.{says}: expected"):
        registry.build(NetworkConfig(name="textcnn", arguments=arguments), SPEC, OUTPUTS)
    assert not registry.problems(NetworkConfig(name="textcnn"), given="text", form=registry.VECTOR)
    assert "is for those of kind text" in registry.problems(NetworkConfig(name="textcnn"), given="image")[0]
