"""What `convoy show` says of one run: its steps, what each gate found, and why its version went where it did."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from components import offered
from components.artifacts import Decision, Verdict
from components.registry.lines import Line
from flows.pages import status, tables

PASSED, FAILED = ("passed", "green"), ("failed", "bold red")


def page(line: Line, decision: Decision | None) -> Group:
    """The failed gates come first. `decision` is None where the run ended before its version was judged."""
    data = line.origins.get("data set", "")
    took = "" if line.seconds is None else f", {line.seconds:,.0f} s"
    parts: list[object] = [
        tables.Words(f"run {line.id[:8]} of {line.model}: recipe {line.recipe}{f', data set {data}' if data else ''}"),
        Text(f"{line.status.lower()}{took}, {status.outcome(line)}\n", style=status.STYLES.get(line.status, "")),
    ]
    if line.problem:
        parts.append(tables.Words(f"! {line.problem}\n", "yellow"))
    if line.steps:
        parts.append(tables.Words(f"done in this run: {', '.join(line.ran) or 'nothing'}"))
        parts.append(tables.Words(f"cached: {', '.join(line.reused) or 'nothing'}\n"))
    if decision is None:
        parts.append(tables.Words("no gate has judged it: it ended before there was a version to be judged"))
        return Group(*parts)  # type: ignore[arg-type]
    failed = [verdict for verdict in decision.verdicts if not verdict.passed]
    parts.append(_gates([*failed, *(verdict for verdict in decision.verdicts if verdict.passed)]))
    if decision.production is not None:
        parts.append(tables.Words(f"compared with version {decision.production}, which was in production then"))
    if decision.test_evaluations is not None:
        parts.append(Text(f"evaluation {decision.test_evaluations} on this test split"))
    parts += _next(line, failed)
    return Group(*parts)  # type: ignore[arg-type]


def _gates(verdicts: list[Verdict]) -> object:
    table = tables.Listing("gates", "gate", "verdict", "found", "limit", "reason", right=["limit"])
    for verdict in verdicts:
        word, style = PASSED if verdict.passed else FAILED
        found = "–" if verdict.value is None else tables.figure((verdict.value, verdict.low, verdict.high))
        limit = "–" if verdict.limit is None else tables.number(verdict.limit)
        table.add_row(Text(verdict.gate), Text(word, style=style), found, limit, Text(verdict.reason))
    return table


def _next(line: Line, failed: list[Verdict]) -> list[tables.Words]:
    report = offered.command("convoy", "open", line.id[:8], "--report")
    if not failed:
        return [tables.Words("\nthe report:", command=report)]
    keys = ", ".join(f"gates.{verdict.gate}" for verdict in failed)
    said = f"\nfailed {len(failed)} of the gates above. Where the version falls short, the report shows:"
    return [tables.Words(said, command=report), tables.Words(f"limits are yours to set in the recipe: {keys}")]
