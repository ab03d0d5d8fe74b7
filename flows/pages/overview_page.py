"""The first page in HTML: the state above, the ways to everywhere else below. Every text in it is escaped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from components import texts
from flows.pages.overview import Disk, Overview, Part
from flows.preflight.finding import size

if TYPE_CHECKING:
    from components.registry.lines import Line, Standing
    from flows.pages.status import Planned, Waiting

T = TypeVar("T")
REFRESH_SECONDS = 30  # the browser asks again; a step of a run takes about that long
STYLE = """
:root{color-scheme:light dark;--ink:#1f2933;--soft:#52606d;--line:#d9e2ec;--box:#fff;--page:#f7f9fb;--link:#0b69a3;
--good:#0a6c3b;--bad:#b42318;--warn:#8a5a00;--hover:#f0f4f8}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ee;--soft:#9fb0bf;--line:#38444f;--box:#1d252c;--page:#141a1f;
--link:#6cc0f5;--good:#5fd39a;--bad:#ff8a7d;--warn:#f0bd5c;--hover:#26303a}}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:var(--ink);background:var(--page)}h1{font-size:1.6rem;margin:0}h2{font-size:1.05rem;margin:1.8rem 0 .5rem}
p{color:var(--soft);margin:.2rem 0 1rem;overflow-wrap:anywhere}ul{list-style:none;padding:0;margin:0}
li{border:1px solid var(--line);border-radius:8px;margin:.4rem 0;background:var(--box);overflow-wrap:anywhere}
.row{display:flex;flex-wrap:wrap;gap:.1rem 1rem;padding:.55rem 1rem;align-items:baseline}
.row>:last-child{margin-left:auto}a{text-decoration:none;color:inherit}a.box{display:block;padding:.6rem 1rem}
a.box:hover{background:var(--hover)}b,a.to{color:var(--link)}small{color:var(--soft)}a.box small{display:block}
code{font:13px/1.5 ui-monospace,monospace;background:var(--hover);padding:.1rem .3rem;border-radius:4px}
.tag{font-size:.8rem;border:1px solid var(--line);border-radius:99px;padding:0 .55rem;color:var(--soft)}
.production{color:var(--good);border-color:currentColor}.good{color:var(--good)}.bad{color:var(--bad)}
.warn{color:var(--warn)}.broken{border:1px solid var(--bad);border-radius:8px;padding:.55rem 1rem;color:var(--bad);
overflow-wrap:anywhere}.links{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.4rem}
.links li{margin:0}
"""
# Nothing but this page's own style is fetched or run, whatever text might get into it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
ENDED = {"FINISHED": "good", "FAILED": "bad", "KILLED": "warn", "RUNNING": ""}


def document(title: str, place: str, parts: Sequence[str], at: float) -> str:
    """The page around its parts, which are HTML; `title` and `place` are text, `at` is when what it says was so."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}"><title>Convoy · {_text(title)}</title>'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body>'
        f"<h1>Convoy · {_text(title)}</h1><p>{_text(place)} · as of {datetime.fromtimestamp(at):%H:%M:%S}</p>"
        f"{''.join(parts)}</body></html>"
    )


def state(found: Overview, mlflow: str) -> list[str]:
    """The parts of the page that say how things are; `mlflow` is the address of MLflow's pages."""
    return [
        _section("Models", _part(found.models, lambda each: _models(each, mlflow))),
        _section("Waiting for approval", _part(found.waiting, _waiting)),
        _section("Schedule", _part(found.plans, _plans)),
        _section("Runs", _part(found.runs, lambda each: _runs(each, mlflow))),
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


def _models(standings: Sequence[Standing], mlflow: str) -> str:
    """A row a version that bears aliases: what it is called, its figure, and the run that made it."""
    from components.registry.memory import addresses
    from flows.pages import status

    if not standings:
        return "<p>No model is registered yet: <code>convoy run</code> makes one.</p>"
    by_version: dict[tuple[str, int], list[Standing]] = {}
    for each in standings:
        by_version.setdefault((each.model, each.version), []).append(each)
    rows = []
    for (model, version), these in by_version.items():
        tags = " ".join(f'<span class="tag {_class(each.alias)}">{_text(each.alias)}</span>' for each in these)
        address = f"{mlflow}/{addresses.version(model, version)}"
        rows.append(
            f'<a class="to" href="{_text(address)}"><b>{_text(model)}</b> version {version}</a>'
            f"<span>{tags}</span><span>{_text(status.figure(these[0]))}</span>"
            f"<small>{_text(status.latency(these[0]) or '')}</small>{_broken(these[0].problem)}"
        )
    return _rows(rows)


def _broken(problem: str | None) -> str:
    return f'<span class="bad">{_text(problem)}</span>' if problem else ""


def _waiting(wants: Sequence[Waiting]) -> str:
    if not wants:
        return "<p>Nothing waits for approval.</p>"
    return _rows([f"<span>{_text(e.what)}</span><small>{_text(e.since)}</small>{_how(e.how)}" for e in wants])


def _how(how: str) -> str:
    """A command in the type of commands; words, and the id of a flow run, as they are."""
    command, _, rest = how.partition(" (")
    if not command.startswith("convoy "):
        return f"<span>{_text(how)}</span>"
    return f"<span><code>{_text(command)}</code>{_text(f' ({rest}') if rest else ''}</span>"


def _runs(runs: Sequence[Line], mlflow: str) -> str:
    """A row a line, newest first; one that has no process any more is shown as dead, whatever MLflow still says."""
    from components.registry.memory import addresses
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
        address = f"{mlflow}/{addresses.run(run.experiment_id, run.id)}"
        rows.append(
            f'<a class="to" href="{_text(address)}">{_text(run.id[:8])}</a><span>{_text(run.recipe)}</span>'
            f"<small>{_text(run.model)}</small><small>{_when(run.started)}, {_took(run.seconds)}</small>"
            f'<span>{_text(figure)}</span><span class="{style}">{_text(ended)}</span>'
        )
    return _rows(rows)


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
            f"<span>{_when(at)}</span><span>{_text(plan.flow)}</span>"
            f'<span class="{style}">{_text(told)} · {_text(plan.state.lower())}</span>'
        )
    return _rows(rows)


def _disk(disk: Disk) -> str:
    if disk.places is None:
        return f"<p>Being measured. {size(disk.free)} are free.</p>"
    told = " · ".join(f"<b>{_text(name)}</b> {size(used)}" for name, used in disk.places.items())
    return f"<p>{told} · {size(disk.free)} free. <code>convoy clean</code> shows what can go.</p>"


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


def _rows(rows: Sequence[str]) -> str:
    items = "".join(f'<li class="row">{row}</li>' for row in rows)
    return f"<ul>{items}</ul>"


def _class(alias: str) -> str:
    return "production" if alias == "production" else ""


def _text(text: object) -> str:
    return texts.html(text)


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M}"


def _took(seconds: float | None) -> str:
    return "running" if seconds is None else _span(seconds)


def _span(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
