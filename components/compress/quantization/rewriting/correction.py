"""Bias correction: rounded weights shift the mean of what a layer answers; the bias takes that shift back.

Nagel et al. 2019 (Data-Free Quantization, section 4.2), with the mean taken over inputs rather than foretold from
batch normalisation: `E[(rounded − exact) · x]`, a value an output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from components.compress.quantization.rewriting.graphs import weights
from components.runtimes.execution import Inputs, open_session

Floats = npt.NDArray[np.float32]

_CHUNK = 64  # inputs at once


def shifts(model: onnx.ModelProto, rounded: Mapping[str, Floats], inputs: Inputs) -> dict[str, npt.NDArray[np.float64]]:
    """Node → mean over `inputs`, and over places, of what rounding adds to its output; (channels,).

    `rounded` are weights by their initializers' names, as they will be. All layers are asked in one pass, each with
    the inputs that it has in the float graph.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    graph = probe.graph
    del graph.output[:]
    asked: dict[str, str] = {}  # output → node
    for layer in [each for each in weights(model.graph) if each.name in rounded]:
        error, answer, mean = (f"{layer.node.name}.{what}" for what in ("error", "answer", "mean"))
        graph.initializer.append(numpy_helper.from_array(rounded[layer.name] - layer.values, error))
        twin = onnx.NodeProto()
        twin.CopyFrom(layer.node)
        del twin.input[:], twin.output[:]
        twin.input.extend([layer.node.input[0], error])
        twin.output.append(answer)
        twin.name = answer
        channels = 1 if layer.node.op_type == "Conv" else layer.values.ndim - 1
        axes = [axis for axis in range(layer.values.ndim) if axis != channels]
        graph.initializer.append(numpy_helper.from_array(np.array(axes, dtype=np.int64), f"{mean}.axes"))
        graph.node.extend([twin, helper.make_node("ReduceMean", [answer, f"{mean}.axes"], [mean], keepdims=0)])
        graph.output.append(helper.make_tensor_value_info(mean, onnx.TensorProto.FLOAT, None))
        asked[mean] = layer.node.name
    totals = {name: np.zeros(1) for name in asked.values()}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        onnx.save(probe, path)
        session = open_session(path, 1)
    (given,) = session.get_inputs()
    for start in range(0, len(inputs), _CHUNK):
        part = np.ascontiguousarray(inputs[start : start + _CHUNK])
        for output, value in zip(asked, session.run(list(asked), {given.name: part}), strict=True):
            totals[asked[output]] = totals[asked[output]] + value.astype(np.float64) * len(part)
    return {name: total / len(inputs) for name, total in totals.items()}


def corrected(model: onnx.ModelProto, rounded: Mapping[str, Floats], inputs: Inputs) -> onnx.ModelProto:
    """The float graph with biases that undo the mean of what rounding its weights to `rounded` adds.

    Matrix products without a bias of their own stay as they are.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    nodes = {node.name: node for node in result.graph.node}
    for name, shift in shifts(model, rounded, inputs).items():
        node = nodes[name]
        if node.op_type == "MatMul":
            continue
        bias = numpy_helper.to_array(constants[node.input[2]]) if len(node.input) > 2 else np.zeros_like(shift)
        own = f"{name}.corrected_bias"  # a bias of its own: another node may share the one that it had
        result.graph.initializer.append(numpy_helper.from_array((bias - shift).astype(np.float32), own))
        given = [*node.input[:2], own]
        del node.input[:]
        node.input.extend(given)
    return result
