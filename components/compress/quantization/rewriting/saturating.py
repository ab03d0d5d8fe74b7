"""An int8 graph as the processors answer it that it goes worst on: x86 without VNNI, where sums of products saturate.

There u8·s8 products are added in pairs to 16 bits (`vpmaddubsw`), so that two large weights of one sign under bright
activations give 32,767 and no more; a processor with VNNI, or NEON's dot product, adds in 32 bits. What is lost by it
is put into the graph, pair by pair, so that any engine on any processor answers as they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from components.compress.quantization.rewriting.graphs import ARITHMETIC, channel_axis

LOWEST, HIGHEST = -(2**15), 2**15 - 1  # what 16 bits hold
BRIGHTEST = 255  # the largest activation


@dataclass(frozen=True)
class Factors:
    """The quantized inputs of a convolution or matrix product."""

    activations: str  # uint8 tensor
    scale: np.float32
    zero: int
    weights: npt.NDArray[np.int8]  # (O, …) of a convolution, (K, O) of a product
    scales: npt.NDArray[np.float32]  # (O,)


def saturating(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """A copy that answers as without VNNI, and how many pairs of weights can saturate; the model itself where none can.

    Pairs are the runtime's: of a convolution by place first, then by input channel. One with a group for each output
    channel is added up in 32 bits everywhere. Sums are exact; being scaled in another order than in the runtime, one of
    10,000 activations may be rounded to the other side of a half.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    producers = {output: node for node in model.graph.node for output in node.output}
    result, total = onnx.ModelProto(), 0
    result.CopyFrom(model)
    nodes = []
    for node in result.graph.node:
        nodes.append(node)
        factors = _factors(node, producers, constants) if node.op_type in ARITHMETIC else None
        if factors is None:
            continue
        pairs, outputs = _convolved(node, factors) if node.op_type == "Conv" else _multiplied(node, factors)
        if len(outputs):
            total += len(outputs)
            nodes += _less(node, factors, pairs, outputs, result.graph)
    if not total:
        return model, 0
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    return result, total


def _factors(
    node: onnx.NodeProto, producers: dict[str, onnx.NodeProto], constants: dict[str, onnx.TensorProto]
) -> Factors | None:
    """What the node multiplies, None where that is not u8 by s8."""
    left, right = producers.get(node.input[0]), producers.get(node.input[1])
    if left is None or right is None or {left.op_type, right.op_type} != {"DequantizeLinear"}:
        return None
    if right.input[0] not in constants or constants[right.input[0]].data_type != onnx.TensorProto.INT8:
        return None
    weights, scales = (numpy_helper.to_array(constants[name]) for name in right.input[:2])
    scale, zero = (numpy_helper.to_array(constants[name]) for name in left.input[1:3])
    channels = weights.shape[channel_axis(node, weights.ndim)]
    return Factors(
        left.input[0], np.float32(scale), int(zero), weights, np.broadcast_to(scales.ravel(), channels).copy()
    )


