"""`convoy init`: a project of one's own, outside of a clone. Imports no engine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from components import offered, texts
from components.config import ConfigurationError
from flows.base.screen import Screen, say_json
from flows.commands import terminal


def init(
    folder: Annotated[Path, typer.Argument(help="New, or one without a project in it; `.` for this one.")],
    git: Annotated[
        bool, typer.Option(help="Make a git repository for it where it lies in none; nothing is committed.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="JSON on the standard output.")] = False,
) -> None:
    """Make a project: params.yaml, dvc.yaml, a first recipe, DVC's settings. What is there already is not touched."""
    from flows.projects.starting import Started, start

    try:
        started: Started = start(folder, git=git)
    except ConfigurationError as error:
        terminal.stop(Screen(stderr=True), str(error), terminal.WRONG)
    ways = [f"cd {texts.shell(str(folder))}", offered.command("convoy", "run", "-r", "digits")]
    if json:
        told = {
            "project": str(started.root),
            "written": started.written,
            "kept": started.kept,
            "repository": None if started.repository is None else str(started.repository),
            "repository_is_new": started.new,
            "next": ways,
        }
        say_json(told)
        return
    console = Screen()
    said = [("✓", "green", f"{folder} is a project: {', '.join(started.written)}")]
    if started.new:
        said.append(("✓", "green", "it is a git repository, in which nothing is committed yet"))
    elif started.repository is not None:
        said.append(("✓", "green", f"the git repository {started.repository} is left as it is"))
    if started.kept:
        said.append(("!", "yellow", f"{' and '.join(started.kept)}: there already, and left as they are"))
    if started.unignored:
        said.append(("!", "yellow", f".gitignore does not have {' and '.join(started.unignored)}, which Convoy's has"))
    for mark, style, text in said:
        console.print(Text.assemble((mark, style), f" {text}"), soft_wrap=True)
    console.print(f"next: {' && '.join(ways)}", soft_wrap=True)
    console.print(f"your own data: {offered.command('convoy', 'data', 'check', '…')}", soft_wrap=True)
