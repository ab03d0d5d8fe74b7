"""What `convoy status` and `runs` say: the same that the pages show, in the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from components import machine, offered
from components.registry import approvals
from components.registry.lines import Line, Standing
from components.registry.memory.store import local_uri
from components.registry.memory.tracking import Tracking
from components.registry.versions import PRODUCTION, STAGING
from flows.base.project import Project
from flows.pages import tables
from flows.processes import leases

STYLES = {"FINISHED": "green", "RUNNING": "cyan", "FAILED": "red", "KILLED": "yellow", "DEAD": "red"}
DEAD = "DEAD"  # MLflow knows no such status: it has these as running
GONE = "its process is gone; the next start, of the web UIs too, closes it"
NAME = 24  # characters of a recipe's name
NARROW = 12  # where models are named beside recipes
OTHERS = 5  # models of other people that are named
NEXT = 5  # scheduled runs that are told


@dataclass(frozen=True)
class Planned:
    """A flow run that Prefect has on its list."""

    id: str
    flow: str  # with its deployment
    state: str
    at: datetime | None  # when it is to begin; None where it waits for a person


@dataclass(frozen=True)
class Waiting:
    """Something that goes on when somebody says so."""

    what: str
    since: str
    how: str  # the command
    problem: str | None = None  # what of it cannot be read


def planned() -> list[Planned]:
    """What Prefect has scheduled or paused, in the order of its time. Needs PREFECT_API_URL."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    def asked(kind: StateType) -> FlowRunFilter:
        return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[kind])))

    found = []
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=asked(StateType.SCHEDULED), sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=NEXT
        )
        runs += client.read_flow_runs(flow_run_filter=asked(StateType.PAUSED))
        for run in runs:
            name = client.read_flow(run.flow_id).name
            if run.deployment_id is not None:
                name = f"{name}/{client.read_deployment(run.deployment_id).name}"
            paused = run.state_type == StateType.PAUSED
            found.append(Planned(str(run.id), name, str(run.state_name), None if paused else run.expected_start_time))
    return found


def waiting(
    standings: Sequence[Standing], plans: Sequence[Planned], asked: Mapping[str, approvals.Waiting | str]
) -> list[Waiting]:
    """Versions that are staged and not in production, and flow runs that are paused.

    `asked` has, by model, what people still have to say, or why that cannot be read.
    """
    production = {each.model: each.version for each in standings if each.alias == PRODUCTION}
    staged = [
        Waiting(
            f"{each.model} version {each.version}, {figure(each)}",
            _since(production.get(each.model), asked.get(each.model)),
            *_how(each, asked.get(each.model)),
        )
        for each in standings
        if each.alias == STAGING and each.ours and production.get(each.model) != each.version
    ]
    paused = [Waiting(f"{plan.flow}, {plan.state.lower()}", "flow run", plan.id) for plan in plans if plan.at is None]
    return staged + paused


def _since(production: int | None, asked: approvals.Waiting | str | None) -> str:
    said = f"staged; in production is {'none' if production is None else f'version {production}'}"
    if isinstance(asked, approvals.Waiting) and not asked.rejected_by:
        said += f"; {asked.missing} of {asked.required} approvals missing"
    return said


def _how(standing: Standing, asked: approvals.Waiting | str | None) -> tuple[str, str | None]:
    """The command that is next, and what stands in its way."""
    name = standing.model
    if standing.problem is not None:
        return "", standing.problem
    if isinstance(asked, str):
        return "run its pipeline again, which judges it anew", asked
    if asked is None:
        return offered.command("convoy", "promote", name, "--to", "production"), None
    if asked.rejected_by:
        return f"rejected by {', '.join(asked.rejected_by)}", None
    return offered.command("convoy", "approve", name, "--reason", "…"), None


def show(console: Console, page: Group) -> None:
    """Print a page's parts; what is in words is not broken at the terminal's width, so that commands can be copied."""
    for part in page.renderables:
        console.print(part, highlight=False, soft_wrap=isinstance(part, Text))


def page(
    lines: Sequence[Line], standings: Sequence[Standing], wants: Sequence[Waiting], plans: Sequence[Planned] | None
) -> Group:
    """All of it. `plans` is None where no Prefect server runs that could start anything."""
    parts: list[object] = [runs_table(lines) if lines else Text(none_yet())]
    parts += _notes((line.id[:8], line.problem) for line in lines)
    ours = [each for each in standings if each.ours]
    if ours:
        where = tables.table("aliases", "model", "alias", "version", "metric", "made by")
        for each in ours:
            mark = Text(" !", style="red") if each.problem else Text()
            said = Text(figure(each)).append(mark)
            where.add_row(Text(each.model), each.alias, str(each.version), said, (each.line or "–")[:8])
        parts.append(where)
        parts += _times(ours)
        parts += _notes((f"{each.model} {each.alias}", each.problem) for each in ours)
    if others := sorted({each.model for each in standings if not each.ours}):
        few = ", ".join(others[:OTHERS]) + (" …" if len(others) > OTHERS else "")
        parts.append(Text(f"{len(others)} more registered models, which no run made: {few}\n"))
    if wants:
        table = tables.table("waits for approval", "what", "")
        for want in wants:
            table.add_row(Text(want.what).append(" !" if want.problem else "", style="red"), want.since)
        parts.append(table)
        parts += [Text(f"→ {_subject(want)}: {want.how}\n") for want in wants if want.how]
        told = {each.problem for each in standings}
        parts += _notes((_subject(want), want.problem) for want in wants if want.problem not in told)
    else:
        parts.append(Text("nothing waits for approval\n"))
    upcoming = [plan for plan in plans or [] if plan.at is not None]
    if upcoming:
        table = tables.table("next", "when", "what", "state")
        for plan in upcoming:
            if plan.at is not None:
                table.add_row(f"{plan.at.astimezone():%Y-%m-%d %H:%M} ({_until(plan.at)})", plan.flow, plan.state)
        parts.append(table)
    elif plans is None:
        schedule = offered.command("convoy", "schedule")
        parts.append(Text(f"nothing is scheduled: no Prefect server runs here (`{schedule}` starts one)"))
    else:
        parts.append(Text("nothing is scheduled"))
    return Group(*parts)  # type: ignore[arg-type]


