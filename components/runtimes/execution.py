"""An artifact at work: opened, asked for answers, and timed. The engines themselves are in `runtimes`.

What the answers mean is the task's business, and what is done about a slow or wrong graph is `quantize`'s.
"""

from __future__ import annotations

import functools
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from components.artifacts import ArtifactError, Card, Model
from components.runtimes import onnxruntime as engine
from components.runtimes import openvino
from components.runtimes.protocol import EMBEDDING, Answerer, Answers, Inputs, Runtime

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["EMBEDDING", "Answerer", "Answers", "Inputs"]  # where the other packages find them

# Shortest stretch that is timed, seconds: far above the clock's resolution and a scheduler's tick.
_STRETCH = 0.01


class LatencyFigures(Card):
    """How long one call with `batch` inputs takes: the median and the quartiles over `rounds`, milliseconds."""

    batch: int
    threads: int
    rounds: int
    median_ms: float
    low_ms: float
    high_ms: float

    @property
    def images_per_second(self) -> float:
        return self.batch / self.median_ms * 1000.0


def open_session(
    model: Model | Path, threads: int | None = None, *, optimized: Path | None = None
) -> onnxruntime.InferenceSession:
    """ONNX Runtime's session for `model.onnx`, or for the file itself, as `runtimes.onnxruntime` opens them.

    Raises ArtifactError where there is no such file.
    """
    return engine.open_session(_graph(model), threads, optimized=optimized)


def serving_runtimes(model: Model) -> tuple[Runtime, Runtime]:
    """The engines that the model's card names, for a few inputs at a time and from `batch_from` on.

    ONNX Runtime, and a warning, where OpenVINO is not installed.
    """
    card = model.card
    names = card.runtime, card.batch_runtime or card.runtime
    if "openvino" in names and openvino.RUNTIME.missing:
        warnings.warn(f"{card.name}: {openvino.RUNTIME.missing}; onnxruntime answers in its place", stacklevel=2)
        return engine.RUNTIME, engine.RUNTIME
    known = {"onnxruntime": engine.RUNTIME, "openvino": openvino.RUNTIME}
    return known[names[0]], known[names[1]]


def open_model(model: Model, threads: int | None = None) -> Answerer:
    """The model's graph, opened by what serves it. Raises ArtifactError where it has none."""
    few, many = serving_runtimes(model)
    graph = _graph(model)
    answer = few.open(graph, threads)
    if few is many:
        return answer
    batched = many.open(graph, threads)
    return lambda inputs: (batched if len(inputs) >= model.card.batch_from else answer)(inputs)


def stream(session: onnxruntime.InferenceSession, inputs: Inputs, batch: int = 64) -> Iterator[Answers]:
    """The answers batch by batch, for outputs too large to be held together."""
    answer = engine.session_answerer(session)
    for start in range(0, len(inputs), batch):
        yield answer(inputs[start : start + batch])


