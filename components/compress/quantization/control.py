"""Accuracy control: the layers that int8 costs accuracy in, put back into float32 until what is left is affordable.

Layers are ranked by the error of the answers where one of them alone is int8, on calibration inputs and without
labels; the ranking is then walked down with the metric itself. (NNCF's `quantize_with_accuracy_control` and Wu et al.
2020, section 5.2, go about it in the same way.)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from components.compress.quantization.measuring import signal_to_noise
from components.compress.quantization.rewriting.graphs import heads, layers
from components.compress.quantization.rewriting.static import OPERATORS, Bits, Method, to_int8
from components.runtimes.execution import Inputs, open_session
from components.runtimes.onnxruntime import session_answerer
from components.runtimes.protocol import Answerer
from components.tasks.protocol import Task


@dataclass(frozen=True)
class Search:
    """What was found: the layers that stay float, or None where too few came out of it."""

    kept: tuple[str, ...] | None
    tried: int  # graphs that were measured
    note: str


def sensitivity(
    task: Task,
    prepared: Path,
    inputs: Inputs,
    method: Method,
    ranges: Path,
    exact: Answerer,
    threads: int,
    bits: Bits = 7,
) -> dict[str, float]:
    """Layer → signal-to-noise ratio of the answers where it alone is int8, decibels; the worst first.

    A layer goes by its convolution or matrix product, and has with it what follows up to the next ones.
    """
    model = onnx.load(prepared)
    floating = set(heads(model))
    found = {}
    for name, nodes in layers(model, OPERATORS).items():
        if name in floating:
            continue
        trial = prepared.with_name("alone.onnx")
        to_int8(prepared, trial, inputs, method, ranges=ranges, only=nodes, bits=bits)
        found[name] = signal_to_noise(task, exact, session_answerer(open_session(trial, threads)), inputs)
        trial.unlink()
    return dict(sorted(found.items(), key=lambda item: item[1]))


def search(
    ranked: Sequence[str],
    loss_with: Callable[[Sequence[str]], float],
    allowance: float,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """The fewest of the `ranked` layers, worst first, with which the loss keeps to the allowance.

    Twice as many each time until it does, then halving what is between. `loss_with(layers)` makes and measures the
    graph in which those stay float. When the time is over, the best of what was seen counts. At least one layer is
    left in int8: a graph without any is the float one.
    """
    began, tried = clock(), 0
    failed, enough = 0, 0
    most = len(ranked) - 1
    count = 1
    while count <= most and not enough and clock() - began < seconds:
        tried += 1
        if loss_with(ranked[:count]) <= allowance:
            enough = count
        else:
            failed = count
            count = min(2 * count, most) if count < most else most + 1
    while enough and enough - failed > 1 and clock() - began < seconds:
        middle = (failed + enough) // 2
        tried += 1
        if loss_with(ranked[:middle]) <= allowance:
            enough = middle
        else:
            failed = middle
    over = clock() - began >= seconds
    if enough:
        note = f"the time was over ({seconds:g} s): fewer than {enough} may do" if over and enough - failed > 1 else ""
        return Search(tuple(ranked[:enough]), tried, note)
    what = f"the time was over ({seconds:g} s)" if over else "not even with one layer left in int8 is the loss allowed"
    return Search(None, tried, f"no layers found to keep in float32: {what}")


def floating_nodes(prepared: onnx.ModelProto, kept: Sequence[str]) -> tuple[str, ...]:
    """The nodes of those layers."""
    parts: Mapping[str, tuple[str, ...]] = layers(prepared, OPERATORS)
    return tuple(dict.fromkeys(node for name in kept for node in parts[name]))
