"""What every command shares: its project, its exit codes, and errors in words rather than a page of stack."""

from __future__ import annotations

import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console

from components.config import ConfigurationError, load, recipes
from flows.progress import Display
from flows.project import Project, enter, find

ERRORS = "errors.log"  # the stories of commands that have no log of their own
LITTLE_ROOM = 50 * 2**20  # bytes: a line writes about that much besides its data
WRONG, REJECTED, FAILED, INTERRUPTED = 2, 3, 1, 130  # exit codes
GOES_ON = "interrupted; the same command goes on from the last finished step"


def project() -> Project:
    """The project that the command was called in; ends the command where there is none."""
    try:
        found = find()
        enter(found)
    except ConfigurationError as error:
        stop(Console(stderr=True), str(error), WRONG)
    return found


@contextmanager
def explained(console: Console, log: Path, interrupted: str = GOES_ON) -> Iterator[None]:
    """An error in the engines' or the components' words, and where the rest is; never a page of stack."""
    try:
        yield
    except KeyboardInterrupt:
        stop(console, interrupted, INTERRUPTED)
    except (typer.Exit, SystemExit):
        raise
    except BaseException as error:
        with suppress(OSError), log.open("a", encoding="utf-8") as story:  # on a full disk what follows says it all
            traceback.print_exc(file=story)
        text = f"{error or type(error).__name__}\n  the whole story: {short(log)}"
        stop(console, text + _full_disk(log), FAILED)


@contextmanager
def displayed(project: Project, console: Console) -> Iterator[Display]:
    """What a flow needs around it: a lease, a Prefect server, and somebody to tell how far it is."""
    from flows import startup

    with startup.leased(project) as lease, startup.prefect_server(project, lease) as server:
        with console.status("starting Prefect's temporary server"):
            import flows.line  # noqa: F401 — its engines, while the server starts

            if server is not None:
                server.wait()
        with Display(console) as display:
            yield display


def checked(project: Project, recipe: str, overrides: list[str]) -> None:
    """End with every mistake of the configuration before anything is started; advice is given and ends nothing."""
    with wrong_is_told(project):
        load(project.root, None if recipe == "default" else recipe, overrides)
        from flows.check import advice, complete

        for line in advice(complete(project, recipe, overrides)):
            Console(stderr=True).print(f"[yellow]![/] {line}", highlight=False, soft_wrap=True)


@contextmanager
def wrong_is_told(project: Project) -> Iterator[None]:
    try:
        yield
    except ConfigurationError as error:
        mistakes = str(error).splitlines()
        known = f"recipes: default, {', '.join(recipes(project.root))}"
        text = "\n".join(
            ["the configuration is wrong; nothing was started", *(f"  {line}" for line in mistakes), known]
        )
        stop(Console(stderr=True), text, WRONG)


def stop(console: Console, text: str, code: int) -> NoReturn:
    """Say why, and end the command."""
    console.print("[bold red]✗[/]", end=" ")
    console.print(text, highlight=False, markup=False)
    sys.exit(code)


def short(path: Path) -> str:
    """Relative to the current folder where it lies in it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _full_disk(log: Path) -> str:
    """A word on the disk where it is full: databases and servers say so in words that nobody understands."""
    free = shutil.disk_usage(log.parent).free
    if free > LITTLE_ROOM:
        return ""
    return f"\n  the disk is full: {free // 2**20} MB are free below {log.parent}; make room and start again"
