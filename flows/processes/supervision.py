"""A command's work in a process of its own, looked after by this one, which nothing can hold up.

The worker imports the engines, has a session of its own and closes what it has open when it is asked to. The supervisor
shows what the worker tells, starts Prefect's temporary server when it is asked for and keeps it alive, and answers for
the end: whatever the worker hangs in or dies of, seconds after a signal everything that the command has started is
gone, what was open is closed, and the exit code says what happened. Imports no engine, unless it has to close what a
dead worker has left open.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from components.secrecy import scrub
from flows.base.project import Project
from flows.base.screen import Screen
from flows.processes import family, journal, leases, prefect_server
from flows.processes.family import Family
from flows.processes.leases import Lease
from flows.processes.progress import Display

GRACE_SECONDS = 4.0  # how long the worker may take to close what it has open
SETTLE_SECONDS = 5.0  # how long closing what it has left open may take; a server that is away is not waited for
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FAILED, INTERRUPTED = 1, 130  # exit codes
STYLES = {"✗": "bold red", "!": "yellow"}


@dataclass
class Command:
    """What the worker is to do: a kind that `flows.worker` knows, and its arguments; for people, what it is called."""

    kind: str
    arguments: Mapping[str, Any]
    called: str
    goes_on: str  # said where it was interrupted
    log: Path
    program: tuple[str, ...] = (sys.executable, "-m", "flows.worker")  # of the worker

    @property
    def journal(self) -> Path:
        return self.log.with_suffix(journal.SUFFIX)


@dataclass
class _Signals:
    """What has arrived; nothing is interrupted by it."""

    seen: list[int] = field(default_factory=list)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.seen.append(number)


def supervise(project: Project, command: Command, console: Console) -> int:
    """Do the command's work to its end, showing it on `console`; the exit code. StartupError where it cannot begin."""
    with _listening() as signals, family.gathered() as mine, _kept(command.journal) as kept:
        about = {"family": mine.mark, "scratch": str(mine.scratch), "command": command.called, "log": str(command.log)}
        with leases.leased(project, **about) as lease:
            return _Run(project, command, console, mine, lease, signals, kept).through()


