from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from components.compress.quantization.rewriting.graphs import layers, quantized_operators
from components.compress.quantization.rewriting.static import OPERATORS, Bits, prepare, to_int8
from components.export.errors import CompressionError
from components.runtimes.execution import executed_kernels, open_session

IMAGES = np.random.default_rng(2).integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)


@pytest.fixture
def prepared(graph: onnx.ModelProto, tmp_path: Path) -> Path:
    onnx.save(graph, tmp_path / "float.onnx")
    prepare(tmp_path / "float.onnx", tmp_path / "prepared.onnx")
    return tmp_path / "prepared.onnx"


def answer(path: Path) -> Any:
    return open_session(path, 1).run(None, {"image": IMAGES})[0]


def fake(values: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """uint8 with the range of what was seen, 0 exactly in it."""
    low, high = min(float(seen.min()), 0.0), max(float(seen.max()), 0.0)
    scale = (high - low) / 255
    zero = round(-low / scale)
    return (torch.clamp(torch.round(values / scale) + zero, 0, 255) - zero) * scale


def weight(values: torch.Tensor, levels: int) -> torch.Tensor:
    """int8 with a range an output channel, symmetric: so many levels on either side of 0."""
    scale = values.abs().flatten(1).max(dim=1).values.reshape(-1, *[1] * (values.ndim - 1)) / levels
    return torch.round(values / scale) * scale


@pytest.mark.parametrize(("bits", "levels"), [(7, 64), (8, 127)])
def test_the_graph_computes_what_so_many_bits_leave(
    bits: Bits, levels: int, graph: onnx.ModelProto, prepared: Path, tmp_path: Path
) -> None:
    assert to_int8(prepared, tmp_path / "int8.onnx", IMAGES, bits=bits) == 2
    kernel, bias, matrix = (
        torch.tensor(
            next(numpy_helper.to_array(each) for each in graph.graph.initializer if each.name == name)
        ).double()
        for name in ("kernel", "bias", "matrix")
    )
    pixels = torch.from_numpy(IMAGES).double().permute(0, 3, 1, 2)
    exact = F.conv2d(pixels, kernel, bias, groups=3)
    maps = fake(
        F.conv2d(fake(pixels, pixels), weight(kernel, levels), bias, groups=3), exact
    )  # ranges are the float graph's
    expected = F.linear(maps.flatten(1), weight(matrix, levels)).numpy()
    found = answer(tmp_path / "int8.onnx")
    step = float(exact.max() - exact.min()) / 255
    # one level of one map may fall to the other side of a half
    assert np.abs(found - expected).max() < 2 * step * float(matrix.abs().max())
    assert np.abs(found - expected).mean() < 0.1 * np.abs(found - answer(prepared)).mean()
    assert executed_kernels(tmp_path / "int8.onnx")["QLinearConv"] == 1


def test_ranges_are_taken_once_and_read_for_every_further_graph(prepared: Path, tmp_path: Path) -> None:
    ranges = tmp_path / "ranges.json"
    to_int8(prepared, tmp_path / "first.onnx", IMAGES, "percentile", ranges=ranges)
    # given images that would give other ranges
    to_int8(prepared, tmp_path / "again.onnx", IMAGES // 8, "percentile", ranges=ranges)
    to_int8(prepared, tmp_path / "other.onnx", IMAGES // 8, "percentile")
    first, again, other = (answer(tmp_path / f"{name}.onnx") for name in ("first", "again", "other"))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_a_layer_can_stay_float_or_be_the_only_one_that_does_not(prepared: Path, tmp_path: Path) -> None:
    parts = layers(onnx.load(prepared), OPERATORS)
    (convolution, product) = parts
    kept, only = tmp_path / "kept.onnx", tmp_path / "only.onnx"
    assert to_int8(prepared, kept, IMAGES, kept=parts[convolution]) == 1
    assert to_int8(prepared, only, IMAGES, only=parts[product]) == 1
    np.testing.assert_array_equal(answer(kept), answer(only))
    assert quantized_operators(onnx.load(kept)) == 1
    with pytest.raises(CompressionError, match="expected Conv, Gemm, MatMul to quantize"):
        to_int8(prepared, kept, IMAGES, kept=[*parts[convolution], *parts[product]])
    with pytest.raises(CompressionError, match="expected calibration inputs, received none"):
        to_int8(prepared, kept, IMAGES[:0])


def test_layers_that_share_weights_are_quantized_each_with_its_own(tmp_path: Path) -> None:
    """As where a block is passed through several times: engines refused such a graph in int8."""
    random = np.random.default_rng(0)
    kernel, bias = (random.normal(size=shape).astype(np.float32) for shape in ((3, 3, 3, 3), (3,)))
    nodes = [
        helper.make_node("Cast", ["image"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["whole"], ["pixels"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["pixels", "unit"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "kernel", "bias"], ["once"], name="one", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["once"], ["first"]),
        helper.make_node("Conv", ["first", "kernel", "bias"], ["twice"], name="other", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["twice"], ["second"]),
        helper.make_node("Mul", ["second", "unit"], ["answer"]),
    ]
    given = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 6, 6, 3])
    told = helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["N", 3, 6, 6])
    constants = {"kernel": kernel, "bias": bias, "unit": np.float32(1 / 255)}
    built = helper.make_graph(
        nodes, "shared", [given], [told], [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()]
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "float.onnx")
    prepare(tmp_path / "float.onnx", tmp_path / "prepared.onnx")
    np.testing.assert_array_equal(answer(tmp_path / "prepared.onnx"), answer(tmp_path / "float.onnx"))
    assert to_int8(tmp_path / "prepared.onnx", tmp_path / "int8.onnx", IMAGES, bits=8) > 0
    exact, rounded = answer(tmp_path / "float.onnx"), answer(tmp_path / "int8.onnx")
    assert np.abs(exact - rounded).mean() < 0.02 * np.abs(exact).mean()
