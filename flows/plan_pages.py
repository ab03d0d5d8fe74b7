"""`convoy run --plan`: what a run would do, as lines on the terminal. Imports no engine until it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from flows.base.project import Project
from flows.base.screen import say_json
from flows.commands import terminal
from flows.run import order

if TYPE_CHECKING:
    from flows.run.context import Planned

MARKS = {"done": ("✓", "green"), "runs": ("●", "yellow"), "follows": ("○", "yellow"), "skipped": ("–", "dim")}
WIDTH = 16  # of the longest step's name, and a blank


TOLD = ("step", "does", "why", "run")  # of a step, to programs


def show(project: Project, recipe: str, overrides: list[str], fresh: list[str], *, json: bool = False) -> None:
    """Say of each step what becomes of it; ends the command where the configuration is wrong."""
    console = Console()
    with terminal.explained(Console(stderr=True), project.logs / terminal.ERRORS, "ended"):
        with terminal.wrong_is_told(project):
            from flows import plan as planning

            found = planning.plan(project, recipe, overrides, fresh)
        if json:
            say_json({"recipe": recipe, "steps": [{key: getattr(each, key) for key in TOLD} for each in found]})
            return
        for each in found:
            console.print(_line(each), soft_wrap=True)
        done = sum(each.does == "done" for each in found)
        todo = [each.step for each in found if each.does in ("runs", "follows")]
        said = f"{done} of {done + len(todo)} steps are done"
        if any(each.does == "follows" for each in found):
            said += "; one that follows is cached where what it stands on comes out as it was"
        console.print(said, highlight=False)


def checked(project: Project, fresh: list[str]) -> None:
    """End the command where a step is named that is none."""
    with terminal.wrong_is_told(project):
        order.named(fresh)


def _line(planned: Planned) -> Text:
    mark, style = MARKS[planned.does]
    about = f"run {planned.run[:8]}" if planned.run else planned.why
    return Text.assemble((mark, style), f" {planned.step:<{WIDTH}}{planned.does:<9}", (about, "dim"))
