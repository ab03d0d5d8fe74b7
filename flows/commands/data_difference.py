"""What differs between two versions of a data set, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from components.data.versions.difference import Difference, Move, Tally
from components.inputs import registry as inputs

MOST = 14  # rows of a table


def difference_page(difference: Difference, asked: tuple[str, str], ids: int) -> Group:
    """Totals, then by class, split and group, then the first samples by name."""
    head = Text.assemble(
        (difference.name, "bold"),
        f"  {asked[0]} {difference.before.digest[:12]} → {asked[1]} {difference.after.digest[:12]}",
    )
    if difference.same:
        return Group(head, Text("the same bytes"))
    before, after = difference.samples
    counts = difference.counts
    what = ", ".join(f"{counts[change]:,} {change}" for change in difference.changes if counts[change])
    changed = f"{counts['changed']:,} changed" + (f" ({what})" if what else "")
    total = f"{before:,} → {after:,} samples: {counts['added']:,} added, {counts['removed']:,} removed, {changed}"
    parts: list[Any] = [head, Text(total), *(Text(f"! {note}", style="yellow") for note in difference.notes)]
    for by in dict.fromkeys(tally.by for tally in difference.tallies):
        parts.append(_tallies(by, [tally for tally in difference.tallies if tally.by == by]))
    if difference.moves:
        parts.append(_moves(difference.moves))
    rows = difference.rows.slice(0, ids).to_pylist()
    parts += [Text(), *(_sample(row, difference.changes[0]) for row in rows)] if rows else []
    if len(difference.rows) > len(rows):
        parts.append(Text(f"… {len(difference.rows) - len(rows):,} more samples: --ids N, or --json", style="dim"))
    return Group(*parts)


def difference_json(difference: Difference) -> dict[str, Any]:
    """Everything, as plain values."""
    return {
        "name": difference.name,
        "before": asdict(difference.before),
        "after": asdict(difference.after),
        "same": difference.same,
        "samples": {"before": difference.samples[0], "after": difference.samples[1]},
        "counts": difference.counts,
        "tallies": [_plain(tally) for tally in difference.tallies],
        "moves": [asdict(move) for move in difference.moves],
        "notes": list(difference.notes),
        "rows": difference.rows.to_pylist(),
    }


def _plain(tally: Tally) -> dict[str, Any]:
    """With what has changed beside what was added and removed."""
    return {key: value for key, value in asdict(tally).items() if key != "changed"} | tally.changed


def _weight(tally: Tally) -> int:
    """Samples that are others now, by their input or their label."""
    others = sum(count for change, count in tally.changed.items() if change not in ("split", "group"))
    return tally.added + tally.removed + others


def _tallies(by: str, tallies: Sequence[Tally]) -> Table:
    shown = sorted(tallies, key=_weight, reverse=True)[:MOST]
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(by, overflow="fold")
    kinds = [change for change in tallies[0].changed if any(tally.changed[change] for tally in tallies)]
    for heading in ("before", "after", "added", "removed", *kinds):
        table.add_column(heading, justify="right", no_wrap=True)
    for tally in shown:
        row = [f"{tally.before:,}", f"{tally.after:,}"]
        row += [_signed("+", tally.added), _signed("−", tally.removed)]
        table.add_row(Text(tally.value), *row, *(_signed("", tally.changed[change]) for change in kinds))
    if len(tallies) > len(shown):
        table.add_row(Text(f"… {len(tallies) - len(shown):,} more", style="dim"))
    return table


def _signed(sign: str, count: int) -> str:
    return f"{sign}{count:,}" if count else "–"


def _moves(moves: Sequence[Move]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("moved", "from", "to"):
        table.add_column(heading, overflow="fold")
    table.add_column("samples", justify="right")
    for move in moves[:MOST]:
        table.add_row(move.by, Text(move.before), Text(move.after), f"{move.samples:,}")
    if len(moves) > MOST:
        table.add_row(Text(f"… {len(moves) - MOST:,} more", style="dim"))
    return table


def _sample(row: Mapping[str, Any], given: str) -> Text:
    mark, style = {"added": ("+", "green"), "removed": ("−", "red")}.get(row["change"], ("~", "yellow"))
    told = []
    for column in (name.removesuffix("_before") for name in row if name.endswith("_before")):
        old, new = row[f"{column}_before"], row[f"{column}_after"]
        if row["change"] == "changed" and old != new:
            told.append(f"{column} {old or 'none'} → {new or 'none'}")
        elif row["change"] != "changed" and column in ("class", "split") and (old or new):
            told.append(str(old or new))
    if row[given]:
        told.append(f"other {inputs.get(given).content}")
    return Text.assemble((f"  {mark} ", style), str(row["id"]), (f"  {', '.join(told)}", "dim"), overflow="fold")
