"""Weights stored in fewer bits, arithmetic in float32: int8 or int4 with a scale an output channel, or half floats.

What this buys is size. The runtime turns the weights back into float32, half floats once when it loads the graph,
integers (DequantizeLinear, which it leaves alone for its own integer kernels) at every call.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from components.compress.quantization.rewriting.correction import corrected
from components.compress.quantization.rewriting.graphs import ARITHMETIC, Weights, weights
from components.compress.quantization.rewriting.rounding import rounded
from components.export.errors import CompressionError
from components.runtimes.execution import Inputs

Storage = Literal["int8-weights", "int4-weights", "float16", "bfloat16"]
STORAGES: tuple[Storage, ...] = get_args(Storage)

_BITS: dict[Storage, int] = {"int8-weights": 8, "int4-weights": 4}
_HALVES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_INT4_OPSET = 21  # the first whose DequantizeLinear takes four bits


def stored(model: onnx.ModelProto, storage: Storage, inputs: Inputs) -> tuple[onnx.ModelProto, int]:
    """The float graph with its weights stored so, and how many convolutions and matrix products that are.

    Rounding to integers is made up for in the biases, with means over `inputs`.
    Raises CompressionError where there are no weights to store.
    """
    layers = list({layer.name: layer for layer in weights(model.graph)}.values())  # shared ones once
    if not layers:
        raise CompressionError(f"{model.graph.name}: expected weights of {', '.join(ARITHMETIC)} to store, found none")
    result = onnx.ModelProto()
    if storage in _BITS:
        values = {each.name: rounded(each.values, each.axis, _BITS[storage], search=True) for each in layers}
        result.CopyFrom(corrected(model, {name: value.values for name, value in values.items()}, inputs))
        for layer in layers:
            value = values[layer.name]
            integers = value.integers.astype(ml_dtypes.int4 if storage == "int4-weights" else np.int8)
            scales = numpy_helper.from_array(value.scales, f"{layer.name}.scales")
            result.graph.initializer.append(scales)
            _replace(result, layer, integers, "DequantizeLinear", [scales.name], axis=layer.axis)
        if storage == "int4-weights":
            _raise_opset(result, _INT4_OPSET)
    else:
        result.CopyFrom(model)
        for layer in layers:
            with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is measured so
                halves = layer.values.astype(_HALVES[storage])
            _replace(result, layer, halves, "Cast", [], to=onnx.TensorProto.FLOAT)
    names = {layer.name for layer in layers}
    return result, sum(node.op_type in ARITHMETIC and node.input[1] in names for node in model.graph.node)


def _replace(
    model: onnx.ModelProto,
    layer: Weights,
    values: npt.NDArray[Any],
    operator: str,
    further: list[str],
    **attributes: Any,
) -> None:
    """Put `values` in the initializer's place, and in front of all who read it the node that makes floats of them."""
    graph = model.graph
    place = next(index for index, tensor in enumerate(graph.initializer) if tensor.name == layer.name)
    small = f"{layer.name}.stored"
    graph.initializer[place].CopyFrom(numpy_helper.from_array(values, small))
    # The node takes over the tensor's name, so that nobody else changes.
    graph.node.insert(0, helper.make_node(operator, [small, *further], [layer.name], f"{small}.read", **attributes))


def _raise_opset(model: onnx.ModelProto, version: int) -> None:
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, version)
    model.ir_version = max(model.ir_version, 10)  # the first with four-bit tensors
