"""`convoy status`, `runs`, `show`, `compare` and `open`: what there was and is, what comes next, and where to look.

Imports no engine until a command needs it.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.base.project import MLFLOW_PORT, PREFECT_PORT, Project
from flows.base.screen import Screen, say, say_json
from flows.commands import terminal

if TYPE_CHECKING:
    from components.registry.memory.tracking import Tracking
    from flows.pages.status import Planned

LATEST = 5  # runs that `status` tells

JsonOption = Annotated[bool, typer.Option("--json", help="JSON on the standard output.")]
RunArgument = Annotated[
    str, typer.Argument(help="`last`, the first characters of a run's id, NAME@alias or NAME:version.")
]


def status(json: JsonOption = False) -> None:
    """Show the last runs, aliases of versions, what waits for approval, and what is scheduled next."""
    with _asking() as (project, store):
        from components.registry import lines
        from flows.pages import status as said

        latest = said.truly(project, store, lines.recent(store, LATEST))
        standings = lines.standings(store)
        plans = _plans(project)
        asked, moved = said.asked(store, standings)
        wants = said.waiting(standings, plans or [], asked)
        if json:
            by_hand = [each for several in moved.values() for each in several]
            told = {"runs": latest, "standings": standings, "waiting": wants, "planned": plans, "not_decided": by_hand}
            _print_json(told)
        else:
            said.show(Screen(), said.page(latest, standings, wants, plans, moved))


def runs(
    model: Annotated[str | None, typer.Option(help="Only runs of this model; by default of all.")] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of runs.", min=1)] = 20,
    json: JsonOption = False,
) -> None:
    """List the runs of the pipeline, newest first."""
    with _asking() as (project, store):
        from components.registry import lines
        from flows.pages import status as said

        found = said.truly(project, store, lines.recent(store, limit, model))
        if json:
            _print_json(found)
        elif found:
            said.show(Screen(), said.runs_page(found))
        else:
            say(said.none_yet())


def compare(one: RunArgument, other: RunArgument, json: JsonOption = False) -> None:
    """Compare two runs: origin, parameters, steps and metrics, without what is the same."""
    with _asking() as (project, store):
        from components.registry import comparing, lines
        from components.registry.memory import addresses
        from flows.pages import comparison, pages, status

        found = comparing.compare(store, lines.find(store, one), lines.find(store, other))
        if json:
            _print_json(found)
            return
        status.show(Screen(), comparison.page(found))
        if mlflow := pages.running(project).get("MLflow"):
            both = (found.one, found.other)
            say(f"{mlflow}/{addresses.comparison([x.experiment_id for x in both], [x.id for x in both])}")


def show(run: RunArgument = "last", json: JsonOption = False) -> None:
    """Show one run: its steps, each gate with its reason, and what became of its version."""
    with _asking() as (_, store):
        from components.artifacts import Decision
        from components.registry import lines
        from flows.pages import judgement, status

        line = lines.find(store, run)
        judged = line.steps.get("promote")
        decision = None if judged is None else Decision.load(store.artifact_folder(judged, "result"))
        if json:
            _print_json({"run": line, "decision": None if decision is None else decision.model_dump(mode="json")})
        else:
            status.show(Screen(), judgement.page(line, decision))


def open_page(
    run: RunArgument = "last",
    prefect: Annotated[bool, typer.Option("--prefect", help="Open Prefect's web UI instead of MLflow's.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Open the report, which needs no server.")] = False,
) -> None:
    """Open a run in the browser. Its web UI is started where it is not up."""
    with _asking() as (project, store), ExitStack() as stack:
        from components.registry import lines
        from components.registry.memory import addresses
        from flows.pages import pages

        line = lines.find(store, run)
        if report:
            if "promote" not in line.steps:
                raise ValueError(f"run {line.id} was not judged, so there is no report of it")
            _browse(store.artifact_folder(line.steps["promote"], "report/report.html").as_uri())
            return
        if prefect and line.flow_run is None:
            raise ValueError(f"run {line.id} had nothing to do, so it is no flow run, and Prefect has none of it")
        up = pages.running(project)
        name = "Prefect" if prefect else "MLflow"
        started = name not in up
        if started:
            say(f"starting {name} …")
            start = pages.lasting_prefect_server if prefect else pages.mlflow_server
            up[name] = stack.enter_context(start(project, PREFECT_PORT if prefect else MLFLOW_PORT))
        below = f"runs/flow-run/{line.flow_run}" if prefect else addresses.run(line.experiment_id, line.id)
        _browse(f"{up[name]}/{below}")
        if started:
            say("Ctrl-C ends it.")
            signal.pause()


@contextmanager
def _asking() -> Iterator[tuple[Project, Tracking]]:
    project = terminal.project()
    with terminal.explained(Screen(stderr=True), project.logs / terminal.ERRORS, "ended"):
        from components.registry.memory import tracking

        with tracking.looking(project.root) as store:
            yield project, store


def _plans(project: Project) -> list[Planned] | None:
    """What Prefect has scheduled; None where no server of this project, and none that is named, answers."""
    from flows.pages.status import planned
    from flows.processes import notes
    from flows.processes.prefect_server import answers, known_by, let_in

    named = os.environ.get("PREFECT_API_URL")
    own = None if named else notes.read(project.prefect_home / notes.PREFECT, project)
    url = named or own
    if not url or not answers(url):
        return None
    if own:
        os.environ.update(known_by(project, own))
    let_in(url)
    return planned()


def _browse(address: str) -> None:
    """Say the address, and open it where there is a browser."""
    say(address)
    webbrowser.open(address)


def _print_json(value: object) -> None:
    def plain(entry: Any) -> object:
        known = dataclasses.is_dataclass(entry) and not isinstance(entry, type)
        return dataclasses.asdict(entry) if known else str(entry)

    say_json(value, default=plain)