class _Run:
    """One supervised run of a command."""

    def __init__(
        self,
        project: Project,
        command: Command,
        console: Console,
        mine: Family,
        lease: Lease,
        signals: _Signals,
        kept: IO[bytes] | None,
    ) -> None:
        self.project, self.command, self.console, self.family = project, command, console, mine
        self.lease, self.signals, self.kept = lease, signals, kept
        self.display, self.errors = Display(console), Screen(stderr=True)
        self.code: int | None = None  # what the worker says that it came to
        self.trouble: str | None = None  # why it is ended, where nobody has asked for it
        self.orchestrated = False  # whether the worker has asked for Prefect
        self._rest = b""

    def through(self) -> int:
        """From the start of the worker to the end of everything."""
        server = self._server()
        worker, pipe = self._worker(server)
        self.lease.note(worker=worker.pid)
        self.family.watch(worker.pid)
        with self._shown():
            asked = self._follow(worker, pipe, server)
            if worker.poll() is None:
                self._end(worker, pipe, hurry=len(asked) > 1)
            self._hear(pipe)
        os.close(pipe)
        code = self._concluded(worker, asked)
        self.family.end(spare=[server.pid] if server is not None and server.pid is not None else [])
        if self.code is None:
            self._close(server)
        if server is not None:
            server.stop()
        self._keep(journal.ended(code))
        return code

    def _server(self) -> prefect_server.Temporary | None:
        """One of our own, unless the environment names one."""
        named = os.environ.get("PREFECT_API_URL")
        if named:
            prefect_server.let_in(named)
            return None
        return prefect_server.Temporary(self.project, self.family.environment)

    def _worker(self, server: prefect_server.Temporary | None) -> tuple[subprocess.Popen[bytes], int]:
        reading, writing = os.pipe()
        size = {"width": self.console.width, "color": self.console.color_system}
        order = {
            "kind": self.command.kind,
            "arguments": self.command.arguments,
            "console": size,
            "log": str(self.command.log),
            "supervisor": os.getpid(),
            "own_server": server is not None,
        }
        environment = {**os.environ, **self.family.environment, "CONVOY_ROOT": str(self.project.root)}
        if server is not None:
            environment |= prefect_server.known_by(self.project, server.url)
        self.command.log.parent.mkdir(parents=True, exist_ok=True)
        with self.command.log.open("ab") as log:
            worker = subprocess.Popen(
                [*self.command.program, str(writing), json.dumps(order)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writing],
                start_new_session=True,  # the terminal's signals are for this process: it asks the worker once
                preexec_fn=family.die_with_parent,  # noqa: PLW1509 — one call of the C library, found before the fork
            )
        os.close(writing)
        os.set_blocking(reading, False)
        return worker, reading

    # -- while it works

    def _follow(self, worker: subprocess.Popen[bytes], pipe: int, server: prefect_server.Temporary | None) -> list[int]:
        """Until the worker has ended, or is to be ended: the signals that ask for it."""
        looked = 0.0
        while worker.poll() is None and not self.signals.seen and self.trouble is None:
            self._hear(pipe, 0.1)
            if server is not None and self.orchestrated and time.monotonic() - looked > 0.25:
                looked = time.monotonic()
                try:
                    if (told := server.poll()) is not None:
                        self._say("!", told)
                except prefect_server.StartupError as error:
                    self.trouble = str(error)
        return self.signals.seen

    def _hear(self, pipe: int, seconds: float = 0.0) -> None:
        """Show and keep what the worker has told, waiting so long for it."""
        with suppress(InterruptedError):
            select.select([pipe], [], [], seconds)
        while True:
            try:
                heard = os.read(pipe, 65536)
            except BlockingIOError:
                return
            if not heard:
                if seconds:
                    time.sleep(seconds)  # it has closed its end, and is ending
                return
            *lines, self._rest = (self._rest + heard).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        record = journal.parsed(line)
        if record is None:
            return
        if record["kind"] == "code":
            self.code = int(record["code"])
            return
        if record["kind"] == journal.SERVER:
            self.orchestrated = True
            return
        self._keep(record)
        self._shows(lambda: journal.show(record, self.display, self.console, self.errors))

    # -- the end

    def _end(self, worker: subprocess.Popen[bytes], pipe: int, *, hurry: bool) -> None:
        """Ask the worker to end; kill it where it does not, or where a second signal says that there is no time."""
        already = len(self.signals.seen)
        limit = time.monotonic() + GRACE_SECONDS
        with suppress(ProcessLookupError):
            worker.terminate()
        soon = threading.Timer(GRACE_SECONDS / 2, _import_what_closes)  # takes seconds, and may be needed then
        soon.daemon = True
        soon.start()
        while worker.poll() is None and time.monotonic() < limit and not hurry:
            self._hear(pipe, 0.1)
            hurry = len(self.signals.seen) > already
        soon.cancel()
        if worker.poll() is None:
            worker.kill()
        worker.wait()

    def _concluded(self, worker: subprocess.Popen[bytes], asked: list[int]) -> int:
        """Say how it ended where the worker could not; the exit code."""
        if self.trouble is not None:
            self._say("✗", self.trouble)
            return FAILED
        if self.code not in (None, INTERRUPTED):
            return self.code  # it has come to its end, and said so
        if asked or self.code == INTERRUPTED:
            self._say("✗", self.command.goes_on)
            return INTERRUPTED
        returned = worker.returncode
        how = f"was killed (signal {-returned})" if returned < 0 else f"ended with {returned}, without a word"
        why = ", for want of memory most likely" if returned == -signal.SIGKILL else ""
        self._say(
            "✗",
            f"the process that does the work {how}{why}; the same command goes on from the last finished step\n"
            f"  the whole story: {self.command.log}",
        )
        return FAILED

    def _close(self, server: prefect_server.Temporary | None) -> None:
        """Close what the dead worker has left open; what takes too long is left to the next start."""
        if server is not None and self.orchestrated and not server.ready:
            return  # nothing was opened yet, or there is nobody to tell
        own = server if self.orchestrated else None
        done = threading.Event()

        def settle() -> None:
            try:
                with prefect_server.asked_for(own.url, self.project) if own is not None else nullcontext():
                    leases.settle(self.project, asking=server is None or self.orchestrated)
            except Exception:  # whatever it is, the next start tries again
                with suppress(OSError), self.command.log.open("a", encoding="utf-8") as story:
                    story.write(scrub(traceback.format_exc()))
                return
            done.set()

        closing = threading.Thread(target=settle, name="settling", daemon=True)
        closing.start()
        closing.join(SETTLE_SECONDS)
        if not done.is_set():
            self._say(" ", "what it had open could not be closed now; the next start does it")

    # -- what is shown and kept

    @contextmanager
    def _shown(self) -> Iterator[None]:
        self._shows(self.display.__enter__)
        try:
            yield
        finally:
            self._shows(lambda: self.display.__exit__(None, None, None))

    def _say(self, sign: str, text: str) -> None:
        self._keep({"at": round(time.time(), 3), "kind": "said", "text": f"{sign} {text}"})
        said = Text.assemble((sign, STYLES.get(sign, "")), f" {text}")
        self._shows(lambda: self.console.print(said, highlight=False, soft_wrap=True))

    def _shows(self, show: Callable[[], object]) -> None:
        """On a terminal that is gone there is nothing to be shown, and nothing else depends on it."""
        with suppress(OSError):
            show()

    def _keep(self, record: journal.Record) -> None:
        if self.kept is not None:
            with suppress(OSError):  # a full disk: the terminal has it
                self.kept.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")


def _import_what_closes() -> None:

    import components.registry.decisions  # noqa: F401


@contextmanager
def _listening() -> Iterator[_Signals]:
    """Signals that would end this process are noted instead. What the caller ignores (`nohup`) stays ignored."""
    signals = _Signals()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signals)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _kept(path: Path) -> Iterator[IO[bytes] | None]:
    """The file of what is told; None where it cannot be written, which is no reason not to work."""
    try:
        file = path.open("ab", buffering=0)
    except OSError:
        yield None
        return
    with file:
        yield file
