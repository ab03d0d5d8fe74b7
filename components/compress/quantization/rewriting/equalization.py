"""Cross-layer equalization: channels between two layers are scaled so that both have weights of one size for them.

Nagel et al. 2019 (Data-Free Quantization, section 4.1). Between two convolutions with nothing but a ReLU a channel can
be made s times smaller by the first and s times larger by the second: the float graph answers as before, and a scale
that many channels share (of a tensor of weights, or of what lies between) wastes no levels on the largest of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from components.compress.quantization.rewriting.graphs import heads

Floats = npt.NDArray[np.float32]

# What a positive factor of a channel passes through unchanged: f(s · x) = s · f(x), and channels stay where they are.
_HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity")
_SETTLED = 1e-3  # largest logarithm of a factor at which another round changes nothing that rounding would notice
_ROUNDS = 50  # a chain of layers settles like a relaxation: each round carries a change one pair further


@dataclass(frozen=True)
class Pair:
    """Two convolutions that are alone with the channels between them."""

    first: str  # names of nodes
    second: str


def equalized(model: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The same function with equalized weights, and how many pairs of convolutions that took; 0: nothing was to do.

    The pairs are taken over and over until no factor moves, so that a depthwise layer between two others settles too.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    layers = _layers(result.graph)
    found = [pair for pair in pairs(result) if pair.first in layers and pair.second in layers]
    if not found:
        return result, 0
    for _ in range(_ROUNDS):
        moved = 0.0
        for pair in found:
            factors = _factors(layers[pair.first], layers[pair.second])
            layers[pair.first].shrink(factors)
            layers[pair.second].grow(factors)
            moved = max(moved, float(np.abs(np.log(factors)).max()))
        if moved < _SETTLED:
            break
    changed = {name for pair in found for name in (pair.first, pair.second)}
    _write(result.graph, {name: layers[name] for name in changed})
    return result, len(found)


def pairs(model: onnx.ModelProto) -> list[Pair]:
    """Convolutions and the one that alone reads what they answer, in the order of the graph.

    A dense task's last convolution is none of them: it stays in float, and what it answers are logits.
    """
    graph = model.graph
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in graph.output}
    floating, found = set(heads(model)), []
    for start in (node for node in graph.node if node.op_type == "Conv"):
        tensor = start.output[0]
        while tensor not in outputs and len(readers.get(tensor, [])) == 1:
            (node,) = readers[tensor]
            if node.op_type == "Conv" and node.input[0] == tensor:
                if node.name not in floating:
                    found.append(Pair(start.name, node.name))
                break
            if node.op_type not in _HOMOGENEOUS:
                break
            tensor = node.output[0]
    return found


@dataclass
class _Layer:
    """A convolution whose weights are its own."""

    node: onnx.NodeProto
    weights: npt.NDArray[np.float64]  # (outputs, inputs / groups, …)
    bias: npt.NDArray[np.float64] | None  # (outputs,)
    groups: int

    def shrink(self, factors: npt.NDArray[np.float64]) -> None:
        """What it answers, a factor an output channel smaller."""
        self.weights /= factors.reshape(-1, *[1] * (self.weights.ndim - 1))
        if self.bias is not None:
            self.bias /= factors

    def grow(self, factors: npt.NDArray[np.float64]) -> None:
        """What it makes of its inputs, a factor an input channel larger."""
        self._by_input()[...] *= factors.reshape(self.groups, 1, -1, *[1] * (self.weights.ndim - 2))

    def input_ranges(self) -> npt.NDArray[np.float64]:
        """`(inputs,)`: the largest weight of each."""
        view = np.abs(self._by_input())
        ranges: npt.NDArray[np.float64] = view.max(axis=(1, *range(3, view.ndim))).reshape(-1)
        return ranges

    def output_ranges(self) -> npt.NDArray[np.float64]:
        """`(outputs,)`: the largest weight of each."""
        ranges: npt.NDArray[np.float64] = np.abs(self.weights).max(axis=tuple(range(1, self.weights.ndim)))
        return ranges

    def _by_input(self) -> npt.NDArray[np.float64]:
        """A view `(groups, outputs / groups, inputs / groups, …)`."""
        return self.weights.reshape(self.groups, -1, *self.weights.shape[1:])


def _factors(first: _Layer, second: _Layer) -> npt.NDArray[np.float64]:
    """By which the channels between them shrink: afterwards both have the geometric mean of the two ranges.

    A channel that either has no weights for stays as it is.
    """
    before, after = first.output_ranges(), second.input_ranges()
    alive = (before > 0) & (after > 0)
    factors: npt.NDArray[np.float64] = np.sqrt(np.where(alive, before, 1.0) / np.where(alive, after, 1.0))
    return factors


def _layers(graph: onnx.GraphProto) -> dict[str, _Layer]:
    """Node → convolution, of those with constant weights that no other node reads."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    read = Counter(name for node in graph.node for name in node.input)
    found = {}
    for node in (node for node in graph.node if node.op_type == "Conv"):
        names = [name for name in node.input[1:] if name]
        if any(name not in constants for name in names) or read[node.input[1]] != 1:
            continue
        values = [numpy_helper.to_array(constants[name]).astype(np.float64) for name in names]
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        found[node.name] = _Layer(node, values[0], values[1] if len(values) > 1 else None, groups)
    return found


def _write(graph: onnx.GraphProto, layers: dict[str, _Layer]) -> None:
    """Put the layers' values in place of what they had; biases become their own, as others may share those."""
    for name, layer in layers.items():
        values = {1: layer.weights} if layer.bias is None else {1: layer.weights, 2: layer.bias}
        for place, value in values.items():
            own = f"{name}.equalized_{'weights' if place == 1 else 'bias'}"
            graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), own))
            layer.node.input[place] = own
    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
