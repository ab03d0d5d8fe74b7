"""What every command shares: its project, its exit codes, and errors in words rather than a page of stack."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TextIO

import typer
from rich.console import Console
from rich.text import Text

from components import texts
from components.config import ConfigurationError, load, recipes
from components.secrecy import scrub
from flows.base.project import Project, enter, find
from flows.base.screen import Screen, say_json

ERRORS = "errors.log"  # the stories of commands that have no log of their own
OURS = ("components.", "flows.")  # whose errors are sentences
LITTLE_ROOM = 50 * 2**20  # bytes: a run writes about that much besides its data
WRONG, FOUND, FAILED, INTERRUPTED = 2, 3, 1, 130  # exit codes; 3 is whatever is found, and is no failure of the command
OUTCOMES = {0: "staged", FOUND: "gates-failed", WRONG: "wrong", FAILED: "failed", INTERRUPTED: "interrupted"}
GOES_ON = "interrupted; the same command goes on from the last finished step"


def project() -> Project:
    """The project that the command was called in; ends the command where there is none."""
    try:
        found = find()
        enter(found)
    except ConfigurationError as error:
        stop(Screen(stderr=True), str(error), WRONG)
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
        if type(error).__module__.startswith(OURS) and error.__context__ is None:
            stop(console, str(error), FAILED)  # which says it all
        keep_story(error, log)
        text = f"{error or type(error).__name__}\n  the whole story: {short(log)}"
        stop(console, text + _full_disk(log), FAILED)


def keep_story(error: BaseException, log: Path) -> None:
    """Append an error's whole stack to a log."""
    with suppress(OSError), _appended(log) as story:  # on a full disk what follows says it all
        story.write(scrub("".join(traceback.format_exception(error))))


def _appended(log: Path) -> TextIO:
    """The file to append to, its folder made for this user alone; never the one at the other end of somebody's link."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(log, flags, 0o666), "a", encoding="utf-8")


def supervised(
    project: Project,
    kind: str,
    recipe: str,
    arguments: Mapping[str, Any],
    interrupted: str = GOES_ON,
    *,
    json: bool = False,
) -> NoReturn:
    """Have the work done by a process of its own (`supervision`), and end the command with what it came to.

    With `json` that is told on the standard output, and all that people read on the standard error.
    """
    from flows.processes.supervision import Command, supervise

    began = time.time()
    ready(project, recipe, arguments["overrides"])
    log = project.logs / f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    called = "convoy" if kind == "run" else f"convoy {kind}"
    console = Screen(stderr=json)
    console.print(Text.assemble((called, "bold"), f" {texts.shown(recipe)} ", (f"· log {short(log)}", "dim")))
    with explained(console, log, interrupted):
        command = Command(kind, {**arguments, "began": began}, f"{called} {recipe}", interrupted, log)
        code = supervise(project, command, console)
    if json:
        say_json(_came_to(recipe, code, time.time() - began, command.journal, log))
    sys.exit(code)


def _came_to(recipe: str, code: int, seconds: float, told: Path, log: Path) -> dict[str, Any]:
    """A run by what it has told: its outcome, its run in MLflow where it came to a decision, and its steps."""
    from flows.processes import journal

    records = list(journal.read(told)) if told.is_file() else []
    said = "".join(str(record["text"]) for record in records if record["kind"] == "said")
    run = re.search(r"\(run ([0-9a-f]{32})\)", said)
    steps = [
        {
            "step": record["step"],
            "state": "failed" if record["kind"] == "failed" else "cached" if record["cached"] else "done",
            "said": record["reason"] if record["kind"] == "failed" else record["summary"],
        }
        for record in records
        if record["kind"] in ("finished", "failed")
    ]
    return {
        "recipe": recipe,
        "outcome": OUTCOMES.get(code, "failed"),
        "exit_code": code,
        "run": run[1] if run else None,
        "seconds": round(seconds, 1),
        "steps": steps,
        "log": str(log),
    }


def ready(project: Project, recipe: str, overrides: list[str]) -> None:
    """End with what is wrong, or missing, before anything is started; what is only to be known is told.

    Without an engine: what a configuration has wrong besides, the worker says.
    """
    from flows import preflight
    from flows.commands.doctor_commands import line

    with wrong_is_told(project):
        settings = load(project.root, None if recipe == "default" else recipe, overrides)
    console = Screen(stderr=True)
    try:
        for each in preflight.required(project, settings):
            console.print(line(each), soft_wrap=True)
    except ConfigurationError as error:
        text = "\n".join(["nothing was started", *(f"  {each}" for each in str(error).splitlines())])
        stop(console, f"{text}\n  `convoy doctor` looks again", WRONG)


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """As a handler: the signal ends a command in the way that Ctrl-C does."""
    raise KeyboardInterrupt


@contextmanager
def wrong_is_told(project: Project, console: Console | None = None) -> Iterator[None]:
    """A mistake in the configuration ends the command with all of them, before anything is started."""
    try:
        yield
    except ConfigurationError as error:
        mistakes = str(error).splitlines()
        known = f"recipes: default, {', '.join(recipes(project.root))}"
        text = "\n".join(
            ["the configuration is wrong; nothing was started", *(f"  {line}" for line in mistakes), known]
        )
        stop(console or Screen(stderr=True), text, WRONG)


def stop(console: Console, text: str, code: int) -> NoReturn:
    """Say why, and end the command."""
    with suppress(OSError):  # of a terminal that was closed
        console.print("✗", style="bold red", end=" ")
        console.print(Text(texts.printable(scrub(text))), soft_wrap=True)  # what it offers is copied as it stands
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
