"""The first page in HTML: the state of things, and beside it the ways to everywhere else. Every text is escaped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from components import texts
from flows.pages.overview import COMPARED, Disk, Overview, Part
from flows.preflight.finding import size

if TYPE_CHECKING:
    from components.registry.drifts import Drift
    from components.registry.lines import Line, Standing
    from components.registry.verification import NotDecided
    from flows.pages.status import Planned, Waiting
    from flows.pages.under_way import UnderWay

T = TypeVar("T")
REFRESH_SECONDS = 30  # the browser asks again; a step of a run takes about that long
LITTLE_ROOM = 5 * 2**30  # bytes that are free, below which it is marked
MOST_SAID = 300  # characters of why a run failed; its page in MLflow has the rest
STYLE = """
:root{color-scheme:light dark;--ink:#1f2933;--soft:#52606d;--line:#d9e2ec;--box:#fff;--page:#f7f9fb;--link:#0b69a3;
--good:#0a6c3b;--bad:#b42318;--warn:#8a5a00;--hover:#f0f4f8}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ee;--soft:#9fb0bf;--line:#38444f;--box:#1d252c;--page:#141a1f;
--link:#6cc0f5;--good:#5fd39a;--bad:#ff8a7d;--warn:#f0bd5c;--hover:#26303a}}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;max-width:86rem;margin:1.5rem auto;padding:0 1rem;
color:var(--ink);background:var(--page)}h1{font-size:1.6rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:1.4rem 0 .4rem}p{color:var(--soft);margin:.2rem 0 .6rem;overflow-wrap:anywhere}
ul{list-style:none;padding:0;margin:0}main,aside{min-width:0}
@media(min-width:64rem){.page{display:grid;grid-template-columns:minmax(0,1fr) 19rem;gap:0 2rem}}
li{border:1px solid var(--line);border-radius:8px;margin:.35rem 0;background:var(--box);overflow-wrap:anywhere}
.row{padding:.5rem 1rem}.row>div{display:flex;flex-wrap:wrap;gap:.1rem 1rem;align-items:baseline}
.row>div>*{min-width:0}.row .end{margin-left:auto}a{text-decoration:none;color:inherit}
a.box{display:block;padding:.5rem 1rem}a.box:hover{background:var(--hover)}b,a.to{color:var(--link)}
small{color:var(--soft)}a.box small{display:block}
code{font:13px/1.5 ui-monospace,monospace;background:var(--hover);padding:.1rem .3rem;border-radius:4px;
user-select:all;overflow-wrap:anywhere}
.tag{font-size:.8rem;border:1px solid var(--line);border-radius:99px;padding:0 .55rem;color:var(--soft)}
.production{color:var(--good);border-color:currentColor}.good{color:var(--good)}.bad{color:var(--bad)}
.tag.bad{border-color:currentColor}.warn{color:var(--warn)}
progress{width:100%;height:.6rem;margin:.3rem 0 0;accent-color:var(--link);display:block}
.broken{border:1px solid var(--bad);border-radius:8px;padding:.5rem 1rem;color:var(--bad);overflow-wrap:anywhere}
.bars{display:inline-flex;align-items:flex-end;gap:2px;height:1.2rem}.bars i{width:5px;background:var(--line)}
.bars i.bad{background:var(--bad)}
"""
# Nothing but this page's own style is fetched or run, whatever text might get into it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
ENDED = {"FINISHED": "good", "FAILED": "bad", "KILLED": "warn", "RUNNING": ""}


def document(title: str, place: str, parts: Sequence[str], beside: Sequence[str], at: float) -> str:
    """The page around its parts, which are HTML, and those beside them; `title` and `place` are text, `at` is when
    what it says was so.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><title>Convoy · {_text(title)}</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>'
        f"<h1>Convoy · {_text(title)}</h1><p>{_text(place)} · as of {datetime.fromtimestamp(at):%H:%M:%S}</p>"
        f'<div class="page"><main>{"".join(parts)}</main><aside>{"".join(beside)}</aside></div></body></html>'
    )