def _convolved(node: onnx.NodeProto, factors: Factors) -> tuple[npt.NDArray[np.float32], Sequence[int]]:
    """Kernels (Q, C, …), each of one pair of weights that can saturate, and the output channels (Q,) of them.

    Of pictures a kernel has two further axes, of texts one.
    """
    outputs, inputs, *places = factors.weights.shape
    groups = _attribute(node, "group", 1)
    if inputs == 1 and groups == outputs > 1:
        return np.zeros((0, 0, *(0 for _ in places)), np.float32), []
    order = np.moveaxis(factors.weights, 1, -1).reshape(outputs, -1)
    kernels, channels = [], []
    for channel, first in _saturable(order):
        flat = np.zeros(order.shape[1], np.float32)
        flat[first : first + 2] = order[channel, first : first + 2]
        kernel = np.zeros((groups, inputs, *places), np.float32)
        kernel[channel // (outputs // groups)] = np.moveaxis(flat.reshape(*places, inputs), -1, 0)
        kernels.append(kernel.reshape(groups * inputs, *places))
        channels.append(channel)
    return np.array(kernels, np.float32), channels


def _multiplied(node: onnx.NodeProto, factors: Factors) -> tuple[npt.NDArray[np.float32], Sequence[int]]:
    """Matrix (K, Q), a column each pair of weights that can saturate, and the outputs (Q,) of them."""
    order = factors.weights if channel_axis(node, 2) == 0 else factors.weights.T
    found = _saturable(order)
    matrix = np.zeros((order.shape[1], len(found)), np.float32)
    for column, (output, first) in enumerate(found):
        matrix[first : first + 2, column] = order[output, first : first + 2]
    return matrix, [output for output, _ in found]


def _saturable(order: npt.NDArray[np.int8]) -> list[tuple[int, int]]:
    """Of weights (O, K): output and first place of each pair whose products can leave 16 bits."""
    even = order[:, : order.shape[1] // 2 * 2].astype(np.int64).reshape(len(order), -1, 2)
    most, least = np.maximum(even, 0).sum(axis=2) * BRIGHTEST, np.minimum(even, 0).sum(axis=2) * BRIGHTEST
    return [(int(output), int(pair) * 2) for output, pair in np.argwhere((most > HIGHEST) | (least < LOWEST))]


def _less(
    node: onnx.NodeProto,
    factors: Factors,
    pairs: npt.NDArray[np.float32],
    outputs: Sequence[int],
    graph: onnx.GraphProto,
) -> list[onnx.NodeProto]:
    """Nodes that add to the node's output what its pairs lose; the node itself gets another name for its own."""
    prefix, output = f"{node.output[0]}.saturating", node.output[0]
    node.output[0] = f"{prefix}.exact"
    back = np.zeros((factors.scales.size, len(outputs)), np.float32)
    axes = factors.weights.ndim - 2  # over which a convolution goes
    back[outputs, np.arange(len(outputs))] = factors.scale * factors.scales[list(outputs)]
    constants: dict[str, npt.NDArray[Any]] = {
        "lowest": np.array(LOWEST, np.float32),
        "highest": np.array(HIGHEST, np.float32),
        "pairs": pairs,
        "back": back.reshape(*back.shape, *(1 for _ in range(axes))) if node.op_type == "Conv" else back.T,
    }
    made = [helper.make_node("Cast", [factors.activations], [f"{prefix}.levels"], to=onnx.TensorProto.FLOAT)]
    if node.op_type == "Conv":
        pads = _attribute(node, "pads", [0] * 2 * axes)
        constants["frame"] = np.array([0, 0, *pads[:axes], 0, 0, *pads[axes:]], np.int64)
        constants["zero"] = np.array(factors.zero, np.float32)  # what an image is framed with stands for 0
        framed = [f"{prefix}.{name}" for name in ("levels", "frame", "zero")]
        stepping = {name: _attribute(node, name, [1] * axes) for name in ("strides", "dilations")}
        made += [
            helper.make_node("Pad", framed, [f"{prefix}.framed"]),
            helper.make_node("Conv", [f"{prefix}.framed", f"{prefix}.pairs"], [f"{prefix}.sums"], **stepping),
        ]
    else:
        made.append(helper.make_node("MatMul", [f"{prefix}.levels", f"{prefix}.pairs"], [f"{prefix}.sums"]))
    held = [f"{prefix}.{name}" for name in ("sums", "lowest", "highest")]
    made += [
        helper.make_node("Clip", held, [f"{prefix}.held"]),
        helper.make_node("Sub", [f"{prefix}.held", f"{prefix}.sums"], [f"{prefix}.lost"]),
        helper.make_node(
            "Conv" if node.op_type == "Conv" else "MatMul", [f"{prefix}.lost", f"{prefix}.back"], [f"{prefix}.less"]
        ),
        helper.make_node("Add", [node.output[0], f"{prefix}.less"], [output]),
    ]
    graph.initializer.extend(numpy_helper.from_array(value, f"{prefix}.{name}") for name, value in constants.items())
    return made


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(each) for each in node.attribute if each.name == name), default)
