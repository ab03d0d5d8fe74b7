"""ONNX Runtime: opens sessions. Timing and counting what they do is `components.runtimes.execution`'s business."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.runtimes.protocol import Answerer, Answers, Inputs, Runtime

if TYPE_CHECKING:
    import onnxruntime


def open_session(
    source: Path | bytes, threads: int | None = None, *, optimized: Path | None = None, precise: bool = False
) -> onnxruntime.InferenceSession:
    """A CPU session for an ONNX file or its bytes. `threads=None` takes a thread a physical core.

    Idle threads sleep rather than spin: replicas on one machine would otherwise take each other's cores.
    `optimized` is where the graph as it is executed is written to, for those who count its kernels. `precise` keeps
    int8 sums from saturating on x86 without VNNI, more slowly; elsewhere it changes nothing.
    """
    import onnxruntime

    _silence()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    given = source if isinstance(source, bytes) else str(source)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def session_answerer(session: onnxruntime.InferenceSession) -> Answerer:
    """An open session as something that answers for a batch."""
    names = [output.name for output in session.get_outputs()]
    (given,) = session.get_inputs()

    def answer(inputs: Inputs) -> Answers:
        return dict(zip(names, session.run(names, {given.name: np.ascontiguousarray(inputs)}), strict=True))

    return answer


def _load(path: Path, threads: int | None) -> Answerer:
    return session_answerer(open_session(path, threads))


@functools.cache
def _silence() -> None:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(3)


RUNTIME = Runtime(name="onnxruntime", package="onnxruntime", reads=(".onnx",), extra=None, load=_load)
