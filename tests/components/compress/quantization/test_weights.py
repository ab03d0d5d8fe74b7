from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import numpy_helper

from components.compress.quantization.rewriting.correction import corrected
from components.compress.quantization.rewriting.graphs import weights
from components.compress.quantization.rewriting.rounding import rounded
from components.compress.quantization.weights import STORAGES, Storage, stored
from components.export.errors import CompressionError
from components.runtimes.execution import open_session

IMAGES = np.random.default_rng(1).integers(0, 256, (70, 6, 6, 3), dtype=np.uint8)


def constant(model: onnx.ModelProto, name: str) -> npt.NDArray[np.float32]:
    return next(numpy_helper.to_array(each) for each in model.graph.initializer if each.name == name)


def reference(kernel: Any, bias: Any, matrix: Any, images: Any = IMAGES) -> torch.Tensor:
    pixels = torch.from_numpy(images).float().permute(0, 3, 1, 2)
    maps = F.conv2d(pixels, torch.tensor(kernel), torch.tensor(bias), groups=3)
    return F.linear(maps.flatten(1), torch.tensor(matrix))


def run(model: onnx.ModelProto, folder: Path) -> npt.NDArray[np.float32]:
    onnx.checker.check_model(model)
    onnx.save(model, folder / "graph.onnx")
    answer: npt.NDArray[np.float32] = open_session(folder / "graph.onnx", 1).run(None, {"image": IMAGES})[0]
    return answer


@pytest.mark.parametrize(("storage", "kind"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_half_floats_are_computed_with_as_the_float32_that_they_stand_for(
    graph: onnx.ModelProto, storage: Storage, kind: Any, tmp_path: Path
) -> None:
    model, count = stored(graph, storage, IMAGES)
    kernel, matrix = (constant(graph, name).astype(kind).astype(np.float32) for name in ("kernel", "matrix"))
    expected = reference(kernel, constant(graph, "bias"), matrix)
    assert count == 2
    np.testing.assert_allclose(run(model, tmp_path), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("storage", "levels"), [("int8-weights", 255), ("int4-weights", 15)])
def test_integers_have_a_scale_a_channel_and_biases_keep_the_mean(
    graph: onnx.ModelProto, storage: Storage, levels: int, tmp_path: Path
) -> None:
    model, count = stored(graph, storage, IMAGES)
    readers = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    assert count == len(readers) == 2
    found = {}
    for name, node in readers.items():
        integers = constant(model, node.input[0]).astype(np.float32)
        scales = constant(model, node.input[1])
        assert len(np.unique(integers)) <= levels
        assert scales.shape == integers.shape[:1]
        found[name] = integers * scales.reshape(-1, *[1] * (integers.ndim - 1))
        step = scales.reshape(-1, *[1] * (integers.ndim - 1))
        exact = constant(graph, name)
        inside = np.abs(exact) <= step * (levels // 2)
        assert (np.abs(found[name] - exact)[inside] <= (step / 2 + 1e-6 + 0 * exact)[inside]).all()
    answered = run(model, tmp_path)
    exact = reference(constant(graph, "kernel"), constant(graph, "bias"), constant(graph, "matrix")).numpy()
    plain = reference(found["kernel"], constant(graph, "bias"), found["matrix"]).numpy()
    # the shift of the answers' means that rounding makes is gone, but for what the first layer's hands to the second
    before, after = np.abs((plain - exact).mean(axis=0)), np.abs((answered - exact).mean(axis=0))
    assert after.max() < 0.5 * before.max()


def test_biases_are_corrected_by_the_mean_error_of_each_channel(graph: onnx.ModelProto) -> None:
    crude = {layer.name: rounded(layer.values, layer.axis, 3).values for layer in weights(graph.graph)}
    model = corrected(graph, crude, IMAGES)
    nodes = {node.name: node for node in model.graph.node}
    pixels = torch.from_numpy(IMAGES).float().permute(0, 3, 1, 2)
    error = F.conv2d(pixels, torch.tensor(crude["kernel"] - constant(graph, "kernel")), groups=3).mean(dim=(0, 2, 3))
    found = constant(model, nodes["conv"].input[2])
    np.testing.assert_allclose(found, constant(graph, "bias") - error.numpy(), rtol=1e-4, atol=1e-3)
    # Gemm had no bias: it gets one; its inputs are those of the float graph
    exact = F.conv2d(pixels, torch.tensor(constant(graph, "kernel")), torch.tensor(constant(graph, "bias")), groups=3)
    error = F.linear(exact.flatten(1), torch.tensor(crude["matrix"] - constant(graph, "matrix"))).mean(dim=0)
    np.testing.assert_allclose(constant(model, nodes["gemm"].input[2]), -error.numpy(), rtol=1e-3, atol=1e-2)


def test_a_searched_range_has_the_least_error_of_all_that_are_tried() -> None:
    values = np.random.default_rng(0).standard_t(3, size=(4, 200)).astype(np.float32)
    plain, searched = rounded(values, 0, 4), rounded(values, 0, 4, search=True)
    errors = [((each.values - values) ** 2).sum(axis=1) for each in (plain, searched)]
    assert (errors[1] <= errors[0]).all()
    assert errors[1].sum() < 0.8 * errors[0].sum()
    np.testing.assert_allclose(plain.scales, np.abs(values).max(axis=1) / 7, rtol=1e-6)


@pytest.mark.parametrize("storage", STORAGES)
def test_nothing_to_store_is_an_error(graph: onnx.ModelProto, storage: Storage) -> None:
    bare = onnx.ModelProto()
    bare.CopyFrom(graph)
    del bare.graph.node[2:]
    with pytest.raises(CompressionError, match="expected weights of Conv, Gemm, MatMul to store, found none"):
        stored(bare, storage, IMAGES)
