"""What differs between two runs: origin, parameters, steps and figures. Reading only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from components import machine
from components.registry.lines import Line
from components.registry.memory.store import MissingError
from components.registry.memory.tracking import PROCESSOR, Run, Tracking

TIMED = ("latency_ms", "throughput_64")  # figures that are of the kind of processor they were taken on

Values = tuple[float, float | None, float | None]  # a figure with its interval, where it was measured with one


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in two lines; None where one of them has none."""

    what: str
    one: str | None
    other: str | None


@dataclass(frozen=True)
class Compared:
    """Two figures; `comparable` is False for times of two kinds of processor, whose difference says nothing."""

    what: str
    one: Values
    other: Values
    comparable: bool = True


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs, and nothing else."""

    one: Line
    other: Line
    origins: list[Difference]
    params: list[Difference]
    steps: list[Difference]  # done by different runs
    figures: list[Compared]
    processors: tuple[str | None, str | None]  # that each was timed on, in words; None where nobody noted it
    problems: list[str] = field(default_factory=list)  # why figures of one of them are not known


def compare(tracking: Tracking, one: Line, other: Line) -> Comparison:
    """What is not the same: origin, parameters, the runs that did the steps, figures of what is served."""
    figures: list[dict[str, Values]] = []
    timed_on: list[str | None] = []
    problems = []
    for line in (one, other):
        try:
            run = tracking.get(line.steps["evaluate"]) if "evaluate" in line.steps else None
        except MissingError as error:
            run = None
            problems.append(f"{line.id[:8]}: the run of its step evaluate cannot be read: {error}")
        figures.append(figures_of(run) if run else {})
        timed_on.append(run.tags.get(PROCESSOR) if run else None)
    alike = machine.without_cores(timed_on[0] or "") == machine.without_cores(timed_on[1] or "")
    return Comparison(
        one,
        other,
        origins=_differences(one.origins, other.origins),
        params=_differences(one.params, other.params),
        steps=_differences(one.steps, other.steps),
        figures=[
            Compared(name, value, figures[1][name], comparable=alike or name.rpartition(".")[2] not in TIMED)
            for name, value in figures[0].items()
            if name in figures[1] and value != figures[1][name]
        ],
        processors=(timed_on[0], timed_on[1]),
        problems=problems,
    )


def figures_of(evaluated: Run) -> dict[str, Values]:
    """Name → value and interval of everything measured on what would be served; groups' figures are left out."""
    metrics = evaluated.metrics
    whole = [name for name in metrics if re.fullmatch(r"[^.]+\.[^.]+", name)]
    return {name: (metrics[name], metrics.get(f"{name}.low"), metrics.get(f"{name}.high")) for name in sorted(whole)}


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[Difference]:
    keys = dict.fromkeys([*one, *other])
    return [Difference(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)]
