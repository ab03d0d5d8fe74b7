"""A run that has nothing to do: looked through as a plan is, and put on record without anybody to orchestrate it.

Prefect, Ray and PyTorch are for work. Where a line of these settings and libraries has come to its end, all that it did
is still done, and nobody has left anything to be tidied up, there is none: the run is opened, and concluded.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from components import provenance
from components.artifacts import Dataset, Decision
from components.config import Recipe, load
from components.files import digest_values
from components.registry.memory import tracking as memory
from components.secrecy import scrub
from flows import steps
from flows.base.project import Project
from flows.course import Outcome, concluded
from flows.plan import look, remembered
from flows.processes import leases
from flows.processes.progress import Reporter
from flows.run import comparison, opening
from flows.run.context import Done, Line, NotDone, Plan, Planned
from flows.run.step import told_by
from flows.schedules import notifications


@dataclass(frozen=True)
class Found:
    """A line whose every step is done."""

    settings: Recipe
    seen: list[Planned]
    done: dict[str, Done]  # by step; data, and what the recipe leaves out, have no run
    handed_on: tuple[Dataset, steps.Assessment, Decision]

    def note(self, run: Line, planned: Planned) -> None:
        """Tell of a step, and keep it on the run, as the pipeline does that asks it to be done."""
        if planned.does == "skipped":
            run.skip(planned.step, planned.why)
        elif (there := planned.dataset) is not None:
            steps.noted(run, planned.step, lambda: there)
            run.seconds[planned.step] = planned.seconds
        else:
            run.reporter.started(planned.step)
            run.ended(self.done[planned.step], planned.seconds)


def found(project: Project, recipe: str, overrides: Sequence[str]) -> Found | None:
    """The pipeline, where all of it is done; None where something is to be done, or cannot be seen to be done."""
    try:
        settings = load(project.root, None if recipe == "default" else recipe, overrides)
        return _found(project, settings) if leases.tidy(project) else None
    except Exception:  # whatever it is: a run through Prefect meets it too, and tells it where it belongs
        print(scrub(traceback.format_exc()), file=sys.stderr)  # noqa: T201 — the log
        return None


def recorded(project: Project, recipe: str, line: Found, reporter: Reporter) -> Outcome:
    """What the run came to, on record as of one that Prefect has run; raises what keeping the record raises."""
    try:
        with opening.opened(project, line.settings, recipe, "pipeline", reporter, None) as run:
            for each in line.seen:
                line.note(run, each)
            return concluded(run, *line.handed_on)
    except BaseException as error:
        how = "failed" if isinstance(error, Exception) else "was interrupted"
        notifications.tell(project, "failure", f"pipeline · {recipe} {how}", str(error) or how)
        raise


class _Complete(Plan):
    """A plan with nothing to do: raises NotDone at the first step that is not done."""

    def runs(self, step: str, why: str) -> None:
        raise NotDone(step)


def _found(project: Project, settings: Recipe) -> Found | None:
    """The pipeline, where a finished one had these settings, libraries, data and code, and each of its steps is done.

    So whether the settings are complete (`flows.run.check`) is known: that line has looked.
    """
    tracking = remembered(project, settings.line.model)
    if tracking is None:
        return None
    known = {"parameters": settings.digest(), "libraries": digest_values(provenance.libraries(project.root))}
    now = {comparison.PARTS[part]: digest for part, digest in known.items()}
    finished = tracking.search(now, status="FINISHED")
    if not finished:
        return None
    plan = _Complete(certain=True)
    try:
        handed_on = look(project, settings, tracking, plan)
    except NotDone:
        return None
    done = {each.step: told_by(tracking, each.step, each.run, cached=True) for each in plan.steps if each.run}
    now |= {memory.DATA: handed_on[0].digest, comparison.CODE: comparison.code(list(done.values()))}
    if not any(now.items() <= run.tags.items() for run in finished):
        return None
    return Found(settings, plan.steps, done, handed_on)
