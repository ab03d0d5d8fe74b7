from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from components.compress.quantization.integer import _fewest_bits
from components.compress.quantization.rewriting.saturating import saturating
from components.compress.quantization.rewriting.static import prepare, to_int8
from components.compress.quantization.worst import saturating_answerer
from components.config import QuantizeConfig
from components.runtimes import onnxruntime as engine
from tests.components.compress.quantization.test_static import IMAGES

Levels = npt.NDArray[np.uint8]
SCALE, ZERO = np.float32(0.5), 3  # of activations


def layer(kind: str, weights: npt.NDArray[np.int8], shape: list[Any], **attributes: Any) -> onnx.ModelProto:
    """`image` uint8 → a convolution or matrix product of int8 weights, as the quantizer writes one."""
    axis = 1 if kind == "MatMul" else 0
    scales = np.linspace(0.25, 0.5, weights.shape[axis], dtype=np.float32)
    constants = {
        "scale": SCALE,
        "zero": np.uint8(ZERO),
        "weights": weights,
        "scales": scales,
        "zeros": np.zeros(len(scales), np.int8),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["image", "scale", "zero"], ["left"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["right"], axis=axis),
        helper.make_node(kind, ["left", "right"], ["embedding"], **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def answer(model: onnx.ModelProto, levels: Levels) -> npt.NDArray[np.float32]:
    session = engine.open_session(model.SerializeToString(), 1, precise=True)
    found: npt.NDArray[np.float32] = session.run(None, {"image": levels})[0]
    return found


def test_two_products_give_no_more_than_sixteen_bits_hold() -> None:
    # given four outputs of four weights, of which neighbours are added first
    weights = np.array([[127, 127, 100, -100], [-127, -127, 1, 1], [64, 64, 64, 64], [127, -127, 127, -127]], np.int8)
    model, pairs = saturating(layer("Gemm", weights, ["N", 4], transB=1))
    # then 255·(127 + 127) = 64,770 becomes 32,767, its opposite −32,768; 255·128 = 32,640 and what cancels stay
    assert pairs == 2
    bright, dim = answer(model, np.array([[255] * 4, [120, 138, 0, 0]], np.uint8))
    less = np.array([3 * 254, 3 * -252, 3 * 256, 0])  # the activations' zero stands for nothing
    scales = 0.5 * np.linspace(0.25, 0.5, 4)
    np.testing.assert_allclose(bright, (np.array([32767, -32768 + 510, 65280, 0]) - less) * scales, rtol=1e-6)
    # 120·127 + 138·127 = 32,766 is one short of the limit
    np.testing.assert_allclose(dim, (np.array([32766, -32766, 16512, -2286]) - less) * scales, rtol=1e-6)


def by_loops(levels: Levels, weights: npt.NDArray[np.int8], pad: int, stride: int, groups: int) -> Any:
    """A convolution whose products are added pair by pair in 16 bits, by place and then by channel; (N, O, h, w)."""
    framed = np.pad(levels.astype(np.int64), ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=ZERO)
    outputs, inputs, side, _ = weights.shape
    size = (framed.shape[2] - side) // stride + 1
    found = np.zeros((len(levels), outputs, size, size))
    for number, channel, top, left in np.ndindex(*found.shape):
        first = channel // (outputs // groups) * inputs
        rows, columns = (slice(start * stride, start * stride + side) for start in (top, left))
        patch = framed[number, first : first + inputs, rows, columns].transpose(1, 2, 0).ravel()
        kernel = weights[channel].astype(np.int64).transpose(1, 2, 0).ravel()
        products = np.append(patch * kernel, [0] * (len(patch) % 2)).reshape(-1, 2)
        found[number, channel, top, left] = np.clip(products.sum(axis=1), -32768, 32767).sum() - ZERO * kernel.sum()
    return found * SCALE * np.linspace(0.25, 0.5, outputs, dtype=np.float32)[None, :, None, None]


@pytest.mark.parametrize(
    ("inputs", "side", "pad", "stride", "groups"),
    [(1, 3, 1, 1, 1), (3, 3, 1, 2, 1), (4, 1, 0, 1, 1), (8, 3, 1, 1, 2), (3, 3, 1, 1, 3)],
)
def test_a_convolution_is_added_up_by_place_and_then_by_channel(
    inputs: int, side: int, pad: int, stride: int, groups: int
) -> None:
    random = np.random.default_rng(inputs)
    weights = np.clip(random.normal(0, 80, (6, inputs // groups, side, side)), -127, 127).astype(np.int8)
    levels = random.integers(0, 256, (2, inputs, 5, 5), dtype=np.uint8)
    attributes = {"pads": [pad] * 4, "strides": [stride] * 2, "group": groups, "kernel_shape": [side] * 2}
    plain = layer("Conv", weights, ["N", inputs, 5, 5], **attributes)
    model, pairs = saturating(plain)
    expected = by_loops(levels, weights, pad, stride, groups)
    assert pairs > 0 and np.abs(answer(plain, levels) - expected).max() > 10
    np.testing.assert_allclose(answer(model, levels), expected, atol=0.01)


def test_a_convolution_over_a_text_is_one_over_a_picture_of_one_row() -> None:
    random = np.random.default_rng(0)
    weights = np.clip(random.normal(0, 80, (6, 4, 3)), -127, 127).astype(np.int8)
    levels = random.integers(0, 256, (2, 4, 9), dtype=np.uint8)
    along = layer("Conv", weights, ["N", 4, 9], pads=[1, 1], kernel_shape=[3])
    flat = layer("Conv", weights[:, :, None], ["N", 4, 1, 9], pads=[0, 1, 0, 1], kernel_shape=[1, 3])
    (one, pairs), (other, same) = saturating(along), saturating(flat)
    assert pairs == same > 0
    assert np.abs(answer(along, levels) - answer(one, levels)).max() > 10
    np.testing.assert_allclose(answer(one, levels), answer(other, levels[:, :, None])[:, :, 0], atol=0.01)


def test_what_cannot_saturate_is_left_alone(prepared_bits: dict[int, Path]) -> None:
    assert saturating_answerer(prepared_bits[7]) is None
    seven, eight = (onnx.load(prepared_bits[bits]) for bits in (7, 8))
    assert saturating(seven)[0] is seven
    largest = {
        bits: max(int(np.abs(numpy_helper.to_array(each).astype(int)).max()) for each in model.graph.initializer
                  if each.data_type == onnx.TensorProto.INT8)
        for bits, model in ((7, seven), (8, eight))
    }  # fmt: skip
    assert largest == {7: 64, 8: 127}
    # a group for each channel has kernels that add in 32 bits: of this graph only the matrix product saturates
    twin, pairs = saturating(eight)
    assert pairs > 0 and len(twin.graph.node) == len(eight.graph.node) + 6
    held = saturating_answerer(prepared_bits[8])
    assert held is not None
    plain = engine.session_answerer(engine.open_session(prepared_bits[8], 1, precise=True))(IMAGES)["embedding"]
    assert held(IMAGES)["embedding"].shape == plain.shape


@pytest.fixture
def prepared_bits(graph: onnx.ModelProto, tmp_path: Path) -> dict[int, Path]:
    onnx.save(graph, tmp_path / "float.onnx")
    prepare(tmp_path / "float.onnx", tmp_path / "prepared.onnx")
    to_int8(tmp_path / "prepared.onnx", tmp_path / "7.onnx", IMAGES, bits=7)
    to_int8(tmp_path / "prepared.onnx", tmp_path / "8.onnx", IMAGES, bits=8)
    return {7: tmp_path / "7.onnx", 8: tmp_path / "8.onnx"}


@pytest.mark.parametrize(
    ("seven", "eight", "expected"),
    [(0.01, 0.0, 7), (0.02, 0.015, 8), (0.02, 0.03, 7), (float("nan"), 0.0, 7), (0.02, float("nan"), 7)],
)
def test_the_eighth_bit_is_used_where_seven_cost_too_much_and_it_is_better_at_worst(
    seven: float, eight: float, expected: int
) -> None:
    made: list[int] = []
    losses = {7: seven, 8: eight}
    bits, loss = _fewest_bits(
        lambda bits: made.append(bits) or 1,  # type: ignore[func-returns-value]
        Path("int8.onnx"),
        lambda graph: losses[made[-1]],
        QuantizeConfig(allowance=0.01),
    )
    assert bits == expected
    assert loss is losses[bits]


ASKED = """
import sys, numpy, openvino
core = openvino.Core()
model = core.compile_model(core.read_model(sys.argv[1]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
numpy.save(sys.argv[3], next(iter(model(numpy.load(sys.argv[2])).values())))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86")
def test_kernels_that_use_no_vnni_answer_so(tmp_path: Path) -> None:
    """OpenVINO's can be kept from it on any x86; those of ONNX Runtime cannot."""
    pytest.importorskip("openvino")
    random = np.random.default_rng(0)
    weights = np.clip(random.normal(0, 60, (16, 16, 3, 3)), -127, 127).astype(np.int8)
    levels = random.integers(0, 256, (5, 16, 8, 8), dtype=np.uint8)
    model = layer("Conv", weights, ["N", 16, 8, 8], pads=[1] * 4, kernel_shape=[3, 3])
    # the output is quantized, or OpenVINO would multiply floats
    ends = {"step": np.float32(60.0), "middle": np.uint8(128)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in ends.items())
    model.graph.node.extend(
        helper.make_node(kind, [given, "step", "middle"], [made])
        for kind, given, made in (("QuantizeLinear", "embedding", "whole"), ("DequantizeLinear", "whole", "out"))
    )
    model.graph.output[0].name = "out"
    held, _ = saturating(model)
    onnx.save(model, tmp_path / "layer.onnx")
    np.save(tmp_path / "levels.npy", levels)
    subprocess.run(
        [sys.executable, "-c", ASKED, *(str(tmp_path / name) for name in ("layer.onnx", "levels.npy", "found.npy"))],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        check=True,
    )
    found = np.load(tmp_path / "found.npy")
    assert (np.abs(found - answer(model, levels)) > 30).mean() > 0.1
    assert (np.abs(found - answer(held, levels)) > 30).mean() < 0.001
