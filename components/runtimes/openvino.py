"""OpenVINO: reads the same ONNX file as ONNX Runtime, its int8 operators included, or its own format."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.environment import openvino_tells_nobody
from components.runtimes.protocol import Answerer, Answers, Inputs, Runtime

SHAPES = 4  # sizes of batches that get a network of their own


def _load(path: Path, threads: int | None) -> Answerer:
    openvino_tells_nobody()
    import openvino

    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        # Where a processor has bfloat16, float layers would silently be computed in it.
        "INFERENCE_PRECISION_HINT": "f32",
        **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
    }
    requests: dict[int | None, openvino.InferRequest] = {}

    def request(batch: int) -> openvino.InferRequest:
        """A network compiled for batches of this size is faster (measured: 5 to 40 %); any other takes one for all."""
        if batch in requests:
            return requests[batch]
        key = batch if sum(size is not None for size in requests) < SHAPES else None
        if key not in requests:
            model = core.read_model(path)
            if key is not None:
                model.reshape([key, *list(model.input(0).partial_shape)[1:]])
            requests[key] = core.compile_model(model, "CPU", settings).create_infer_request()
        return requests[key]

    request(1)  # so that a file that is none is an error now

    def answer(inputs: Inputs) -> Answers:
        # Inputs are read where they lie; outputs are copied, for the next call writes over them.
        values = request(len(inputs)).infer({0: np.ascontiguousarray(inputs)}, share_inputs=True)
        return {output.get_any_name(): value for output, value in values.items()}

    return answer


def convert(source: Path, target: Path) -> None:
    """An ONNX file in OpenVINO's own format: `target` (.xml) and its weights beside it (.bin), not shortened to fp16.

    Not by OpenVINO's converter, which would report its use.
    """
    openvino_tells_nobody()
    import openvino

    openvino.save_model(openvino.Core().read_model(source), target, compress_to_fp16=False)


RUNTIME = Runtime(name="openvino", package="openvino", reads=(".onnx", ".xml"), extra="openvino", load=_load)