def truly(project: Project, store: Tracking, found: Sequence[Line]) -> list[Line]:
    """The lines, those of them DEAD that MLflow still has as running and whose process is gone.

    In a store of the project's own, that is whose lease nobody holds; a named one has lines of other projects, too.
    """
    running = {line.lease for line in found if line.status == "RUNNING"}
    if not running:
        return list(found)
    own = store.uri == local_uri(project.root)
    dead = (running - leases.living(project)) if own else (running & leases.dead(project))
    return [
        replace(line, status=DEAD, problem=GONE) if line.status == "RUNNING" and line.lease in dead else line
        for line in found
    ]


def runs_table(lines: Sequence[Line]) -> Table:
    """A row a line, newest first; fits 80 columns. The model has a column of its own where there are several."""
    models = {line.model for line in lines}
    title, several = ("runs", True) if len(models) > 1 else (f"runs of {min(models, default='the pipeline')}", False)
    room = NARROW if several else NAME
    headings = ("run", "when", "recipe", *(["model"] if several else []), "took", "metric", "outcome")
    table = tables.table(title, *headings, no_wrap=True)
    for line in lines:
        value = f"{line.value:.4f}" if line.value is not None else "–"
        ended = outcome(line) if line.status == "FINISHED" else line.status.lower()
        ended += " !" if line.problem else ""
        table.add_row(
            line.id[:8],
            _when(line.started),
            Text(tables.short(line.recipe, room)),
            *([Text(tables.short(line.model, room))] if several else []),
            _took(line.seconds),
            value,
            Text(ended, style=STYLES.get(line.status, "")),
        )
    return table


def runs_page(lines: Sequence[Line]) -> Group:
    """The table, and below it what of a row cannot be made sense of."""
    return Group(runs_table(lines), *_notes((line.id[:8], line.problem) for line in lines))


def none_yet() -> str:
    """What is said where there are no runs."""
    return f"there are no runs yet: `{offered.command('convoy', 'run')}` starts one"


def outcome(line: Line) -> str:
    """What was decided about the version that a line ended with."""
    if line.version is None:
        return "–"
    return f"v{line.version} {'failed' if line.decision == 'fail' else 'passed'}"


def figure(standing: Standing) -> str:
    """The primary metric of a version with its interval; a word where it cannot be read."""
    if standing.value is None:
        return "cannot be read"
    return f"{standing.metric} {tables.figure((standing.value, standing.low, standing.high))}"


def latency(standing: Standing) -> str | None:
    """How long a version takes for one image, and on which kind of processor that was; None where it is not known."""
    if standing.latency_ms is None:
        return None
    return f"{standing.latency_ms:.3f} ms an image on {standing.processor or tables.UNKNOWN}"


def _times(standings: Sequence[Standing]) -> list[object]:
    """What each version takes for one image, and on what: times of two kinds of processor say nothing of each other."""
    timed = {(each.model, each.version): each for each in standings if each.latency_ms is not None}
    if not timed:
        return []
    table = tables.table("one image at a time, on one thread", "ms", "version", "measured on")
    for each in timed.values():
        on = each.processor or tables.UNKNOWN
        table.add_row(f"{each.latency_ms:.3f}", Text(f"{each.model} version {each.version}"), on)
    kinds = {machine.without_cores(each.processor or "") for each in timed.values()}
    several = Text("! times of two kinds of processor cannot be compared\n", style="yellow")
    return [table, several] if len(kinds) > 1 else [table]


def _notes(problems: Iterable[tuple[str, str | None]]) -> list[Text]:
    """Below a table: what is wrong with the rows that it marks, once each."""
    rows: dict[str, list[str]] = {}
    for what, problem in problems:
        if problem:
            rows.setdefault(problem, []).append(what)
    return [Text(f"! {', '.join(what)}: {problem}\n", style="yellow") for problem, what in rows.items()]


def _subject(want: Waiting) -> str:
    return want.what.partition(",")[0]


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%m-%d %H:%M}"


def _took(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _until(at: datetime) -> str:
    left = int(at.timestamp() - time.time())
    return f"in {timedelta(seconds=left)}" if left >= 0 else f"{timedelta(seconds=-left)} late"
