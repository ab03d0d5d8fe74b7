"""The process that does a command's work, with its engines; `supervision` starts it, shows what it tells, and ends it.

Called as `python -m flows.worker PIPE ORDER`: the descriptor that records go to, and JSON that says what to do. What
the engines print goes to the log, which is this process's standard output.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.text import Text

from components.parsed import remembering
from components.secrecy import scrub
from flows.base.project import Project, enter, find
from flows.base.screen import Screen
from flows.commands import terminal
from flows.processes import family, journal, leases

if TYPE_CHECKING:
    from components.config import Recipe
    from flows.course import Outcome

LAST_SECONDS = family.CLOSING_SECONDS - 0.5  # after so long this process ends itself, before the reaper does


@dataclass(frozen=True)
class Task:
    """What is to be done, and for whom."""

    project: Project
    arguments: Mapping[str, Any]
    console: Console  # what is printed to it is seen in the terminal
    errors: Console  # the same, on the standard error
    reporter: journal.Writer
    own_server: bool  # whether Prefect is a temporary server, which is started when it is asked for

    @property
    def recipe(self) -> tuple[str, list[str]]:
        """Its name, and what is overridden of it."""
        return self.arguments["recipe"], list(self.arguments["overrides"])

    def check(self) -> None:
        """End with every mistake of the configuration; advice is given and ends nothing."""
        from flows.run.check import complete

        with terminal.wrong_is_told(self.project, self.errors):
            self.advise(complete(self.project, *self.recipe))

    def advise(self, settings: Recipe) -> None:
        """Say what is allowed and seldom meant."""
        from flows.run.check import advice

        for text in advice(settings):
            self.errors.print(Text.assemble(("!", "yellow"), f" {text}"), soft_wrap=True)


def line(task: Task) -> int:
    """A run of the pipeline."""
    from flows.commands.summary import table, where_to_look

    outcome = _unchanged(task) or _orchestrated(task)
    task.console.print(table(outcome, task.console.width))
    # Not broken into lines: it is copied.
    said = where_to_look(outcome, time.time() - task.arguments["began"])
    task.console.print(said, highlight=False, soft_wrap=True)
    return terminal.FOUND if outcome.decision.action == "fail" else 0


def _unchanged(task: Task) -> Outcome | None:
    """What the run came to, where it has nothing to do."""
    if not task.own_server or task.arguments["fresh"]:
        return None  # a server that stays is to know of every run
    task.reporter.started("looking at what is done")
    from flows import idle

    found = idle.found(task.project, *task.recipe)
    if found is None:
        return None
    task.advise(found.settings)
    return idle.recorded(task.project, task.recipe[0], found, task.reporter)


def _orchestrated(task: Task) -> Outcome:
    """What the run came to, as a flow of Prefect's."""
    task.check()
    wait_for_prefect(task)
    from flows import line as flow

    flow.reporting_to(task.reporter)
    return flow.line(*task.recipe, fresh=task.arguments["fresh"])


def backfill(task: Task) -> int:
    """The pipeline for past days."""
    task.check()
    wait_for_prefect(task)
    from flows import backfill as flow
    from flows import line
    from flows.commands.schedule_commands import days_table

    line.reporting_to(task.reporter)
    since, until, timezone = (task.arguments[key] for key in ("since", "until", "timezone"))
    days = flow.backfill(since, until, timezone, *task.recipe)
    task.console.print(days_table(days))
    task.console.print(f"{len(days)} days after {time.time() - task.arguments['began']:.0f} s", highlight=False)
    return 0 if all(day.run_id for day in days) else terminal.FAILED


def tune(task: Task) -> int:
    """A study."""
    recipe, overrides = task.recipe
    output, force = task.arguments["output"], task.arguments["force"]
    with terminal.wrong_is_told(task.project, task.errors):
        from flows.run import study

        overrides += study.overrides_of(task.arguments["search"], **task.arguments["asked"])
        study.checked(task.project, recipe, overrides, output, force=force)
    wait_for_prefect(task)
    from flows import tune as flow
    from flows.tune_pages import page

    flow.reporting_to(task.reporter)
    task.console.print(page(flow.tune(recipe, overrides, output, force)), highlight=False)
    return 0


def wait_for_prefect(task: Task) -> None:
    """Ask for the server, and import the engines while it starts; return when it answers. The supervisor sees to it."""
    from flows.processes.prefect_server import answers

    task.reporter.record(journal.SERVER)
    task.reporter.started("starting the engines")
    import flows.line  # noqa: F401

    gc.freeze()
    gc.enable()
    while not answers(os.environ["PREFECT_API_URL"]):
        time.sleep(0.1)


WORK: dict[str, Callable[[Task], int]] = {"run": line, "backfill": backfill, "tune": tune}


def main() -> None:
    """Do what was ordered, tell its exit code, and end at once."""
    gc.disable()  # until the engines are imported: what imports make stays, and looking through it takes a fifth longer
    descriptor, order = int(sys.argv[1]), json.loads(sys.argv[2])
    reporter = journal.Writer(descriptor)
    interruption = _Interruption()
    signal.signal(signal.SIGTERM, interruption)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's is for the supervisor
    if os.getppid() != order["supervisor"]:
        os._exit(terminal.INTERRUPTED)  # the supervisor has died before it could be noticed
    shown = order["console"]
    kind = {"width": shown["width"], "force_terminal": shown["color"] is not None, "color_system": shown["color"]}
    streams = reporter.stream(), reporter.stream(error=True)
    console, errors = (Screen(file=cast(IO[str], stream), **kind) for stream in streams)
    try:
        with terminal.explained(console, Path(order["log"])):
            project = find()
            enter(project)
            task = Task(project, order["arguments"], console, errors, reporter, order["own_server"])
            with remembering(project.state / "cache" / "code.json"):
                code = _done(WORK[order["kind"]], task, interruption)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else terminal.FAILED
    leases.release()
    if code != terminal.INTERRUPTED:
        _leave_ray()
    reporter.record("code", code=code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # engines wait at exit for threads and servers that are ended by the supervisor


def _done(work: Callable[[Task], int], task: Task, interruption: _Interruption) -> int:
    try:
        return work(task)
    except BaseException:
        if not interruption.seen:
            raise
        # The supervisor says it. What an engine makes of an interruption is no failure of its own.
        print(scrub(traceback.format_exc()), file=sys.stderr)  # noqa: T201 — the log
        return terminal.INTERRUPTED
    finally:
        _tell_all(1 if interruption.seen else 10)


class _Interruption:
    """SIGTERM, the first time: KeyboardInterrupt in the main thread, and the end of this process before long."""

    def __init__(self) -> None:
        self.seen = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.seen:
            return  # what is being closed is not interrupted
        self.seen = True
        last = threading.Timer(LAST_SECONDS, os._exit, [terminal.INTERRUPTED])
        last.daemon = True
        last.start()
        raise KeyboardInterrupt


def _tell_all(seconds: int) -> None:
    """Send what Prefect still has to say while its server listens."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=seconds)


def _leave_ray() -> None:
    """End Ray in its own way, where it was started."""
    module = sys.modules.get("components.training.cluster.starting")
    if module is not None:
        module.stop()


if __name__ == "__main__":
    main()
