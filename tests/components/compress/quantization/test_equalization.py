from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from components.artifacts import Dataset, Model
from components.compress.quantization.integer import Looked, to_best_int8
from components.compress.quantization.measuring import signal_to_noise
from components.compress.quantization.rewriting.equalization import equalized, pairs
from components.compress.quantization.rewriting.static import prepare, to_int8
from components.config import QuantizeConfig
from components.data.reading.loading import load_split
from components.runtimes.execution import open_session
from components.runtimes.onnxruntime import session_answerer
from components.tasks import registry as tasks

RANDOM = np.random.default_rng(3)
TASK = tasks.get("classification")
SHAPES = {"wide": (6, 3, 1, 1), "deep": (6, 1, 3, 3), "narrow": (4, 6, 1, 1)}  # a mobile block: its middle is depthwise


def convolution(name: str, given: str, made: str, groups: int = 1) -> onnx.NodeProto:
    return helper.make_node("Conv", [given, name, f"{name}.bias"], [made], name, group=groups, pads=None)


def graph_of(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("embedding",), scale: float = 1.0) -> onnx.ModelProto:
    """Images (N, 6, 6, 3) go in as `pixels`; the weights' channels are of sizes that differ by `scale` each way."""
    values = []
    for name, shape in SHAPES.items():
        sizes = scale ** RANDOM.uniform(-1, 1, (shape[0], 1, 1, 1))
        values.append(numpy_helper.from_array((RANDOM.normal(size=shape) * sizes).astype(np.float32), name))
        bias = RANDOM.normal(size=shape[0])
        values.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"))
    first = [
        helper.make_node("Cast", ["image"], ["float"], "cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["pixels"], "transpose", perm=[0, 3, 1, 2]),
    ]
    given = helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 6, 6, 3])
    made = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", "c", "h", "w"]) for name in outputs]
    model = helper.make_model(
        helper.make_graph([*first, *nodes], "test", [given], made, values),
        opset_imports=[helper.make_opsetid("", 20)],
    )
    model.ir_version = 10
    return model


def mobile_block(between: str = "Relu", **options: Any) -> onnx.ModelProto:
    return graph_of(
        convolution("wide", "pixels", "a"),
        helper.make_node(between, ["a"], ["b"], "one"),
        convolution("deep", "b", "c", groups=6),
        helper.make_node("Relu", ["c"], ["d"], "two"),
        helper.make_node("MaxPool", ["d"], ["e"], "pool", kernel_shape=[2, 2]),
        convolution("narrow", "e", "embedding"),
        **options,
    )


def run(model: onnx.ModelProto, folder: Path) -> Any:
    onnx.checker.check_model(model)
    onnx.save(model, folder / "run.onnx")
    images = np.random.default_rng(1).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
    return open_session(folder / "run.onnx", 1).run(None, {"image": images})