def state(found: Overview, engines: Mapping[str, str]) -> list[str]:
    """The parts of the page that say how things are; `engines` has the addresses of MLflow's and Prefect's pages."""
    mlflow, prefect = engines["MLflow"], engines.get("Prefect", "")
    moved = found.not_decided.value or {}  # where it is not known, the box of what waits says why
    return [
        _section("Waiting for a person", _part(found.waiting, lambda each: _waiting(each, moved, prefect))),
        _section("Running now", _part(found.running, lambda each: _running(each, mlflow, prefect))),
        _section("Models", _part(found.models, lambda each: _models(each, moved, mlflow))),
        _section("Last runs", _part(found.runs, lambda each: _runs(each, mlflow))),
        _section("Drift", _part(found.drift, lambda each: _drifts(each, mlflow))),
        _section("Schedule", _part(found.plans, _plans)),
        _section("Disk", _part(found.disk, _disk)),
    ]


def links(title: str, entries: Sequence[tuple[str, str, str]]) -> str:
    """A section of links: address, what it is called, what is there."""
    items = "".join(
        f'<li><a class="box" href="{_text(address)}"><b>{_text(name)}</b><small>{_text(what)}</small></a></li>'
        for address, name, what in entries
    )
    return _section(title, f'<ul class="links">{items}</ul>')


def broken(problem: str) -> str:
    """A part that could not be had."""
    return f'<div class="broken">{_text(problem)}</div>'


def _waiting(wants: Sequence[Waiting], moved: Mapping[str, Sequence[NotDecided]], prefect: str) -> str:
    """What goes on when somebody says so: who that is, and the command or the form that says it."""
    from flows.pages import status

    rows = [
        _lines(
            f"<span>{_text(each.what)}</span><small>{_text(each.since)}</small>",
            f"<small>waits for {_text(each.whom)}</small>{_answer(each, prefect)}",
        )
        for each in wants
    ]
    for model, several in moved.items():
        says = "; ".join(each.finding.says for each in several)
        look = f'<span class="end">{_how(status.look_into(model))}</span>'
        rows.append(
            _lines(
                f'<span class="bad">{_text(model)}: {_text(says)}</span>',
                f"<small>waits for whoever looks into it</small>{look}",
            )
        )
    return _rows(rows) if rows else "<p>Nothing waits for approval.</p>"


def _answer(want: Waiting, prefect: str) -> str:
    if want.flow_run is None or not prefect:
        return f'<span class="end">{_how(want.how)}</span>'
    address = f"{prefect}/runs/flow-run/{want.flow_run}"
    return f'<a class="to end" href="{_text(address)}"><b>open its form</b></a>'


def _running(found: Sequence[UnderWay], mlflow: str, prefect: str) -> str:
    """A row for each that lives: its step, and how far that is."""
    if not found:
        return "<p>Nothing runs.</p>"
    rows = []
    for each in found:
        name = f"<b>{_text(each.what)}</b>"
        links = []
        if each.line is not None:
            name = f'<a class="to" href="{_text(_run_address(each.line, mlflow))}">{name}</a>'
            if each.line.flow_run and prefect:
                graph = f"{prefect}/runs/flow-run/{each.line.flow_run}"
                links.append(f'<a class="to end" href="{_text(graph)}">its steps as a graph</a>')
        head = f"{name}<small>{_text(each.model or '')}</small><small>for {_span(time.time() - each.since)}</small>"
        rows.append(_lines(head + "".join(links), _progress(each)))
    return _rows(rows)


