"""A float graph → the same graph with 8-bit integer arithmetic inside (static QDQ), and what was really quantized.

Whether the result is any good, and worth serving, is measured and decided in `quantize`.
"""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from components.compress.errors import CompressionError
from components.compress.export import quiet
from components.compress.runtime import INPUT, Images

Method = Literal["minmax", "entropy", "percentile"]

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}

ARITHMETIC = ("Conv", "Gemm", "MatMul")

# What becomes integer. Additions, concatenations and resizings are among them so that a residual or a bridge does not
# go through float and back (measured: four conversions fewer in a small U-Net, 6 % faster). Softmax is not: its output
# would have 255 levels and sums off by 0.016. Nor is pre-processing, which is no operator of this list.
OPERATORS = (*ARITHMETIC, "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Concat", "Resize")

# What a tensor passes through on its way to the softmax without being computed with.
_SHAPING = ("Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")

_CHUNK = 32  # images whose intermediate tensors are held at once while ranges are taken: bounds memory, not the result


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime ships no types
    """Images (N, H, W, C) in chunks, in the runtime's own protocol."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._next, self._end = 0, len(self)

    def __len__(self) -> int:
        """Chunks, the last of them possibly shorter."""
        return math.ceil(len(self._images) / _CHUNK)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Images] | None:
        if self._next >= self._end:
            return None
        start = self._next * _CHUNK
        self._next += 1
        return {INPUT: self._images[start : start + _CHUNK]}


def to_int8(source: Path, target: Path, images: Images, method: Method = "minmax") -> int:
    """Write `target`: weights int8 per output channel, activations uint8 with ranges seen on `images` (N, H, W, C).

    Returns how many convolutions and matrix products are quantized. Raises CompressionError where that is none: such a
    graph is a slower float one.

    Activations are unsigned, as x86 multiplies u8 by s8 (measured with AVX512-VNNI: signed ones ran at float speed).
    The range is not reduced, as VNNI sums in 32 bits; an older processor may saturate, which `quantize` sees as a loss.
    """
    if len(images) == 0:
        raise CompressionError(f"{source}: expected calibration images, received none")
    with TemporaryDirectory() as folder, quiet():
        prepared = Path(folder) / "prepared.onnx"
        # Symbolic inference is for unknown spatial sizes; here only the batch is free.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Calibration(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(OPERATORS),
            nodes_to_exclude=heads(onnx.load(prepared)),
            per_channel=True,
            reduce_range=False,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=_METHODS[method],
            # Gemm keeps a float output of its own accord, so the logits stay at full resolution. The stride takes the
            # ranges chunk by chunk, for the histogram methods too, whatever its name says.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"], "CalibStridedMinMax": 1},
        )
    count = quantized_operators(target)
    if count == 0:
        found = sorted({node.op_type for node in onnx.load(source, load_external_data=False).graph.node})
        raise CompressionError(
            f"{source}: expected {', '.join(ARITHMETIC)} to quantize, found only {', '.join(found)}; "
            "serve the float graph"
        )
    return count


def quantized_operators(path: Path) -> int:
    """Convolutions and matrix products all of whose two factors come out of DequantizeLinear."""
    graph = onnx.load(path, load_external_data=False).graph
    dequantized = {output for node in graph.node if node.op_type == "DequantizeLinear" for output in node.output}
    return sum(node.op_type in ARITHMETIC and dequantized.issuperset(node.input[:2]) for node in graph.node)


def heads(model: onnx.ModelProto) -> list[str]:
    """Convolutions whose output goes into a softmax: a dense task's last layer, which stays float.

    An integer convolution has an integer output, and logits of 255 levels would spoil what the probabilities say.
    """
    producers = {output: node for node in model.graph.node for output in node.output}
    found = []
    for softmax in (node for node in model.graph.node if node.op_type in ("Softmax", "LogSoftmax")):
        node = producers.get(softmax.input[0])
        while node is not None and node.op_type in _SHAPING:
            node = producers.get(node.input[0])
        if node is not None and node.op_type == "Conv":
            found.append(node.name)
    return found