def answers(model: Model | onnxruntime.InferenceSession, inputs: Inputs, batch: int = 64) -> Answers:
    """All that the graph gives for N inputs as arrays: the task's outputs and `embedding` (N, D).

    Raises ValueError where there are no inputs: the shapes of no answers would be a guess.
    """
    if len(inputs) == 0:
        raise ValueError("inputs: expected at least one, received none")
    answer = open_model(model) if isinstance(model, Model) else engine.session_answerer(model)
    parts = [answer(inputs[start : start + batch]) for start in range(0, len(inputs), batch)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def embedding(model: Model) -> Callable[[Inputs], npt.NDArray[np.float32]]:
    """What the model's head sees: a function of N inputs as arrays → `(N, D)`."""
    answer = open_model(model)

    def embed(inputs: Inputs) -> npt.NDArray[np.float32]:
        parts = [answer(inputs[start : start + 64])[EMBEDDING] for start in range(0, len(inputs), 64)]
        return np.concatenate(parts)

    return embed


def latency(
    model: Model | onnxruntime.InferenceSession, batch: int = 1, threads: int = 1, *, rounds: int = 15
) -> LatencyFigures:
    """How long the model takes for `batch` inputs. An open session has its own threads: say in `threads` how many."""
    session = open_session(model, threads) if isinstance(model, Model) else model
    return compare_latency({"model": session}, batch, threads, rounds=rounds).figures("model")


@dataclass(frozen=True)
class Timings:
    """Seconds a call of each session in each round, in which all of them were timed one after the other."""

    batch: int
    threads: int
    seconds: Mapping[str, Sequence[float]]

    def figures(self, name: str) -> LatencyFigures:
        values = self.seconds[name]
        low, median, high = (float(value) * 1000.0 for value in np.quantile(values, (0.25, 0.5, 0.75)))
        return LatencyFigures(
            batch=self.batch, threads=self.threads, rounds=len(values), median_ms=median, low_ms=low, high_ms=high
        )

    def speedup(self, name: str, over: str) -> float:
        """How many times as fast `name` is: the median of the rounds' ratios, so that what slows a round slows both."""
        return float(np.median(np.asarray(self.seconds[over]) / np.asarray(self.seconds[name])))


def compare_latency(
    sessions: Mapping[str, onnxruntime.InferenceSession], batch: int, threads: int, *, rounds: int = 15
) -> Timings:
    """Time several sessions on the same inputs in alternating rounds, so that a busy moment hits all of them.

    A round is at least 10 ms of calls of each session after a warm-up; the median over the rounds shrugs off the
    rounds in which something else had the core. `threads` is what the sessions were opened with.
    """
    calls = {}
    for name, session in sessions.items():
        (given,) = session.get_inputs()
        feed = {given.name: shape_of(session).noise(batch)}
        calls[name] = functools.partial(session.run, None, feed)
    return compare_calls(calls, batch, threads, rounds=rounds)


def compare_calls(
    calls: Mapping[str, functools.partial[Any]],
    batch: int,
    threads: int,
    *,
    rounds: int,
    longest: float = math.inf,
) -> Timings:
    """Time calls that each answer for `batch` inputs on `threads` threads, whatever executes them, in such rounds.

    After `longest` seconds there are no more rounds, once there were three.
    """
    began = time.perf_counter()
    repeats = {name: _repeats(call) for name, call in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        if number >= 3 and time.perf_counter() - began > longest:
            break
        # Every other round goes the other way about: none is always the one that finds the caches cold.
        for name in list(calls) if number % 2 == 0 else list(reversed(list(calls))):
            seconds[name].append(_timed(calls[name], repeats[name]) / repeats[name])
    return Timings(batch, threads, seconds)


def executed_kernels(path: Path) -> dict[str, int]:
    """Operator → count in the graph as ONNX Runtime executes it, after its fusions for this machine."""
    import onnx

    with TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        open_session(path, 1, optimized=optimized)
        graph = onnx.load(optimized).graph
    return dict(sorted(Counter(node.op_type for node in graph.node).items()))


@dataclass(frozen=True)
class Shape:
    """What one input of a graph is, as far as timing it needs to know."""

    size: tuple[int, ...]  # of one sample's array
    type: str  # of its values, as NumPy calls it

    def noise(self, count: int) -> Inputs:
        """Seeded random inputs, `(count, *size)`: what they show does not matter where they are timed."""
        below = 256 if self.type == "uint8" else 2  # of numbers of units, whatever the vocabulary
        return np.random.default_rng(0).integers(0, below, (count, *self.size), dtype=np.dtype(self.type))


def shape_of(session: onnxruntime.InferenceSession) -> Shape:
    """Of a graph's one input."""
    (given,) = session.get_inputs()
    return Shape(tuple(given.shape[1:]), given.type.removeprefix("tensor(").removesuffix(")"))


def _graph(model: Model | Path) -> Path:
    path = model.onnx if isinstance(model, Model) else model
    if not path.is_file():
        raise ArtifactError(f"{path}: expected an ONNX file, found none; write one with components.export.export")
    return path


def _timed(call: functools.partial[Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start


def _repeats(call: functools.partial[Any]) -> int:
    """Calls that fill a stretch. The first call allocates and is not counted."""
    call()
    once = min(_timed(call, 1), _timed(call, 1))
    return max(1, round(_STRETCH / max(once, 1e-6)))