def _progress(each: UnderWay) -> str:
    if each.step is None:
        return "<small>it is being prepared</small>"
    step = f"step {each.number} of {each.of}: {each.step}" if each.number else each.step
    doing = each.doing if each.doing != each.step else ""
    told = " · ".join(filter(None, (doing, f"{each.done:,} of {each.total:,}" if each.total else "", each.note)))
    part = min(each.done / each.total, 1.0) if each.total else 0.0
    if each.number:
        bar = f'<progress max="{each.of}" value="{each.number - 1 + part:.3f}"></progress>'
    else:
        bar = f'<progress max="1" value="{part:.3f}"></progress>' if each.total else ""
    return f"<span>{_text(step)}</span><small>{_text(told)}</small>{bar}"


def _models(standings: Sequence[Standing], moved: Mapping[str, Sequence[NotDecided]], mlflow: str) -> str:
    """A row for each version that bears aliases: what it is called, its metric, and what was not decided of it."""
    from components.registry.memory import addresses
    from flows.pages import status

    if not standings:
        return "<p>No model is registered yet: <code>convoy run</code> makes one.</p>"
    by_hand = {(each.model, each.alias) for several in moved.values() for each in several}
    by_version: dict[tuple[str, int], list[Standing]] = {}
    for each in standings:
        by_version.setdefault((each.model, each.version), []).append(each)
    rows = []
    for (model, version), these in by_version.items():
        tags = " ".join(_tag(each.alias, decided=(model, each.alias) not in by_hand) for each in these)
        address = f"{mlflow}/{addresses.version(model, version)}"
        rows.append(
            _lines(
                f'<a class="to" href="{_text(address)}"><b>{_text(model)}</b> version {version}</a><span>{tags}</span>'
                f'<span class="end">{_text(status.figure(these[0]))}</span>',
                f"<small>{_text(status.latency(these[0]) or '')}</small>",
                _broken(these[0].problem),
            )
        )
    return _rows(rows)


def _tag(alias: str, *, decided: bool) -> str:
    from flows.pages.status import UNDECIDED

    if decided:
        return f'<span class="tag {_class(alias)}">{_text(alias)}</span>'
    return f'<span class="tag bad">{_text(alias)}: {UNDECIDED}</span>'


def _broken(problem: str | None) -> str:
    return f'<span class="bad">{_text(problem)}</span>' if problem else ""


def _drifts(found: Sequence[Drift], mlflow: str) -> str:
    """A row a model: whether its data has drifted from what production was trained on, now and in the runs before."""
    from components.registry.memory import addresses

    if not found:
        return "<p>No run has compared its data yet.</p>"
    rows = []
    for each in found:
        style = "" if each.share is None else "bad" if each.share else "good"
        share = "not known" if each.share is None else f"{each.share:.0%} of columns" if each.share else "none"
        address = f"{mlflow}/{addresses.run(each.experiment_id, each.run)}"
        bars = _bars([*each.before, *([] if each.share is None else [each.share])])
        rows.append(
            _lines(
                f'<a class="to" href="{_text(address)}"><b>{_text(each.model)}</b></a>'
                f'<small>{_when(each.at)}</small>{bars}<span class="end {style}">{share}</span>',
                f"<small>{_text(each.says)}</small>",
            )
        )
    return f"{_rows(rows)}<p>Of the last {COMPARED} runs.</p>"


def _bars(shares: Sequence[float]) -> str:
    """A bar for each comparison, as high as the share of columns that drifted; a low grey one where none did."""
    if len(shares) < 2:
        return ""
    told = ", ".join(f"{share:.0%}" for share in shares)
    bars = "".join(
        f'<i class="{"bad" if share else ""}" style="height:{max(12, round(share * 100))}%"></i>' for share in shares
    )
    return f'<span class="bars" role="img" title="{told}" aria-label="earlier runs: {told}">{bars}</span>'


def _how(how: str) -> str:
    """A command in the type of commands; words, and the id of a flow run, as they are."""
    command, _, rest = how.partition(" (")
    if not command.startswith("convoy "):
        return f"<span>{_text(how)}</span>"
    return f"<span><code>{_text(command)}</code>{_text(f' ({rest}') if rest else ''}</span>"


