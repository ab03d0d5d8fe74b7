"""What `convoy status` and `runs` say: the same that the pages show, in the terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from rich.console import Console, Group
from rich.text import Text

from components import machine, offered
from components.registry import approvals, listing, record, verification
from components.registry.lines import Line, Standing, aliases
from components.registry.memory.store import local_uri
from components.registry.memory.tracking import Tracking
from components.registry.verification import NotDecided
from components.registry.versions import PRODUCTION, STAGING
from flows.base.project import Project
from flows.pages import tables
from flows.processes import leases

STYLES = {"FINISHED": "green", "RUNNING": "cyan", "FAILED": "red", "KILLED": "yellow", "DEAD": "red"}
ANSWERS = "whoever answers its form in Prefect"
DEAD = "DEAD"  # MLflow knows no such status: it has these as running
GONE = "its process is gone; the next start, of the web UIs too, closes it"
UNDECIDED = "not decided"  # of an alias that was moved past Convoy
OTHERS = 5  # models of other people that are named
NEXT = 5  # scheduled runs that are told


Asked = tuple[dict[str, approvals.Waiting | str], dict[str, list[NotDecided]]]  # of `asked`


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
    whom: str = ""  # who is waited for
    flow_run: str | None = None  # Prefect's, which has a form for the answer


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


def asked(store: Tracking, standings: Sequence[Standing]) -> Asked:
    """By model: what people still have to say of what is staged, and which aliases nobody decided.

    The records of all decisions are asked for once, however many models there are.
    """
    places = listing.places(store)
    named, decided = aliases(standings), record.everywhere(store, places)
    # Decisions are kept in the experiment of the model's name: where that is gone, nothing is known of them.
    known = {name: named.get(name, {}) for place in places if (name := str(place.experiment)) in named | decided}
    wanted = approvals.waiting_everywhere(store, places, named, decided)
    return wanted, verification.not_decided(known, decided)


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
            _whom(each, asked.get(each.model)),
        )
        for each in standings
        if each.alias == STAGING and each.ours and production.get(each.model) != each.version
    ]
    paused = [
        Waiting(f"{plan.flow}, {plan.state.lower()}", "flow run", plan.id, None, ANSWERS, plan.id)
        for plan in plans
        if plan.at is None
    ]
    return staged + paused


def _since(production: int | None, asked: approvals.Waiting | str | None) -> str:
    said = f"staged; in production is {'none' if production is None else f'version {production}'}"
    if isinstance(asked, approvals.Waiting) and not asked.rejected_by:
        said += f"; {asked.missing} of {asked.required} approvals missing"
    return said


def _whom(standing: Standing, asked: approvals.Waiting | str | None) -> str:
    """Who is waited for, and who has spoken already."""
    if standing.problem is not None or isinstance(asked, str):
        return "whoever runs the pipeline"
    if asked is None:
        return "whoever promotes it"
    if asked.rejected_by:
        return f"{', '.join(asked.rejected_by)}, who rejected it"
    more = "a person" if asked.missing == 1 else f"{asked.missing} people"
    if asked.approved_by:
        more = more.replace("a person", "one more person").replace(" people", " more people")
        return f"{more} to approve, after {', '.join(asked.approved_by)}"
    return f"{more} to approve"


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
    """Print a page's parts; commands and addresses are not broken at the terminal's width: they are copied."""
    for part in page.renderables:
        console.print(part, highlight=False, soft_wrap=isinstance(part, Text | tables.Words))


def page(
    lines: Sequence[Line],
    standings: Sequence[Standing],
    wants: Sequence[Waiting],
    plans: Sequence[Planned] | None,
    moved: Mapping[str, Sequence[NotDecided]] | None = None,
) -> Group:
    """All of it. `plans` is None where no Prefect server runs that could start anything; `moved` are the aliases that
    nobody decided, by model.
    """
    parts: list[object] = [runs_table(lines) if lines else tables.Words(none_yet())]
    parts += _notes((line.id[:8], line.problem) for line in lines)
    ours = [each for each in standings if each.ours]
    by_hand = {(each.model, each.alias) for several in (moved or {}).values() for each in several}
    if ours:
        where = tables.Listing("aliases", "model", "alias", "version", "metric", "made by", right=["version"])
        for each in ours:
            mark = " !" if each.problem else ""
            said = Text(figure(each)).append(mark, style="red")
            alias = Text(each.alias)
            alias.append(f", {UNDECIDED}" if (each.model, each.alias) in by_hand else "", style="red")
            where.add_row(each.model, alias, str(each.version), said, (each.line or tables.NOTHING)[:8])
        parts.append(where)
        parts += _times(ours)
        parts += _notes((f"{each.model} {each.alias}", each.problem) for each in ours)
    parts += [part for several in (moved or {}).values() for part in _undecided(several)]
    if others := sorted({each.model for each in standings if not each.ours}):
        few = ", ".join(others[:OTHERS]) + (" …" if len(others) > OTHERS else "")
        parts.append(tables.Words(f"{len(others)} more registered models, which no run made: {few}\n"))
    if wants:
        table = tables.Listing("waits for approval", "what", "state", "for")
        for want in wants:
            table.add_row(Text(want.what).append(" !" if want.problem else "", style="red"), want.since, want.whom)
        parts.append(table)
        parts += [part for want in wants if want.how for part in (_next(want), tables.Words(""))]
        told = {each.problem for each in standings}
        parts += _notes((_subject(want), want.problem) for want in wants if want.problem not in told)
    else:
        parts.append(Text("nothing waits for approval\n"))
    upcoming = [plan for plan in plans or [] if plan.at is not None]
    if upcoming:
        table = tables.Listing("next", "when", "what", "state")
        for plan in upcoming:
            if plan.at is not None:
                table.add_row(f"{plan.at.astimezone():%Y-%m-%d %H:%M} ({_until(plan.at)})", plan.flow, plan.state)
        parts.append(table)
    elif plans is None:
        schedule = offered.command("convoy", "schedule")
        parts.append(tables.Words(f"nothing is scheduled: no Prefect server runs here (`{schedule}` starts one)"))
    else:
        parts.append(Text("nothing is scheduled"))
    return Group(*parts)  # type: ignore[arg-type]


def _undecided(moved: Sequence[NotDecided]) -> list[tables.Words]:
    """What the aliases of one model are that nobody decided, and what a person can do about it."""
    model = moved[0].model
    told = [tables.Words(f"! {UNDECIDED}: {model}: {each.finding.says}", "yellow") for each in moved]
    return [*told, tables.Words("→ what shows it:", command=look_into(model)), tables.Words("")]


def look_into(model: str) -> str:
    """The command that shows what of a model's ledger is not as it was written."""
    return offered.command("convoy", "ledger", model, "--verify")


