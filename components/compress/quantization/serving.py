"""Which engine answers where the artifact is served: ONNX Runtime, or OpenVINO where that is measurably faster here.

Both execute the same file. For small networks ONNX Runtime has the shorter way into the graph and OpenVINO the faster
kernels, so the one may win for one input and the other for a batch: then each does what it is faster at.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field

from components.artifacts import Card, ModelCard
from components.compress.quantization.measuring import difference
from components.runtimes import onnxruntime, openvino
from components.runtimes.execution import Inputs, compare_calls
from components.tasks.protocol import Task

Engine = Literal["onnxruntime", "openvino"]

FASTER = 1.05  # as for int8 against float32: graphs timed against themselves differed by up to 4 %
AGREEMENT = 0.995  # share of equal predictions below which two engines do not execute the same network
COMPARED = 1_000  # validation inputs at most on which they are compared
FEW = 8  # inputs at a time, between one and a batch


class RuntimeChoice(Card):
    """Who answers, and why."""

    runtime: Engine
    batch_runtime: Engine | None = None
    batch_from: int = 1
    reason: str
    speedups: dict[str, float] = Field(default={})  # inputs at a time → how many times as fast OpenVINO is
    agreement: float | None = None  # share of equal predictions of the two
    largest: float | None = None  # difference of a probability

    def told(self, card: ModelCard) -> ModelCard:
        """The card with the choice in it."""
        names = {"runtime", "batch_runtime", "batch_from"}
        return card.model_copy(update=self.model_dump(include=names))


def choose_runtime(task: Task, graph: Path, inputs: Inputs, *, batch: int, threads: int) -> RuntimeChoice:
    """Time both engines on `graph` at one input, a few and `batch`, and compare their answers for `inputs`."""
    missing = openvino.RUNTIME.missing
    if missing:
        return RuntimeChoice(runtime="onnxruntime", reason="onnxruntime: openvino is not installed")
    engines = {
        "onnxruntime": onnxruntime.RUNTIME.open(graph, threads),
        "openvino": openvino.RUNTIME.open(graph, threads),
    }
    shown = inputs[:COMPARED]
    gap = difference(task, engines["onnxruntime"], engines["openvino"], shown)
    sizes = sorted({1, min(FEW, batch), batch})
    speedups: dict[int, float] = {}
    for size in sizes:
        tried = shown[:size] if len(shown) >= size else shown.repeat(-(-size // len(shown)), axis=0)[:size]
        calls = {name: functools.partial(answer, tried) for name, answer in engines.items()}
        speedups[size] = compare_calls(calls, size, threads, rounds=15).speedup("openvino", over="onnxruntime")
    choice = decide(speedups, gap.agreement)
    return choice.model_copy(update={"agreement": gap.agreement, "largest": gap.largest})


def decide(speedups: dict[int, float], agreement: float) -> RuntimeChoice:
    """The choice by `speedups`, OpenVINO's over ONNX Runtime's by inputs at a time, and by how far the two agree."""
    said = ", ".join(f"{speedup:.2f}× at {size}" for size, speedup in sorted(speedups.items()))
    measured = {str(size): speedup for size, speedup in sorted(speedups.items())}
    if agreement < AGREEMENT:
        why = f"onnxruntime: openvino answers {1 - agreement:.2%} of the inputs otherwise"
        return RuntimeChoice(runtime="onnxruntime", reason=why, speedups=measured)
    faster: list[int] = []
    for size in sorted(speedups, reverse=True):
        if speedups[size] < FASTER:
            break
        faster.append(size)
    if not faster:
        why = f"onnxruntime: openvino is not measurably faster ({said})"
        return RuntimeChoice(runtime="onnxruntime", reason=why, speedups=measured)
    start = min(faster)
    if start == min(speedups):
        return RuntimeChoice(runtime="openvino", reason=f"openvino: {said} of onnxruntime's speed", speedups=measured)
    why = f"openvino from {start} inputs at a time on, onnxruntime below: {said} of onnxruntime's speed"
    return RuntimeChoice(
        runtime="onnxruntime", batch_runtime="openvino", batch_from=start, reason=why, speedups=measured
    )
