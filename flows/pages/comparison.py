"""What `convoy compare` says: what differs between two runs, and nothing else."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from components.registry.comparing import TIMED, Compared, Comparison
from flows.pages import tables
from flows.pages.status import outcome


def page(found: Comparison) -> Group:
    """What differs between two runs: nothing that is the same is told, but what times were taken on."""
    head = [line.id[:8] for line in (found.one, found.other)]
    parts: list[object] = []
    for title, differences in (("where they came from", found.origins), ("parameters", found.params)):
        if differences:
            table = tables.Listing(title, "", *head)
            for each in differences:
                table.add_row(each.what, *(tables.short(value) for value in (each.one, each.other)))
            parts.append(table)
    if found.steps:
        parts.append(tables.Words(f"done anew in one of them: {', '.join(each.what for each in found.steps)}\n"))
    if found.figures:
        table = tables.Listing("metrics of the deployable artifact", "", *head, "difference", right=["difference"])
        for row in found.figures:
            table.add_row(row.what, tables.figure(row.one), tables.figure(row.other), _change(row))
        parts.append(table)
        parts += _timed_on(found, head)
    if found.problems:
        parts += [tables.Words(f"! {problem}\n", "yellow") for problem in found.problems]
    if not parts:
        parts.append(tables.Words("nothing differs: neither data, parameters, code nor libraries, nor their outcomes"))
    parts.append(Text(f"outcomes: {outcome(found.one)} · {outcome(found.other)}"))
    return Group(*parts)  # type: ignore[arg-type]


def _change(row: Compared) -> str:
    if not row.comparable:
        return "other processor"
    change = row.other[0] - row.one[0]
    return f"{'+' if change > 0 else ''}{tables.number(change)}"


def _timed_on(found: Comparison, head: list[str]) -> list[object]:
    """What the times in the table were taken on; where it is two kinds, that they cannot be compared."""
    if not any(row.what.rpartition(".")[2] in TIMED for row in found.figures):
        return []
    one, other = (each or tables.UNKNOWN for each in found.processors)
    if one == other:
        return [tables.Words(f"timed on {one}\n")]
    table = tables.Listing("timed on", "run", "processor")
    for run, processor in zip(head, (one, other), strict=True):
        table.add_row(run, processor)
    told = tables.Words("! times of two kinds of processor cannot be compared\n", "yellow")
    return [table] if all(row.comparable for row in found.figures) else [table, told]