def _next(want: Waiting) -> tables.Words:
    said = f"→ {_subject(want)}:"
    command = want.how.startswith("convoy ")
    return tables.Words(f"{said if command else f'{said} {want.how}'}", command=want.how if command else "")


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


def runs_table(lines: Sequence[Line]) -> tables.Listing:
    """A row a line, newest first. The model has a column of its own where there are several."""
    models = {line.model for line in lines}
    title, several = ("runs", True) if len(models) > 1 else (f"runs of {min(models, default='the pipeline')}", False)
    headings = ("run", "when", "recipe", *(["model"] if several else []), "took", "metric", "outcome")
    table = tables.Listing(title, *headings, right=["took", "metric"])
    for line in lines:
        value = f"{line.value:.4f}" if line.value is not None else tables.NOTHING
        ended = outcome(line) if line.status == "FINISHED" else line.status.lower()
        ended += " !" if line.problem else ""
        table.add_row(
            line.id[:8],
            _when(line.started),
            line.recipe,
            *([line.model] if several else []),
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
    table = tables.Listing("one image at a time, on one thread", "ms", "version", "measured on", right=["ms"])
    for each in timed.values():
        on = each.processor or tables.UNKNOWN
        table.add_row(f"{each.latency_ms:.3f}", f"{each.model} version {each.version}", on)
    kinds = {machine.without_cores(each.processor or "") for each in timed.values()}
    several = tables.Words("! times of two kinds of processor cannot be compared\n", "yellow")
    return [table, several] if len(kinds) > 1 else [table]


def _notes(problems: Iterable[tuple[str, str | None]]) -> list[tables.Words]:
    """Below a table: what is wrong with the rows that it marks, once each."""
    rows: dict[str, list[str]] = {}
    for what, problem in problems:
        if problem:
            rows.setdefault(problem, []).append(what)
    return [tables.Words(f"! {', '.join(what)}: {problem}\n", "yellow") for problem, what in rows.items()]


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
