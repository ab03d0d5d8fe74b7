"""Starting one server as a process of its own, waiting until it answers, and stopping it with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from components import processes as known

from .home import Home, ServersError, is_free, write_private

MARK = "CONVOY_SERVER"  # in a server's environment: HOME:NAME, by which one is known whose note was never written
READY_SECONDS = 420.0  # 5–25 s each on an idle machine; seen at a load of 15 on two cores: 150 s
STOP_SECONDS = 30.0


class EndedError(ServersError):
    """A server ended while it started."""


@dataclass(frozen=True)
class Server:
    """One process that stays."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    ready: Callable[[psutil.Process], bool]  # whether it answers; errors of the network count as no
    ports: Sequence[int] = ()
    user: str | None = None  # who it runs as, where that is not who starts it
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    needs: Sequence[str] = ()  # started before it
    tries: int = 1  # how often it is started where it ends while it starts
    orphans_go_on: bool = False  # whether what it has started outlives it, where it was killed


def bring_up(home: Home, server: Server) -> bool:
    """Have the server run and answer; whether it had to be started. ServersError with its log where it does not."""
    process = found(home, server.name)
    if process is not None:
        wait(home, server, process)
        return False
    if not server.orphans_go_on:
        _end(_family(home, server.name))  # what a killed one has left holds its ports
    taken = [port for port in server.ports if not is_free(port)]
    if taken:
        known = {number: name for name, number in home.ports.items()}
        said = ", ".join(f"--port {known[port]}=NUMBER" for port in taken)
        raise ServersError(
            f"{server.name}: port {', '.join(map(str, taken))} of the loopback is taken by another program; end it, or "
            f"choose another: {said}"
        )
    for left in range(server.tries)[::-1]:
        process = _started(home, server)
        _note(home, server.name, process)
        try:
            wait(home, server, process)
        except EndedError:
            if not left:
                raise
            _end(_family(home, server.name))
        else:
            break
    return True


def _started(home: Home, server: Server) -> psutil.Process:
    with home.log(server.name).open("ab") as log:
        started = subprocess.Popen(
            list(server.command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**server.environment, MARK: _mark(home, server.name)},
            cwd=server.folder or home.folder,
            start_new_session=True,  # a terminal's Ctrl-C is not meant for it
            user=server.user,
            group=server.user,
            extra_groups=[] if server.user else None,
        )
    return psutil.Process(started.pid)


def wait(home: Home, server: Server, process: psutil.Process) -> None:
    """Return when the server answers."""
    limit = time.monotonic() + READY_SECONDS
    while time.monotonic() < limit:
        if not _alive(process):
            raise EndedError(f"{server.name} ended while it started; {_last_words(home, server.name)}")
        if server.ready(process):
            return
        time.sleep(0.3)
    raise ServersError(
        f"{server.name} runs (process {process.pid}) and did not answer within {READY_SECONDS:.0f} s; "
        f"{_last_words(home, server.name)}"
    )


def found(home: Home, name: str) -> psutil.Process | None:
    """The server's process, if it lives; one whose note is missing, for its start was cut short, is noted now."""
    note = _noted(home, name)
    if note is not None:
        return known.found(note) if known.alive(note) else None
    marked = _marked(home, name)
    first = next((process for process in marked if process.parent() not in marked), None)
    if first is not None:
        _note(home, name, first)
    return first


def take_down(home: Home, name: str, stop_signal: signal.Signals) -> bool:
    """Stop a server and whatever it has started; whether there was something to stop."""
    process = found(home, name)
    family = _family(home, name)
    if process is not None:
        _send(process, stop_signal)
        psutil.wait_procs([process], timeout=STOP_SECONDS)
    _end([*family, *_family(home, name)])
    home.note(name).unlink(missing_ok=True)
    return bool(family)


def _end(processes: list[psutil.Process]) -> None:
    left = [each for each in set(processes) if _alive(each)]
    for each in left:
        _send(each, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, timeout=STOP_SECONDS / 3)
    for each in stubborn:
        _send(each, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=STOP_SECONDS / 3)


def _family(home: Home, name: str) -> list[psutil.Process]:
    """The server and what it has started: below it, in its session, or with its mark.

    No one of these finds all: Ray's agents have left their parent, and Ray and PostgreSQL write over the environment.
    """
    family = set(_marked(home, name))
    leader = _noted(home, name)
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if leader and os.getsid(process.pid) == leader["pid"] and process.create_time() > leader["started"] - 1.0:
                family.add(process)
    for process in list(family):
        with suppress(psutil.NoSuchProcess):
            family |= set(process.children(recursive=True))
    return list(family)


def _marked(home: Home, name: str) -> list[psutil.Process]:
    """Living processes with the server's mark in their environment."""
    mark, marked = _mark(home, name), []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and _alive(process):
                marked.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return marked


def _mark(home: Home, name: str) -> str:
    return f"{home.folder}:{name}"


def _noted(home: Home, name: str) -> dict[str, Any] | None:
    path = home.note(name)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _note(home: Home, name: str, process: psutil.Process) -> None:
    write_private(home.note(name), json.dumps(known.noted(process)))


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, what: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(what)


def _last_words(home: Home, name: str) -> str:
    log = home.log(name)
    words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    return os.linesep.join([f"its log is {log}:", *words])
