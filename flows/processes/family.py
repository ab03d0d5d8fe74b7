"""The processes that a command starts, wherever they go: ended together, and nothing of theirs left behind.

Ray's and the servers' processes leave the process group and outlive their parents, so a family is known by a mark that
its members inherit in their environment. A small process of its own, the reaper, outlives the command by a moment: it
ends what is left and removes the family's temporary folder, whatever the command died of. Standard library and psutil.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from components.own_files import text
from components.release import CODE

MARK = "CONVOY_FAMILY"  # environment variable
SHELTERED = "CONVOY_SHELTERED"  # environment variable: whoever has started this process does not leave it alone
PREFIX = "convoy-"  # of temporary folders
NAMED = ".family"  # the file in such a folder that has the mark
LONGEST = 15  # characters of the folder for temporary files: Ray's sockets are 90 deeper, and 107 is the system's limit
CLOSING_SECONDS = 7.0  # how long the process that does the work may take to close what it has open
PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: not between fork and exec


@dataclass(frozen=True)
class Family:
    """A mark, and the temporary folder of those who bear it."""

    mark: str
    scratch: Path
    reapers: list[subprocess.Popen[bytes]] = field(default_factory=list)  # at most one; kept from the collector

    @property
    def environment(self) -> dict[str, str]:
        """What a member has in its environment."""
        return {MARK: self.mark, "TMPDIR": str(self.scratch)}

    def watch(self, worker: int | None = None) -> None:
        """Start the reaper. `worker` is the member that closes what is open: the others live until it has ended."""
        command = [sys.executable, "-m", "flows.processes.family", self.mark, str(self.scratch), str(worker or 0)]
        environment = {key: value for key, value in os.environ.items() if key not in self.environment}
        self.reapers.append(
            subprocess.Popen(
                command,
                cwd=CODE,
                env=environment,
                stdin=subprocess.PIPE,  # which the system closes when this process ends
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def end(self, spare: Collection[int] = ()) -> None:
        """Kill every member but those whose numbers are spared, and whoever they start meanwhile."""
        end(self.mark, self.scratch, spare)

    def leave(self) -> None:
        """Kill all, remove the temporary folder, and send the reaper home."""
        self.end()
        shutil.rmtree(self.scratch, ignore_errors=True)
        for reaper in self.reapers:
            if reaper.stdin is not None:
                reaper.stdin.close()
            reaper.wait()
        self.reapers.clear()


def found() -> Family:
    """A new family: its mark, and a folder of its own, which nobody else can read."""
    usual = tempfile.gettempdir()
    short = usual if len(usual) <= LONGEST or not os.access("/tmp", os.W_OK) else "/tmp"  # noqa: S108 — made by mkdtemp
    family = Family(secrets.token_hex(16), Path(tempfile.mkdtemp(prefix=PREFIX, dir=short)))
    (family.scratch / NAMED).write_text(family.mark, encoding="utf-8")
    return family


def is_of(scratch: Path, mark: str) -> bool:
    """Whether a folder is the temporary one of that family, by what it says itself."""
    return not scratch.is_symlink() and text(scratch / NAMED) == mark


@contextmanager
def gathered() -> Iterator[Family]:
    """A new family for the block, at whose end none of it is left."""
    family = found()
    try:
        yield family
    finally:
        family.leave()


@contextmanager
def sheltering() -> Iterator[None]:
    """Temporary files of this process, and of what it starts, are in a folder that goes with it.

    What it starts are families of their own, which end with it.
    """
    with gathered() as family:
        before = os.environ.get("TMPDIR")
        _use(family.scratch)
        os.environ[SHELTERED] = "1"
        family.watch()
        try:
            yield
        finally:
            del os.environ[SHELTERED]
            _use(before)


def _use(folder: Path | str | None) -> None:
    """For temporary files from now on; None: the system's."""
    if folder is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None  # cached


_joined: list[Family] = []  # kept: the reaper waits for the pipe to be closed


def own() -> dict[str, str]:
    """What a lease notes of a process that Prefect has started for one run: from now on it is a family of its own.

    Nothing in any other process: one that is supervised is of a family, and one that somebody else started, a notebook
    or a test, is not ours to change.
    """
    if MARK in os.environ or "PREFECT__FLOW_RUN_ID" not in os.environ:
        return {}
    mine = found()
    os.environ[MARK] = mine.mark
    _use(mine.scratch)
    mine.watch()
    if SHELTERED in os.environ:
        die_with_parent()
    _joined.append(mine)
    return {"family": mine.mark, "scratch": str(mine.scratch)}


def members(mark: str, scratch: Path | None = None) -> list[psutil.Process]:
    """The living processes that bear the mark, this one left out.

    Ray's agents write their title over their environment: they are known by files that they have open in `scratch`.
    """
    bearing = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid():
                continue
            environment = process.environ()
            if environment.get(MARK) == mark or (not environment and _writes_into(process, scratch)):
                bearing.append(process)
        except (psutil.Error, OSError):
            continue  # gone, or somebody else's
    return bearing


def _writes_into(process: psutil.Process, folder: Path | None) -> bool:
    """Whether it has a file of the folder open, one that has been removed since too, where the system tells."""
    if folder is None:
        return False
    links = Path(f"/proc/{process.pid}/fd")
    if links.is_dir():
        return any(link.readlink().is_relative_to(folder) for link in links.iterdir())
    return any(Path(file.path).is_relative_to(folder) for file in process.open_files())


def end(mark: str, scratch: Path | None = None, spare: Collection[int] = ()) -> None:
    """Kill the family's members, again and again until there are none."""
    for _ in range(20):
        left = [process for process in members(mark, scratch) if process.pid not in spare]
        if not left:
            return
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=1.0)


def die_with_parent() -> None:
    """Ask Linux to end this process when its parent ends, however that happens. Safe between fork and exec."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _reap(mark: str, scratch: Path, worker: int) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.buffer.read()  # returns when the command has ended
    limit = time.monotonic() + CLOSING_SECONDS
    while worker and time.monotonic() < limit and any(each.pid == worker for each in members(mark, scratch)):
        time.sleep(0.1)
    end(mark, scratch)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    _reap(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