def _runs(runs: Sequence[Line], mlflow: str) -> str:
    """A row a line, newest first; one that has no process any more is shown as dead, whatever MLflow still says."""
    from flows.pages import status

    if not runs:
        return "<p>There are no runs yet: <code>convoy run</code> starts one.</p>"
    rows = []
    for run in runs:
        ended = status.outcome(run) if run.status == "FINISHED" else run.status.lower()
        style = "warn" if run.decision == "fail" else ENDED.get(run.status, "")
        if run.problem:
            ended, style = f"{ended}: {run.problem}", "bad"
        figure = f"{run.metric} {run.value:.4f}" if run.metric is not None and run.value is not None else ""
        why = texts.shown(" ".join(run.why.split()), MOST_SAID) if run.why else ""
        rows.append(
            _lines(
                f'<a class="to" href="{_text(_run_address(run, mlflow))}">{_text(run.id[:8])}</a>'
                f"<span>{_text(run.recipe)}</span><small>{_text(run.model)}</small>"
                f"<small>{_when(run.started)}{_took(run)}</small>"
                f'<span>{_text(figure)}</span><span class="end {style}">{_text(ended)}</span>',
                f"<small>{_text(why)}</small>" if why else "",
            )
        )
    return _rows(rows)


def _run_address(run: Line, mlflow: str) -> str:
    from components.registry.memory import addresses

    return f"{mlflow}/{addresses.run(run.experiment_id, run.id)}"


def _plans(plans: Sequence[Planned]) -> str:
    upcoming = [plan for plan in plans if plan.at is not None]
    if not upcoming:
        return "<p>Nothing is scheduled: <code>convoy schedule</code> does it.</p>"
    rows = []
    for plan in upcoming:
        at = plan.at.timestamp() if plan.at is not None else 0.0
        left = at - time.time()
        told = f"in {_span(left)}" if left >= 0 else f"{_span(-left)} late"
        style = "" if left >= -60 else "warn"
        rows.append(
            _lines(
                f"<span>{_when(at)}</span><span>{_text(plan.flow)}</span>"
                f'<span class="end {style}">{_text(told)} · {_text(plan.state.lower())}</span>'
            )
        )
    return _rows(rows)


def _disk(disk: Disk) -> str:
    free = f'<span class="{"bad" if disk.free < LITTLE_ROOM else ""}">{size(disk.free)} free</span>'
    if disk.places is None:
        return f"<p>Being measured. {free}.</p>"
    told = " · ".join(f"<b>{_text(name)}</b> {size(used)}" for name, used in disk.places.items())
    return f"<p>{told} · {free}. <code>convoy clean</code> shows what can go.</p>"


def _part(found: Part[T], show: Callable[[T], str]) -> str:
    """The part, or its broken box: also where showing it is what fails."""
    if found.problem is not None or found.value is None:
        return broken(found.problem or "nothing was answered")
    try:
        return show(found.value)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        return broken(f"cannot be shown: {error}")


def _section(title: str, content: str) -> str:
    heading = f"<h2>{_text(title)}</h2>" if title else ""
    return f"<section>{heading}{content}</section>"


def _lines(*lines: str) -> str:
    """The lines of a row; those without anything are left out."""
    return "".join(f"<div>{line}</div>" for line in lines if line and line != "<small></small>")


def _rows(rows: Sequence[str]) -> str:
    items = "".join(f'<li class="row">{row}</li>' for row in rows)
    return f"<ul>{items}</ul>"


def _class(alias: str) -> str:
    return "production" if alias == "production" else ""


def _text(text: object) -> str:
    return texts.html(text)


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M}"


def _took(run: Line) -> str:
    """How long a run took; of one that is dead nobody knows."""
    return ", running" if run.status == "RUNNING" else f", {_span(run.seconds)}" if run.seconds is not None else ""


def _span(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
