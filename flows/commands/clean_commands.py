"""`convoy clean`: what can go, how much that is and what it costs; asks, and does it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flows.base.project import Project
from flows.base.screen import Screen, say_json
from flows.commands import terminal

if TYPE_CHECKING:
    from flows.cleaning import Removable, Survey

NAMED = 8  # things of a kind that are listed


def clean(
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Of this kind alone: leftovers, restored, logs, decoded, work, downloads, steps or deleted; "
            "may be repeated."
        ),
    ] = None,
    older_than: Annotated[
        float,
        typer.Option(
            help="Only what was not used for so many days; never what was used within the last hour.", min=0.0
        ),
    ] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on the standard output; with --dry-run or --yes.")] = False,
) -> None:
    """Free disk space: list what can be removed and what that costs, ask, and remove it.

    Never what a registered version, an alias or the ledger stands on, and nothing that a run under way uses.
    """
    if json and not (dry_run or yes):
        terminal.stop(Screen(stderr=True), "--json: nobody is asked; say --dry-run or --yes", terminal.WRONG)
    project = terminal.project()
    console = Screen(stderr=json)
    with terminal.explained(Screen(stderr=True), project.logs / terminal.ERRORS, "interrupted; clean again any time"):
        from flows import cleaning
        from flows.cleaning import removing

        try:
            found = cleaning.survey(project, only or None, older_than)
        except ValueError as error:
            terminal.stop(Screen(stderr=True), str(error), terminal.WRONG)
        _show(console, project, found, every=dry_run)
        if dry_run or not found.removable:
            if json:
                say_json(_value(found))
            return
        if not yes and not typer.confirm(f"let {_size(found.removable)} go?"):
            console.print("nothing was removed")
            return
        removed = removing.remove(project, found.removable)
        console.print(f"{_bytes(removed.size)} in {removed.count:,} things are gone", style="green", highlight=False)
        for each in removed.left:
            console.print(Text(f"! {each}"), style="yellow", soft_wrap=True)
        if json:
            say_json(
                {**_value(found), "removed": {"things": removed.count, "bytes": removed.size, "left": removed.left}}
            )
        if removed.left:
            sys.exit(terminal.FAILED)


def _value(found: Survey) -> dict[str, Any]:
    things = [
        {"kind": each.kind, "what": each.what, "bytes": each.size, "seconds": each.seconds} for each in found.removable
    ]
    return {"removable": things, "stays": found.stays, "removed": None}


def _show(console: Console, project: Project, found: Survey, *, every: bool) -> None:
    from flows.cleaning import KINDS

    if found.removable:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for heading in ("kind", "things", "size", "what it is", "what it costs"):
            table.add_column(heading, overflow="fold", justify="right" if heading in ("things", "size") else "left")
        for name, kind in KINDS.items():
            these = [each for each in found.removable if each.kind == name]
            if these:
                table.add_row(name, f"{len(these):,}", _size(these), kind.what, kind.cost + _again(these))
        console.print(table)
        if every:
            _list(console, found.removable)
    else:
        console.print("nothing can go: what is here is used, needed, or not old enough")
    for each in found.stays:
        console.print(Text(f"stays: {each}"), style="dim", soft_wrap=True)
    for text in _untouched(project):
        console.print(Text(text), style="dim", soft_wrap=True)


def _list(console: Console, removable: Sequence[Removable]) -> None:
    for kind in dict.fromkeys(each.kind for each in removable):
        these = sorted((each for each in removable if each.kind == kind), key=lambda each: -each.size)
        for each in these[:NAMED]:
            console.print(Text(f"  {kind:<10} {_bytes(each.size):>9}  {each.what}"), soft_wrap=True)
        if len(these) > NAMED:
            console.print(f"  {kind:<10} and {len(these) - NAMED:,} more, smaller ones", highlight=False)


def _untouched(project: Project) -> list[str]:
    """What is large and stays, so that nobody wonders."""
    from flows.cleaning.measuring import use

    said = []
    cache = use(project.root / ".dvc" / "cache").size
    if cache:
        # `dvc gc --workspace` would take every version but the present one; and what a run worked on without a commit,
        # no option of `dvc gc` keeps.
        said.append(
            f"DVC's cache, {_bytes(cache)}, stays: `convoy data restore` and `convoy backfill` take past versions from "
            "it, and `dvc gc` does not know which of them a run worked on"
        )
    if kept := use(project.state / "mlartifacts").size:
        said.append(f"runs' files are {_bytes(kept)} now; those that versions and decisions stand on stay")
    return said


def _again(these: Sequence[Removable]) -> str:
    seconds = sum(each.seconds for each in these)
    return f" ({seconds / 60:,.0f} min of work)" if seconds >= 60 else f" ({seconds:.0f} s of work)" if seconds else ""


def _size(these: Sequence[Removable]) -> str:
    return _bytes(sum(each.size for each in these))


def _bytes(count: float) -> str:
    from flows.preflight.finding import size

    return size(count)
