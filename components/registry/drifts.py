"""Drift at a glance: of each model the last comparison of its data with what is in production, and those before it.

Reading only, in one request however many models there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components import texts
from components.registry import listing
from components.registry.lines import Line
from components.registry.memory.tracking import NOTE, Run, Tracking

STEP = "drift"
SHARE = "drifted_share"  # metric of the step: of all columns that drifted; none where there was nothing to compare with
EARLIER = 12  # comparisons before the last that are told


@dataclass(frozen=True)
class Drift:
    """What the last run of a model found its data to be, held against what production was trained on."""

    model: str
    dataset: str
    at: float  # seconds since 1970: when that run began
    experiment_id: str
    run: str  # of the step, in MLflow
    share: float | None  # of the columns that drifted; None where it is not known
    says: str  # the step's own words
    before: tuple[float, ...]  # shares of earlier runs, oldest first


def last(tracking: Tracking, lines: Sequence[Line]) -> list[Drift]:
    """Of each model that `lines` (newest first) have compared, by name."""
    by_model: dict[str, list[Line]] = {}
    for line in lines:
        if STEP in line.steps and len(by_model.setdefault(line.model, [])) <= EARLIER:
            by_model[line.model].append(line)
    wanted = [line for several in by_model.values() for line in several]
    places = [place for place in listing.places(tracking) if place.experiment in by_model]
    steps = listing.runs_by_id(tracking, places, [line.steps[STEP] for line in wanted])
    found = []
    for model, several in sorted(by_model.items()):
        known = [(line, steps[line.steps[STEP]]) for line in several if line.steps[STEP] in steps]
        if known:
            (line, run), *earlier = known
            found.append(_drift(model, line, run, [step for _, step in reversed(earlier)]))
    return found


def _drift(model: str, line: Line, run: Run, earlier: Sequence[Run]) -> Drift:
    before = tuple(step.metrics[SHARE] for step in earlier if SHARE in step.metrics)
    said = texts.unmarked(run.tags.get(NOTE, ""))
    dataset = line.origins.get("data set", "")
    return Drift(model, dataset, line.started, line.experiment_id, run.id, run.metrics.get(SHARE), said, before)
