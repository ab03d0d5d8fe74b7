"""The pipeline under way, as its steps and whoever runs them see it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from components.artifacts import Dataset
from components.config import Recipe
from components.registry.memory.tracking import Tracking
from flows.base.project import Project
from flows.processes.leases import Lease
from flows.processes.progress import Reporter

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


class NotDone(Exception):  # noqa: N818  (an answer, not a fault)
    """A step that is looked up has no result yet: what stands on it cannot be looked up either."""


class NotYet:
    """What stands for the result of a step that is not done: whoever asks it for anything hears NotDone."""

    def __init__(self, step: str) -> None:
        self._step = step

    def __getattr__(self, name: str) -> NoReturn:
        raise NotDone(self._step)

    def __len__(self) -> NoReturn:
        raise NotDone(self._step)

    def __iter__(self) -> NoReturn:
        raise NotDone(self._step)


@dataclass(frozen=True)
class Planned:
    """What becomes of one step of a run, as far as it can be told before."""

    step: str
    does: Literal["done", "runs", "follows", "skipped"]
    why: str = ""  # why it runs or is skipped
    run: str = ""  # MLflow's, where it is done
    seconds: float = 0.0  # that finding it done took
    dataset: Dataset | None = None  # where the step is to have it, and it is there


@dataclass
class Plan:
    """The steps of a run that is looked at instead of run, in their order."""

    steps: list[Planned] = field(default_factory=list)
    certain: bool = False  # whether what cannot be known without work counts as work

    def done(self, step: str, run: str = "", seconds: float = 0.0, dataset: Dataset | None = None) -> None:
        self.steps.append(Planned(step, "done", run=run, seconds=seconds, dataset=dataset))

    def runs(self, step: str, why: str) -> None:
        self.steps.append(Planned(step, "runs", why))

    def skipped(self, step: str, why: str) -> None:
        self.steps.append(Planned(step, "skipped", why))


@dataclass
class Line:
    """What the steps of one run of the pipeline share."""

    project: Project
    recipe: Recipe
    tracking: Tracking
    run_id: str  # the parent run
    lease: Lease
    reporter: Reporter
    custody: dict[str, str]  # where everything came from: recipe, commit, lock
    as_of: datetime | None = None  # a past moment: the pipeline works on the data of that time, and moves no alias
    fresh: frozenset[str] = frozenset()  # steps that are done anew, whether or not they are done
    plan: Plan | None = None  # where the pipeline is only looked at
    done: list[Done] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # wall time of each part, in order
    after: list[State[Any]] = field(default_factory=list)  # the task before: Prefect's graph shows them in their order
    begun: int = 0  # parts so far, those left out among them: a step has the same number in every run

    @property
    def restored(self) -> Path:
        """Where this line alone has the past version of its data; gone when it ends."""
        return self.project.work / f"data-{self.lease.id}"

    def ended(self, done: Done, seconds: float) -> None:
        """Note how a step ended, and tell the reporter."""
        self.seconds[done.step] = seconds
        self.done.append(done)
        self.reporter.finished(done.step, done.summary, cached=done.cached)

    @contextmanager
    def reporting(self, step: str, *, counted: bool = True) -> Iterator[Callable[[str], None]]:
        """Tell the reporter of a part of the line that is no `Step`; what is yielded takes its summary.

        A part that not every run has is not `counted`: the steps behind it keep their numbers.
        """
        told: list[str] = []
        began = time.monotonic()
        self.begun += counted
        self.reporter.started(step)
        try:
            yield told.append
        except BaseException as error:
            self.reporter.failed(step, str(error))
            raise
        self.seconds[step] = time.monotonic() - began
        self.reporter.finished(step, "; ".join(told), cached=False)

    def skip(self, step: str, reason: str) -> None:
        """Leave a step out, and say so in the run."""
        if self.plan is not None:
            self.plan.skipped(step, reason)
            return
        self.begun += 1
        self.tracking.log_tags(self.run_id, {f"convoy.skipped.{step}": reason})
        self.reporter.started(step)
        self.reporter.finished(step, f"skipped: {reason}", cached=False)


@dataclass(frozen=True)
class Done:
    """How one step ended."""

    step: str
    run_id: str
    cached: bool
    summary: str
    code: str  # digest of the code that did it
    because: str  # why it was done; empty where it was cached


_line: ContextVar[Line] = ContextVar("line")


def line() -> Line:
    """The pipeline that runs here; LookupError outside of one."""
    return _line.get()


@contextmanager
def running(value: Line) -> Iterator[Line]:
    """Make `value` the pipeline that the steps below belong to."""
    token = _line.set(value)
    try:
        yield value
    finally:
        _line.reset(token)
