"""What a run would do, told before anything starts: the flow's own steps, looked up instead of run.

A step that is done hands on its result, and the next one is looked up with it; behind the first that is not, nothing
can be known but that it stands on that one. Nothing is written and nothing is trained.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from components.artifacts import Dataset, Decision
from components.config import LineConfig, Recipe
from components.data import versions
from components.registry.memory import tracking as memory
from components.registry.memory.store import local_uri
from flows import steps
from flows.base.project import Project
from flows.course import through
from flows.processes.leases import Lease
from flows.processes.progress import Silent
from flows.run import order
from flows.run.check import complete
from flows.run.context import Line, NotDone, Plan, Planned, running

NEVER = "it was not done before"


def plan(project: Project, recipe: str, overrides: Sequence[str], fresh: Sequence[str] = ()) -> list[Planned]:
    """Every step of the run, in its order. Raises ConfigurationError, and what reading the store or data raises."""
    settings = complete(project, recipe, list(overrides))
    again, seen = order.named(fresh), Plan()
    tracking = remembered(project, settings.line.model)
    if tracking is None:
        why = versions.pending(project.root, settings.line.dataset)
        seen.runs(order.DATA, "; ".join(why)) if why else seen.done(order.DATA)
        return [*seen.steps, *_behind(seen, settings.line, "runs", NEVER)]
    try:
        look(project, settings, tracking, seen, again)
    except NotDone as first:
        return [*seen.steps, *_behind(seen, settings.line, "follows", f"stands on {first}")]
    return seen.steps


def look(
    project: Project, settings: Recipe, tracking: memory.Tracking, seen: Plan, again: frozenset[str] = frozenset()
) -> tuple[Dataset, steps.Assessment, Decision]:
    """What the pipeline hands on where its steps are done, each of them noted in `seen`; those of `again` are not done.

    Raises NotDone for the first step that another stands on, and what reading the store or data raises.
    """
    nobody = Lease(project.leases / "plan.json")  # which is never written
    with running(Line(project, settings, tracking, "", nobody, Silent(), {}, fresh=again, plan=seen)):
        return through(settings.line)


def _behind(seen: Plan, settings: LineConfig, does: Literal["runs", "follows"], why: str) -> list[Planned]:
    """The steps that could not be looked up."""
    without = {"distil": settings.student is None, "prune": settings.prune is None}
    last = max((order.NAMES.index(each.step) for each in seen.steps if each.step in order.NAMES), default=-1)
    return [
        Planned(name, "skipped", "the recipe leaves it out") if without.get(name) else Planned(name, does, why)
        for name in order.NAMES[last + 1 :]
    ]


def remembered(project: Project, model: str) -> memory.Tracking | None:
    """Where the model's steps are remembered; None where it has no run: looking makes no experiment."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or local_uri(project.root)
    if uri == local_uri(project.root) and not (project.state / "mlflow.db").is_file():
        return None
    store = memory.connect(project.root)
    return store.within(model) if model in store.experiments() else None
