"""`convoy doctor`: what is missing before a run starts, said in a second or two. Imports no engine for it."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from components.config import ConfigurationError, load
from flows.base.project import Project, find
from flows.base.screen import Screen, say_json
from flows.commands import completion, terminal

if TYPE_CHECKING:
    from components.config import Recipe
    from flows.preflight import Finding

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}
NAME = 20  # characters of what was looked at


def doctor(
    recipe: Annotated[
        str,
        typer.Option("--recipe", "-r", help="Also check what this recipe needs.", autocompletion=completion.recipes),
    ] = "default",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", "-S", help="Override one key of `line:`, as KEY=VALUE. May be repeated."),
    ] = None,
    remote: Annotated[bool, typer.Option("--remote", help="Also contact a DVC remote across the network.")] = False,
    store: Annotated[
        bool, typer.Option("--store", help="Verify the whole store: every version, decision and finished step.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on the standard output.")] = False,
) -> None:
    """Check what a run needs: disk, memory, ports, libraries, store, Prefect, Ray, remote, clock. Starts nothing."""
    try:
        project = find()
    except ConfigurationError as error:
        terminal.stop(Screen(stderr=True), str(error), terminal.WRONG)
    from flows import preflight

    found: list[Finding] = []
    settings = _configured(project, recipe, overrides or [], found)
    found += preflight.check(project, settings, ask_remote=remote)
    if store:
        found += _of_store(project)
    if json:
        say_json([dataclasses.asdict(each) for each in found])
    else:
        console = Screen()
        for each in found:
            console.print(line(each), soft_wrap=True)
        console.print(_sum(found), soft_wrap=True)
    if any(each.level == "error" for each in found):
        sys.exit(terminal.FOUND)


def line(finding: Finding) -> Text:
    """One finding, as the terminal shows it. Its words are text: no markup is read in them."""
    from flows.preflight import MARKS

    said = Text()
    said.append(MARKS[finding.level], style=STYLES[finding.level])
    said.append(f" {finding.check:<{NAME}} ", style="bold")
    said.append(finding.found)
    if finding.way:
        said.append(f"  → {finding.way}", style="cyan")
    return said


def _configured(project: Project, recipe: str, overrides: list[str], found: list[Finding]) -> Recipe | None:
    """The recipe; where the configuration is wrong, a finding in its place, and the rest is looked at without it."""
    from flows.preflight import Finding

    try:
        settings = load(project.root, None if recipe == "default" else recipe, overrides)
    except ConfigurationError as error:
        found += [
            Finding("error", "configuration", each, "correct params.yaml or the recipe") for each in _lines(error)
        ]
        return None
    found.append(Finding("ok", "configuration", f"recipe {recipe}, data set {settings.line.dataset}"))
    return settings


def _lines(error: ConfigurationError) -> list[str]:
    return [each.strip() for each in str(error).splitlines() if each.strip()]


def _of_store(project: Project) -> list[Finding]:
    """What is damaged or missing in the store, whole: takes as long as reading all of it."""
    from components.registry import inspection
    from components.registry.memory import tracking
    from flows.preflight import Finding

    with Screen(stderr=True).status("looking through the store …") as status:
        problems = inspection.check_store(
            tracking.connect(project.root),
            lambda what, done, total: status.update(f"{what}: {done} of {total} …"),
        )
    if not problems:
        return [Finding("ok", "store", "every version, decision and finished step has its files, as they were written")]
    return [
        # What is damaged of a step is done again by the next run: nobody has to do anything.
        Finding("warning" if each.kind == "step" else "error", "store", f"{each.name}: {each.problem}", each.way_out)
        for each in problems
    ]


def _sum(found: list[Finding]) -> Text:
    errors, warnings = (sum(each.level == level for each in found) for level in ("error", "warning"))
    if errors:
        return Text(f"{errors} to fix before a run can start, {warnings} to know of", style="bold red")
    if warnings:
        return Text(f"a run can start; {warnings} to know of", style="yellow")
    return Text("a run can start", style="green")
