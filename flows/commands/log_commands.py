"""`convoy logs` and `stop`, and what `--detach` leaves running: for people whose terminal does not stay.

Imports no engine.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flows.base.project import Project
from flows.base.screen import Screen, say
from flows.commands import terminal
from flows.processes import journal
from flows.processes.progress import Display

if TYPE_CHECKING:
    from flows.processes.leases import Lease

KINDS = ("run", "tune", "backfill", "line")  # commands that are supervised, as their logs are called; `line`: earlier
START_SECONDS = 30.0  # until a detached command has begun; Python itself takes most of a second
COLOUR = re.compile(r"\x1b\[[\d;]*m")  # as engines print it, whatever they print to
STOP_SECONDS = 20.0  # until one that is asked to end is gone: it takes ten at most

RunArgument = Annotated[
    str, typer.Argument(help="`last`, or the first characters of a log's name as it stands in .convoy/logs.")
]


def logs(
    run: RunArgument = "last",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log until the run has ended.")] = False,
    engines: Annotated[bool, typer.Option("--engines", help="Show what the engines printed instead.")] = False,
) -> None:
    """Show the terminal output of a run, finished or under way. Ctrl-C ends the output, never the run."""
    project, console = terminal.project(), Screen()
    file = _named(project, run)
    if file is None:
        known = ", ".join(each.stem for each in _journals(project)[-5:]) or "none yet; `convoy run` makes one"
        terminal.stop(Screen(stderr=True), f"{run}: no log of that name; there are: {known}", terminal.FAILED)
    with terminal.explained(Screen(stderr=True), project.logs / terminal.ERRORS, "ended; the run goes on"):
        if engines:
            said = file.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
            say(COLOUR.sub("", said), nl=False)
            return
        with Display(console) as display:
            code = None
            for record in _followed(project, file) if follow else journal.read(file):
                code = int(record["code"]) if record["kind"] == "ended" else code
                journal.show(record, display, console)
        if code is None:
            _unfinished(project, file, console)
        elif follow:
            raise typer.Exit(code)


def stop(
    process: Annotated[int | None, typer.Argument(help="Process id, where several runs are under way.")] = None,
) -> None:
    """Stop a run, as Ctrl-C in its terminal does. The same command resumes it later."""
    project, console = terminal.project(), Screen(stderr=True)
    under_way = {int(lease.content["pid"]): lease for lease in _under_way(project)}
    if process is not None:
        under_way = {number: lease for number, lease in under_way.items() if number == process}
    if len(under_way) != 1:
        which = ", ".join(f"{lease.content['command']} (process {number})" for number, lease in under_way.items())
        told = f"expected the number of one of them: {which}" if which else "nothing of this project is under way here"
        terminal.stop(console, told, terminal.FAILED)
    ((number, lease),) = under_way.items()
    os.kill(number, signal.SIGTERM)
    from components import processes

    limit = time.monotonic() + STOP_SECONDS
    while processes.alive(lease.content):
        if time.monotonic() > limit:
            terminal.stop(console, f"process {number} has not ended within {STOP_SECONDS:.0f} s", terminal.FAILED)
        time.sleep(0.1)
    say(f"{lease.content['command']} was ended; the same command goes on from the last finished step")


def detached(project: Project, arguments: Sequence[str]) -> None:
    """Start a command that outlives this terminal, and say how to see and end it."""
    printed = project.logs / f"detached-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    environment = {**os.environ, "CONVOY_ROOT": str(project.root)}
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    limit = time.monotonic() + START_SECONDS
    while not any(lease.content["pid"] == process.pid for lease in _under_way(project)):
        if process.poll() is not None or time.monotonic() > limit:
            said = printed.read_text(encoding="utf-8", errors="replace").strip()
            terminal.stop(Screen(stderr=True), f"it did not begin:\n{said}", process.poll() or terminal.FAILED)
        time.sleep(0.1)
    say(f"under way as process {process.pid}")
    say("  see it   convoy logs -f")
    say(f"  end it   convoy stop {process.pid}")


def _followed(project: Project, file: Path) -> Iterator[journal.Record]:
    """The records that there are and those that come, until the last, or until nobody is left to write one."""
    rest = b""
    with file.open("rb") as lines:
        while True:
            living = _lease(project, file) is not None  # asked first: what it has written before its end is read
            heard = lines.read()
            *whole, rest = (rest + heard).split(b"\n")
            for line in whole:
                if (record := journal.parsed(line)) is not None:
                    yield record
                    if record["kind"] == "ended":
                        return
            if not living:
                return
            if not heard:
                time.sleep(0.2)


def _unfinished(project: Project, file: Path, console: Console) -> None:
    """Say what has become of a run whose log does not say it."""
    lease = _lease(project, file)
    if lease is not None:
        console.print(f"it is under way (process {lease.content['pid']}); -f goes on showing", highlight=False)
    else:
        said = "its process was killed; the same command goes on from the last finished step"
        terminal.stop(console, said, terminal.FAILED)


def _under_way(project: Project) -> list[Lease]:
    """What is supervised on this machine now."""
    from flows.processes import leases

    living = leases.living(project)
    return [lease for lease in leases.held(project) if lease.id in living and "command" in lease.content]


def _lease(project: Project, file: Path) -> Lease | None:
    """That of the command which writes this journal, while it does."""
    log = str(file.with_suffix(".log"))
    return next((lease for lease in _under_way(project) if lease.content.get("log") == log), None)


def _journals(project: Project) -> list[Path]:
    """Oldest first: their names begin alike but for the kind, and then have the time."""
    found = [path for kind in KINDS for path in project.logs.glob(f"{kind}-*{journal.SUFFIX}")]
    return sorted(found, key=lambda path: path.stem.partition("-")[2])


def _named(project: Project, text: str) -> Path | None:
    found = _journals(project)
    if text != "last":
        found = [path for path in found if path.stem.startswith(text)]
    return found[-1] if found else None
