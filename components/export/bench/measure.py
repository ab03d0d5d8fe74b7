"""One network in several engines, timed call by call in alternating rounds, so that a busy moment hits all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import Field

from components.artifacts import Card
from components.export.bench.energy import Basis, Meter
from components.export.bench.fresh import Start, start
from components.runtimes import registry
from components.runtimes.execution import Shape
from components.runtimes.protocol import Answerer

STRETCH = 0.05  # seconds of calls that a round gives each engine at least: some hundred of a small network's
WARM_UP = 3  # calls that are not counted: the first allocates, and some engines compile for its batch


class Pace(Card):
    """How an engine answers for one size of batch with one number of threads."""

    runtime: str
    threads: int
    batch: int
    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    images_per_second: float
    millijoules: float | None = None  # per input


class Bench(Card):
    """Everything that was measured about one artifact on one machine."""

    artifact: str  # digest of what was measured
    machine: str
    rounds: int
    files: dict[str, str]  # runtime → the file that it executed
    versions: dict[str, str]  # runtime → its own
    pace: tuple[Pace, ...]
    starts: dict[str, Start]  # runtime → its start, with one thread
    energy: Basis | None = None  # how the millijoules are known; None: they are not
    left_out: dict[str, str] = Field(default={})  # runtime → why it was not measured


@dataclass
class _Calls:
    """What one engine did so far."""

    seconds: list[float] = field(default_factory=list)
    joules: float = 0.0


def measure(
    files: Mapping[str, Path],
    shape: Shape,
    *,
    artifact: str,
    machine: str,
    threads: Sequence[int] = (1,),
    batches: Sequence[int] = (1, 8, 64),
    rounds: int = 15,
    meter: Meter | None = None,
    cold: bool = True,
    on_step: Callable[[str], None] = lambda _: None,
) -> Bench:
    """Let every engine of `files` (runtime → file) answer for random inputs of `shape`, the same ones in turn.

    An engine that answers for one input at a time is timed at a batch as its caller would call it, in a loop.
    """
    pace: list[Pace] = []
    for count in threads:
        opened = {name: registry.get(name).open(path, count) for name, path in files.items()}
        for batch in batches:
            on_step(f"{batch} at a time, {count} thread{'s' if count > 1 else ''}")
            pace += _pace(opened, shape.noise(batch), count, rounds, meter)
    starts = {}
    if cold:
        for name, path in files.items():
            on_step(f"cold start of {name}")
            starts[name] = start(name, path, 1, shape, max(batches))
    return Bench(
        artifact=artifact,
        machine=machine,
        rounds=rounds,
        files={name: path.name for name, path in files.items()},
        versions={name: registry.get(name).version for name in files},
        pace=tuple(pace),
        starts=starts,
        energy=meter.basis if meter else None,
    )


def _pace(
    opened: Mapping[str, Answerer], inputs: np.ndarray, threads: int, rounds: int, meter: Meter | None
) -> list[Pace]:
    calls = {name: _Calls() for name in opened}
    for answer in opened.values():
        for _ in range(WARM_UP):
            answer(inputs)
    for number in range(rounds):
        # Every other round goes the other way about: none is always the one that finds the caches cold.
        for name in list(opened) if number % 2 == 0 else list(reversed(list(opened))):
            _round(opened[name], inputs, calls[name], meter)
    return [
        _figures(name, threads, len(inputs), done, metered=meter is not None) for name, done in calls.items()
    ]  # fmt: skip


def _round(answer: Answerer, inputs: np.ndarray, done: _Calls, meter: Meter | None) -> None:
    before = meter.read() if meter else ()
    now = time.perf_counter()
    end = now + STRETCH
    while now < end:
        began = now
        answer(inputs)
        now = time.perf_counter()
        done.seconds.append(now - began)
    if meter:
        done.joules += meter.since(before)


def _figures(name: str, threads: int, batch: int, done: _Calls, *, metered: bool) -> Pace:
    p50, p90, p99 = (float(value) * 1000.0 for value in np.quantile(done.seconds, (0.5, 0.9, 0.99)))
    inputs = batch * len(done.seconds)
    return Pace(
        runtime=name,
        threads=threads,
        batch=batch,
        calls=len(done.seconds),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        images_per_second=inputs / sum(done.seconds),
        millijoules=done.joules / inputs * 1000.0 if metered else None,
    )
