"""A float graph → the same graph with 8-bit integer arithmetic inside (static QDQ), and what was really quantized.

Whether the result is any good, and worth serving, is measured and decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from components.compress.quantization.rewriting.graphs import ARITHMETIC, endings, heads, quantized_operators
from components.export.errors import CompressionError
from components.export.export import quiet
from components.runtimes.execution import Inputs

Method = Literal["minmax", "entropy", "percentile"]
Bits = Literal[7, 8]  # of a weight

METHODS: dict[Method, CalibrationMethod] = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}

# What becomes integer. Additions, concatenations and resizings are among them so that a residual or a bridge does not
# go through float and back (measured: four conversions fewer in a small U-Net, 6 % faster). Softmax is not: its output
# would have 255 levels and sums off by 0.016. Nor is pre-processing, which is no operator of this list.
OPERATORS = (*ARITHMETIC, "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat", "Resize")

_CHUNK = 32  # inputs whose intermediate tensors are held at once while ranges are taken: bounds memory, not the result


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime ships no types
    """Inputs as arrays in chunks, in the runtime's own protocol; `given` is what the graph calls them."""

    def __init__(self, given: str, inputs: Inputs) -> None:
        self._given, self._inputs = given, inputs
        self._next, self._end = 0, len(self)

    def __len__(self) -> int:
        """Chunks, the last of them possibly shorter."""
        return math.ceil(len(self._inputs) / _CHUNK)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Inputs] | None:
        if self._next >= self._end:
            return None
        start = self._next * _CHUNK
        self._next += 1
        return {self._given: self._inputs[start : start + _CHUNK]}


def prepare(source: Path, target: Path) -> onnx.ModelProto:
    """Write `target`: the graph of `source` with inferred shapes and fused as the runtime will fuse it anyway."""
    with quiet():
        # Symbolic inference is for unknown spatial sizes; here only the batch is free.
        quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    model = onnx.load(target)
    if _unshared(model):
        onnx.save(model, target)
    return model


def _unshared(model: onnx.ModelProto) -> bool:
    """Give each convolution and product weights of its own, where layers share some; whether any did.

    Engines fold what quantizing puts behind weights into them, by their name, and refuse to do so twice.
    """
    constants = {each.name: each for each in model.graph.initializer}
    used: set[str] = set()
    for node in model.graph.node:
        for place, name in enumerate(node.input if node.op_type in OPERATORS else ()):
            if name in used:
                own = onnx.TensorProto()
                own.CopyFrom(constants[name])
                own.name = f"{name}.{len(model.graph.initializer)}"
                model.graph.initializer.append(own)
                node.input[place] = own.name
            elif name in constants:
                used.add(name)
    return len(model.graph.initializer) > len(constants)


def to_int8(
    prepared: Path,
    target: Path,
    inputs: Inputs,
    method: Method = "minmax",
    *,
    ranges: Path | None = None,
    kept: Collection[str] = (),
    only: Sequence[str] = (),
    per_channel: bool = True,
    bits: Bits = 7,
) -> int:
    """Write `target`: weights int8 per output channel, activations uint8 with ranges seen on `inputs`.

    `prepared` is what `prepare` wrote. `ranges` is a file that keeps them: it is read where it is there, so that one
    look at the inputs does for many graphs. Nodes in `kept` stay float; with `only`, all others do.
    Returns how many convolutions and matrix products are quantized. Raises CompressionError where that is none: such a
    graph is a slower float one.

    Activations are unsigned, as x86 multiplies u8 by s8 (measured with AVX512-VNNI: signed ones ran at float speed).
    With 7 `bits` weights are at most 64, so that no two products leave 16 bits: the graph answers alike on processors
    that add in 16 and in 32 (`saturating`). With 8 it is finer where sums have room.
    """
    if len(inputs) == 0:
        raise CompressionError(f"{prepared}: expected calibration inputs, received none")
    model = onnx.load(prepared)
    with quiet():
        quantize_static(
            str(prepared),
            str(target),
            Calibration(model.graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_quantize=list(only),
            nodes_to_exclude=[*heads(model), *endings(model), *kept],
            per_channel=per_channel,
            reduce_range=bits == 7,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[method],
            calibration_cache_path=ranges,
            # Gemm keeps a float output of its own accord, so the logits stay at full resolution. The stride takes the
            # ranges chunk by chunk, for the histogram methods too, whatever its name says.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"], "CalibStridedMinMax": 1},
        )
    count = quantized_operators(onnx.load(target))
    if count == 0:
        found = sorted({node.op_type for node in model.graph.node})
        raise CompressionError(
            f"{prepared}: expected {', '.join(ARITHMETIC)} to quantize, found only {', '.join(found)}; "
            "serve the float graph"
        )
    return count
