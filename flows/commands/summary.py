"""What a person reads when the pipeline has ended: the chain in one table, and where to look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from components import machine, offered, texts
from components.artifacts import Evidence
from flows.base.project import LOOPBACK, MLFLOW_PORT, PREFECT_PORT
from flows.pages.tables import Words

LONGEST_REASON = 2000  # characters: nothing of what was said is left out

if TYPE_CHECKING:
    from components.registry.ledger import Ledger
    from components.registry.verification import Verified
    from flows.course import Outcome


def table(outcome: Outcome, width: int = 120) -> Group:
    """Every model with its metrics and costs, the trade-off of each, and every gate with its verdict."""
    from components.evaluate import chain
    from components.tasks import registry as tasks

    title = f"{outcome.model} on {outcome.data.card.name} {outcome.data.digest[:12]}, test split"
    metric = tasks.of(outcome.data.card).spec.primary
    processor = outcome.assessment.evidence.processor
    on = f" on {machine.said(processor)}" if processor else ""
    title_of_changes = f"trade-offs, one input at a time{on}"
    changes = Table(title=title_of_changes, title_justify="left", box=None, padding=(0, 2, 0, 1))
    for change in chain.changes(outcome.assessment.stages, metric):
        changes.add_row(change.stage, Text(f"of {change.of}", style="dim"), change.words)
    changes.show_header = False
    gates = Table(title="gates", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("gate", "verdict", "reason"):
        gates.add_column(heading)
    for verdict in outcome.decision.verdicts:
        said = Text("passed", style="green") if verdict.passed else Text("failed", style="red")
        gates.add_row(verdict.gate, said, verdict.reason)
    return Group(*stage_tables(outcome.assessment.stages, title, width), changes, "", gates)


def stage_tables(stages: Mapping[str, Evidence], title: str, width: int) -> list[Table]:
    """The chain in one table; in a narrow terminal what it can do and what it costs, in as many as it takes."""
    from components.evaluate import chain

    rows = chain.rows(stages)
    columns = [column for column in rows[0] if column]
    room = {column: 3 + max(len(column), *(len(row[column]) for row in rows)) for column in ("", *columns)}
    parts: list[list[str]] = [columns]
    if sum(room.values()) > width:
        costs = [column for column in columns if column in chain.COSTS]
        parts = [*_packed([c for c in columns if c not in costs], room, width), *_packed(costs, room, width)]
    tables = []
    for number, part in enumerate(parts):
        table = Table(title=None if number else title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("", *part):
            table.add_column(column, justify="right" if column else "left", no_wrap=True)
        for row in rows:
            table.add_row(row[""], *(row[column] for column in part))
        tables.append(table)
    return tables


def _packed(columns: Sequence[str], room: Mapping[str, int], width: int) -> list[list[str]]:
    """The columns in their order, as many beside the names as there is room for."""
    parts: list[list[str]] = []
    used = 0
    for column in columns:
        if not parts or used + room[column] > width:
            parts.append([])
            used = room[""]
        parts[-1].append(column)
        used += room[column]
    return parts


def where_to_look(outcome: Outcome, seconds: float) -> Text:
    """The alias that moved, and the addresses."""
    decision = outcome.decision
    asked = any(verdict.gate == "approvals" for verdict in decision.verdicts)
    if decision.alias:
        head, style = f"{decision.name} version {decision.version} is {decision.alias}", "bold green"
    else:
        head, style = f"{decision.name} version {decision.version} failed the gates", "bold red"
    name, alias = decision.name, decision.alias
    served = f"models:/{name}@{alias or 'candidate'}"
    uri = "sqlite:///.convoy/mlflow.db"  # from the project's folder
    why = "" if decision.alias else f": {decision.reason}"
    nothing = "Nothing new: every step was cached." if outcome.unchanged else ""
    lines = "\n".join(
        [
            f"{why} after {seconds:.0f} s. {nothing}",
            f"  {outcome.compared.said()}",
            f"  look     {offered.command('convoy', 'ui')}, then",
            f"           MLflow   http://{LOOPBACK}:{MLFLOW_PORT} (run {outcome.run_id})",
            f"           Prefect  http://{LOOPBACK}:{PREFECT_PORT}",
            f"  ask      {offered.mlflow(uri, 'models', 'serve', '-m', served, '--env-manager', 'local')}",
            *([f"  approve  {offered.command('convoy', 'approve', name, '--reason', '…')}"] if alias and asked else []),
            *([f"  promote  {offered.command('convoy', 'promote', name, '--to', 'production')}"] if alias else []),
        ]
    )
    return Text.assemble((head, style), lines)


def verified_lines(found: Verified) -> Group:
    """Whether a ledger is what was written, and what is not."""
    count = f"{found.records} {'decision' if found.records == 1 else 'decisions'}"
    before = f", {found.earlier} more from before there was a chain" if found.earlier else ""
    head = f"{found.name}: {count} in the chain{before}; " + ("all as written" if found.whole else "not as written:")
    lines = [Words(head)]
    lines += [Words(f"! {each.says}", "yellow") for each in found.findings]
    lines += [Words(f"acknowledged: {each.says}", "dim") for each in found.acknowledged]
    if not found.whole:
        say = offered.command("convoy", "ledger", found.name, "--acknowledge", "--reason", "…")
        lines += [Words("Nothing is promoted until a person has looked into it and says so:", command=say), Words("")]
    return Group(*lines)


def ledger_tables(told: Ledger, found: Verified) -> Group:
    """Who decided what, when and why, and which version was what after it; and what shows that it was changed."""
    until = f" up to {told.at}" if told.at else ""
    decisions = _rows(f"decisions about {told.name}{until} (UTC)")
    for number, each in enumerate(told.decisions):
        mark = " !" if number in told.problems else ""
        moved = f" → {each.alias}" if each.alias else ""
        evidence = f", on evidence {each.evidence[:8]}" if each.evidence else ""
        head = f"{each.action}{mark} version {each.version}{moved} · {texts.shown(each.by)}{evidence}"
        decisions.add_row(_minute(each.at), Text(f"{head}\n{texts.shown(each.reason, LONGEST_REASON)}"))
    standing = _rows(f"{told.name}{f' at {told.at}' if told.at else ' now'}")
    for alias in ("production", "previous", "staging"):
        held = told.aliases.get(alias)
        if held is None:
            standing.add_row(alias, Text("–"))
            continue
        why = held.decision
        head = f"version {held.version} since {_minute(why.at)} · {texts.shown(why.by)}"
        standing.add_row(alias, Text(f"{head}\n{why.action}: {texts.shown(why.reason, LONGEST_REASON)}"))
    wrong = [*told.problems.values(), *told.lost]
    notes = [Words(f"! {each}\n", "yellow") for each in wrong]
    if wrong:
        notes.append(
            Words("The other values of such a decision are its run's tags in MLflow, which are still there.\n")
        )
    changed = [] if found.whole else verified_lines(found).renderables
    return Group(decisions, *notes, *changed, standing)


def _rows(title: str) -> Table:
    """What a row is about, and what is said of it: a line of its own for words, which may be long."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    return table


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")