def constants(model: onnx.ModelProto) -> dict[str, Any]:
    """Node → its weights."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {node.name: values[node.input[1]] for node in model.graph.node if node.op_type == "Conv"}


def test_the_graph_answers_as_before_and_both_sides_of_a_channel_have_one_size(tmp_path: Path) -> None:
    model = mobile_block(scale=100.0)
    changed, count = equalized(model)
    assert count == 2
    (before,), (after,) = run(model, tmp_path), run(changed, tmp_path)
    np.testing.assert_allclose(after, before, atol=1e-4 * np.abs(before).max())
    found = {name: np.abs(value) for name, value in constants(changed).items()}
    deep = found["deep"].max(axis=(1, 2, 3))  # of a depthwise layer inputs and outputs are the same channels
    np.testing.assert_allclose(found["wide"].max(axis=(1, 2, 3)), deep, rtol=1e-2)
    np.testing.assert_allclose(deep, found["narrow"].max(axis=(0, 2, 3)), rtol=1e-2)
    given = {tensor.name for tensor in changed.graph.initializer}
    assert not given & {"wide", "deep", "narrow"}, "what nobody reads any more is gone"


@pytest.mark.parametrize("between", ["Sigmoid", "Exp"])
def test_what_a_factor_does_not_pass_through_is_no_pair(between: str, tmp_path: Path) -> None:
    model = mobile_block(between, scale=10.0)
    assert [(pair.first, pair.second) for pair in pairs(model)] == [("deep", "narrow")]
    changed, count = equalized(model)
    assert count == 1
    np.testing.assert_array_equal(constants(changed)["wide"], constants(model)["wide"])


def test_a_tensor_that_others_read_too_stays_as_it_is(tmp_path: Path) -> None:
    assert pairs(mobile_block(outputs=("embedding", "b"))) == pairs(mobile_block("Sigmoid"))  # a server reads it
    residual = graph_of(
        convolution("wide", "pixels", "a"),
        convolution("deep", "a", "b", groups=6),
        helper.make_node("MaxPool", ["a"], ["c"], "pool", kernel_shape=[3, 3]),
        helper.make_node("Add", ["b", "c"], ["d"], "add"),
        convolution("narrow", "d", "embedding"),
    )
    assert pairs(residual) == []
    assert equalized(residual) == (residual, 0)
    twice = graph_of(
        convolution("wide", "pixels", "a"),
        convolution("deep", "a", "b", groups=6),
        helper.make_node("Conv", ["b", "deep", "deep.bias"], ["c"], "again", group=6),
        convolution("narrow", "c", "embedding"),
    )
    assert equalized(twice)[1] == 0, "weights that two layers share belong to neither"


def spoilt(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function with a channel 100 times larger, and one as much smaller, in front of every ReLU that may."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = {node.name: node for node in result.graph.node}
    places = {tensor.name: tensor for tensor in result.graph.initializer}
    for pair in pairs(result):
        before, after = (nodes[name].input for name in (pair.first, pair.second))
        weights, bias, following = (
            numpy_helper.to_array(places[name]).copy() for name in (before[1], before[2], after[1])
        )
        for channel, factor in ((0, 100.0), (1, 0.01)):
            weights[channel] *= factor
            bias[channel] *= factor
            following[:, channel] /= factor
        for name, value in ((before[1], weights), (before[2], bias), (after[1], following)):
            places[name].CopyFrom(numpy_helper.from_array(value, name))
    return result


@pytest.fixture(scope="module")
def looked(digits: Dataset) -> Looked:
    images = load_split(digits, "train", limit=256).inputs
    return Looked(images[:128], images[128:])


def test_a_spoilt_graph_gets_back_what_scales_a_tensor_cost_it(exported: Model, looked: Looked, tmp_path: Path) -> None:
    plain = prepare(exported.onnx, tmp_path / "plain.onnx")
    exact = session_answerer(open_session(exported, 1))
    found = {}
    for name, model in (("plain", plain), ("spoilt", spoilt(plain)), ("mended", equalized(spoilt(plain))[0])):
        onnx.save(model, tmp_path / f"{name}.onnx")
        floating = session_answerer(open_session(tmp_path / f"{name}.onnx", 1))
        assert signal_to_noise(TASK, exact, floating, looked.held_out) > 80, "the float graph answers as before"
        to_int8(tmp_path / f"{name}.onnx", tmp_path / "int8.onnx", looked.calibration, per_channel=False)
        rounded = session_answerer(open_session(tmp_path / "int8.onnx", 1))
        found[name] = signal_to_noise(TASK, exact, rounded, looked.held_out)
    assert found["spoilt"] < found["plain"] - 10, found
    assert found["mended"] > found["plain"] - 3, found


def test_auto_equalizes_where_that_is_closer_to_float32_and_says_so(
    exported: Model, looked: Looked, tmp_path: Path
) -> None:
    onnx.save(spoilt(onnx.load(exported.onnx)), tmp_path / "spoilt.onnx")

    def facts(**settings: Any) -> Any:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        config = QuantizeConfig.model_validate({"control_seconds": 0.0, **settings})
        return to_best_int8(TASK, tmp_path / "spoilt.onnx", looked, lambda _: 0.0, config, folder).facts

    auto = facts(equalization="auto")
    assert auto.equalized == len(pairs(onnx.load(exported.onnx))) > 0
    assert auto.signal_to_noise["minmax, equalized"] > auto.signal_to_noise["minmax"] + 3
    assert set(facts(equalization="auto", method="auto").signal_to_noise) == {
        *("minmax", "entropy", "percentile"),
        *("minmax, equalized", "entropy, equalized", "percentile, equalized"),
    }
    assert facts().equalized == 0
    assert facts(equalization="always").equalized == auto.equalized
