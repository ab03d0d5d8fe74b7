"""What an int8 graph answers where its sums saturate: whoever judges one takes the worse of that and what it does here.

Float graphs, and int8 ones none of whose sums can saturate, answer in one way, and cost nobody a second look.
"""

from __future__ import annotations

import math
from pathlib import Path

import onnx

from components.artifacts import Predictions
from components.compress.quantization.rewriting.saturating import saturating
from components.runtimes import onnxruntime as engine
from components.runtimes.onnxruntime import session_answerer
from components.runtimes.protocol import Answerer
from components.tasks.asking import primary
from components.tasks.protocol import Task


def saturating_answerer(graph: Path, threads: int | None = None) -> Answerer | None:
    """The graph as x86 without VNNI answers it, on whatever this is; None where that is no other answer."""
    model, pairs = saturating(onnx.load(graph))
    if not pairs:
        return None
    # Without VNNI here, the runtime would saturate a second time.
    return session_answerer(engine.open_session(model.SerializeToString(), threads, precise=True))


def worse(task: Task, one: Predictions, other: Predictions) -> bool:
    """Whether `other` is worse than `one` by the task's primary metric; what has no figure is worst."""
    before, after = primary(task, one), primary(task, other)
    if math.isnan(before) or math.isnan(after):
        return math.isnan(after) and not math.isnan(before)
    return task.spec.primary.beats(before, after)
