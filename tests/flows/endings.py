"""A line in a real terminal, disturbed at a moment: what is looked at when it has ended."""

from __future__ import annotations

import os
import pty
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from components.artifacts import Evidence, Model
from components.registry.memory import tracking
from tests.flows.conftest import make_project

SECONDS = 10.0  # after which nothing is left of a line that was ended
LIMIT = 300.0  # of a whole line beside other work; alone it takes thirty seconds
SHORT = {  # thirty seconds: one member, no teacher, two epochs of a narrow network
    "members": {"count": 1, "epochs": 2},
    "student": None,
    "evaluate": {"bootstrap": 100},
}


def short_project(folder: Path) -> Path:
    """A project whose recipe `digits` is a line of thirty seconds."""
    folder.mkdir(parents=True)
    make_project(folder)
    path = folder / "recipes" / "digits.yaml"
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    recipe["line"]["members"] |= SHORT["members"]
    recipe["line"]["evaluate"] |= SHORT["evaluate"]
    recipe["line"]["student"] = None
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return folder


@dataclass
class Terminal:
    """A command in the foreground of a pseudo-terminal of its own, as a shell starts it."""

    root: Path
    scratch: Path  # its folder for temporary files
    arguments: tuple[str, ...] = ("run", "-r", "digits")
    variables: Mapping[str, str] = field(default_factory=dict)  # of its environment, besides this process's
    folder: Path | None = None  # in which it is called
    seen: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self.scratch.mkdir(parents=True, exist_ok=True)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
        environment.pop("OMP_NUM_THREADS", None)
        environment |= {
            "CONVOY_ROOT": str(self.root),
            "TMPDIR": str(self.scratch),
            "TERM": "xterm-256color",
            "COLUMNS": "110",
            **self.variables,
        }
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *self.arguments],
            env=environment,
            cwd=self.folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_the_terminal,  # noqa: PLW1509 — two system calls
        )
        os.close(slave)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while True:
            try:
                if select.select([self.master], [], [], 0.2)[0]:
                    self.seen += os.read(self.master, 65536)
            except (OSError, ValueError):
                return

    @property
    def text(self) -> str:
        return self.seen.decode("utf-8", errors="replace")

    def press_ctrl_c(self) -> None:
        """What a terminal does: SIGINT to the whole foreground process group."""
        os.write(self.master, b"\x03")

    def hang_up(self) -> None:
        """The terminal is closed: SIGHUP to the session's foreground."""
        os.close(self.master)

    def wait(self, seconds: float) -> int | None:
        """The exit code, None where it has not ended in time."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def wait_for(self, text: str, seconds: float = LIMIT) -> None:
        limit = time.monotonic() + seconds
        while text not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < limit, self.text
            time.sleep(0.05)


def disturb(terminal: Terminal, what: str, chance: random.Random) -> None:
    """What a person, a shell or the system does to a command; whatever has no name of its own kills it."""
    if what.startswith("ctrl-c"):
        terminal.press_ctrl_c()
        if what.endswith("twice"):
            time.sleep(chance.uniform(0.05, 1.5))
            terminal.press_ctrl_c()
    elif what == "terminate":
        terminal.process.terminate()
    elif what == "hang up":
        terminal.hang_up()
    else:
        terminal.process.kill()


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for temporary files whose name leaves room for Ray's sockets."""
    path = Path(tempfile.mkdtemp(prefix="c", dir="/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _take_the_terminal() -> None:
    """Be the terminal's foreground, and hear when it is closed."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def processes(root: Path) -> list[psutil.Process]:
    """Whatever was started for the project, however far down."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CONVOY_ROOT") == str(root) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def named(root: Path, text: str) -> list[psutil.Process]:
    """Those of them whose command line, or own title, has `text` in it."""
    found = []
    for process in processes(root):
        try:
            if text in " ".join(process.cmdline()) or text in process.name():
                found.append(process)
        except psutil.Error:
            continue
    return found


def left(root: Path, scratch: Path, until: float) -> list[str]:
    """Processes and temporary files that are still there at a moment of `time.monotonic`; [] as soon as none are."""
    while True:
        found = [f"{process.pid} {' '.join(process.cmdline())[:120]}" for process in _living(root, scratch)]
        found += [str(path.relative_to(scratch)) for path in scratch.rglob("*")][:10]
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def _living(root: Path, scratch: Path) -> list[psutil.Process]:
    living = []
    for process in [*processes(root), *_nameless(scratch)]:
        try:
            process.cmdline()
            living.append(process)
        except psutil.Error:
            continue
    return living


def _nameless(scratch: Path) -> list[psutil.Process]:
    """Ray's agents, which write their title over their environment: by files that they have open, deleted ones too."""
    found = []
    for process in psutil.process_iter():
        try:
            links = [] if process.environ() else list(Path(f"/proc/{process.pid}/fd").iterdir())
            if any(link.readlink().is_relative_to(scratch) for link in links):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def open_runs(root: Path) -> list[str]:
    """Runs that MLflow has as running."""
    return _asked(root / ".convoy" / "mlflow.db", "select name from runs where status = 'RUNNING'")


def open_flows(root: Path) -> list[str]:
    """Flow runs that Prefect has as running."""
    return _asked(root / ".convoy" / "prefect" / "prefect.db", "select name from flow_run where state_type = 'RUNNING'")


def _asked(database: Path, question: str) -> list[str]:
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        try:
            return [str(row[0]) for row in connection.execute(question)]
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise


def figures(root: Path) -> dict[str, object]:
    """What the newest line came to, as far as chance and the clock have no part in it: weights, and what they can do.

    What is served is chosen by what is faster, which depends on what else the machine does.
    """
    store = tracking.connect(root, "digits")
    train = store.artifact_folder(store.search({"convoy.step": "train"}, status="FINISHED")[0].id, "result")
    evaluated = store.search({"convoy.step": "evaluate"}, status="FINISHED")[0].id
    (stage,) = store.artifact_folder(evaluated, "result/stages").glob("* exported")
    measured = Evidence.load(stage).figures
    return {
        "weights": Model.load(train / "models" / "member-0").digest,
        **{name: measured[name].model_dump() for name in ("accuracy", "calibration_error")},
    }


def again(root: Path, scratch: Path) -> tuple[int | None, str]:
    """The same command, undisturbed: its exit code, and what it said."""
    terminal = Terminal(root, scratch)
    code = terminal.wait(LIMIT)
    if code is None:
        terminal.process.send_signal(signal.SIGKILL)
    return code, terminal.text
