"""What an ONNX graph consists of, as quantization sees it: its arithmetic, the layers around it, their weights.

Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from components.runtimes.protocol import EMBEDDING

Floats = npt.NDArray[np.float32]

ARITHMETIC = ("Conv", "Gemm", "MatMul")

# What a tensor passes through on its way to the softmax without being computed with.
SHAPING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class Weights:
    """The constant factor of one convolution or matrix product."""

    node: onnx.NodeProto
    name: str  # of the initializer
    values: Floats
    axis: int  # that of the output channels


def weights(graph: onnx.GraphProto) -> Iterator[Weights]:
    """Every convolution and matrix product whose second factor is a float32 constant, in the order of the graph."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type not in ARITHMETIC or node.input[1] not in constants:
            continue
        tensor = constants[node.input[1]]
        if tensor.data_type == onnx.TensorProto.FLOAT:
            yield Weights(node, tensor.name, numpy_helper.to_array(tensor), channel_axis(node, len(tensor.dims)))


def channel_axis(node: onnx.NodeProto, dimensions: int) -> int:
    """Along which axis of its weights a node's output channels lie."""
    if node.op_type == "Conv":
        return 0
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 0 if transposed else dimensions - 1


def heads(model: onnx.ModelProto) -> list[str]:
    """Layers that stay float: convolutions whose output goes into a softmax, and the last ones before plain numbers.

    An integer layer has an integer output: logits of 255 levels would spoil what the probabilities of each pixel say,
    and a number that is answered would have 255 values.
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    found = [node.name for node in _before_numbers(model, producers) if node.op_type in ARITHMETIC]
    for softmax in (node for node in model.graph.node if node.op_type in ("Softmax", "LogSoftmax")):
        node = producers.get(softmax.input[0])
        while node is not None and node.op_type in SHAPING:
            node = producers.get(node.input[0])
        if node is not None and node.op_type == "Conv":
            found.append(node.name)
    return found


def endings(model: onnx.ModelProto) -> list[str]:
    """What comes after the last layers before plain numbers: it stays float, as they do.

    There numbers are in their units, values of different ones side by side, and those of several networks are added.
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    found = [node for node in _before_numbers(model, producers) if node.op_type not in ARITHMETIC]
    return [node.name for node in found if node.name]


def _before_numbers(model: onnx.ModelProto, producers: Mapping[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The layers from which an output follows without a softmax between, and what it passes through after them.

    What is embedded is no answer.
    """
    found: list[onnx.NodeProto] = []
    waiting = [output.name for output in model.graph.output if output.name != EMBEDDING]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = producers.get(name)
        if node is None or name in seen or node.op_type in ("Softmax", "LogSoftmax"):
            continue
        seen.update(node.output)
        found.append(node)
        if node.op_type not in ARITHMETIC:
            waiting += node.input
    return found


def layers(model: onnx.ModelProto, integer: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Name of a convolution or matrix product → names of itself and of what follows it up to the next ones.

    Only operators of the kinds `integer` are followed. What joins two layers (an addition) belongs to both.
    """
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    found = {}
    for start in (node for node in model.graph.node if node.op_type in ARITHMETIC):
        names, waiting = [start.name], list(start.output)
        while waiting:
            for node in consumers.get(waiting.pop(), []):
                follows = node.op_type in integer and node.op_type not in ARITHMETIC
                if follows and node.name not in names:
                    names.append(node.name)
                    waiting += node.output
        found[start.name] = tuple(names)
    return found


def quantized_operators(model: onnx.ModelProto) -> int:
    """Convolutions and matrix products all of whose two factors come out of DequantizeLinear."""
    dequantized = {out for node in model.graph.node if node.op_type == "DequantizeLinear" for out in node.output}
    return sum(node.op_type in ARITHMETIC and dequantized.issuperset(node.input[:2]) for node in model.graph.node)
