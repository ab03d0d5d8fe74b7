"""A hostile page in a real browser beside a line, `convoy ui`, a worker and `convoy schedule`: it comes to nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvicorn

from flows.base.project import Project
from flows.processes.guard import guarded
from flows.processes.prefect_server import free_port, known_by
from tests.flows import endings
from tests.flows.browsing import CHROMIUM
from tests.flows.conftest import ROOT
from tests.flows.endings import LIMIT, Terminal
from tests.flows.intruding import MARK, Intruder, intruding
from tests.flows.test_neighbours import asked, is_loopback, scratch  # noqa: F401 — a fixture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium"),
    pytest.mark.timeout(1800),
]


@pytest.fixture
def intruder() -> Iterator[Intruder]:
    with intruding() as found:
        yield found


def sockets(root: Path) -> dict[int, set[str]]:
    """Port → addresses at which processes of the project listen."""
    found: dict[int, set[str]] = {}
    for process in endings.processes(root):
        try:
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN:
                    found.setdefault(each.laddr.port, set()).add(each.laddr.ip)
        except psutil.Error:
            continue
    return found


def nothing_came_of_it(root: Path, intruder: Intruder, found: dict[int, set[str]]) -> None:
    """Nothing was read or shown, and what would have been written is in no file of the project, databases included."""
    assert intruder.reached == []
    assert files_with(root, MARK) == []
    assert {ip for ips in found.values() for ip in ips if not is_loopback(ip)} == set()


def files_with(root: Path, text: str) -> list[Path]:
    state = root / ".convoy"
    return [path for path in state.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def deployments(root: Path) -> dict[str, Any]:
    """What would start a run of each deployment, had one guessed its number."""
    database = root / ".convoy" / "prefect" / "prefect.db"
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        numbers = [number for (number,) in connection.execute("select id from deployment")]
    return {f"/api/deployments/{number}/create_flow_run": {"name": MARK} for number in numbers}


# -- the intruder itself ---------------------------------------------------------------------------------------------


class Careless:
    """A server that lets everybody do everything, and notes what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        self.asked.append((scope.get("method", "socket"), scope["path"]))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept", "subprotocol": "prefect"})
            return
        said = dict(scope["headers"])
        headers = [
            (b"access-control-allow-origin", said.get(b"origin", b"*")),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-allow-methods", b"GET, POST, DELETE"),
            (b"access-control-allow-headers", b"content-type, x-own"),
            (b"content-type", b"text/javascript" if said.get(b"sec-fetch-dest") == b"script" else b"text/html"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"1"})


@contextmanager
def answering(application: Any, port: int) -> Iterator[None]:
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(30)


def test_it_reaches_a_careless_server_in_every_way_and_the_same_behind_the_door_in_none(intruder: Intruder) -> None:
    # given
    careless, shy = Careless(), Careless()
    ports = free_port(), free_port()
    # when
    with answering(careless, ports[0]), answering(guarded(shy, ports[1]), ports[1]):
        intruder.attack(ports)
    # then
    places = {place for place, *_ in intruder.reached}
    assert len(places) == 3  # beside it, elsewhere, and under its own name
    for place in places:
        ways = {way for where, _, way, *_ in intruder.reached if where == place}
        assert ways >= {"get", "get with account", "simple", "preflighted", "with account", "deleted", "frame"}, place
        assert ways >= {"script", "socket"}, place
    assert {method for method, _ in careless.asked} >= {"GET", "POST", "DELETE", "socket"}
    assert not [each for each in intruder.reached if each[1].endswith(f":{ports[1]}")]
    assert shy.asked == []


# -- and what it meets -----------------------------------------------------------------------------------------------


def test_a_line(tmp_path: Path, scratch: Path, intruder: Intruder) -> None:  # noqa: F811
    # given
    root = endings.short_project(tmp_path / "project")
    terminal = Terminal(root, scratch)
    # when
    found: dict[int, set[str]] = {}
    limit = time.monotonic() + 3 * LIMIT
    while terminal.process.poll() is None and time.monotonic() < limit:
        new = {port: ips for port, ips in sockets(root).items() if port not in found}
        found |= new
        intruder.attack(sorted(new))
        time.sleep(0.2)
    # then
    assert terminal.process.returncode == 0, terminal.text
    assert len(found) > 5, found  # Prefect's server, and Ray's
    nothing_came_of_it(root, intruder, found)


def test_the_pages_and_a_worker(tmp_path: Path, scratch: Path, intruder: Intruder) -> None:  # noqa: F811
    # given
    root = endings.short_project(tmp_path / "project")
    ports = {name: free_port() for name in ("port", "mlflow-port", "prefect-port", "evidently-port")}
    options = [word for name, port in ports.items() for word in (f"--{name}", str(port))]
    terminal = Terminal(root, scratch, ("ui", *options))
    with ended(terminal):
        terminal.wait_for("Ctrl-C ends them.")
        url = f"http://127.0.0.1:{ports['prefect-port']}/api"
        (root / "infra").mkdir()
        shutil.copy(ROOT / "infra" / "deployments.yaml", root / "infra")
        own = {**os.environ, "CONVOY_ROOT": str(root), **known_by(Project(root), url), "TMPDIR": str(scratch)}
        deploy = [sys.executable, "-m", "flows.cli", "schedule", "--register"]
        subprocess.run(deploy, env=own, cwd=root, check=True, capture_output=True, timeout=LIMIT)
        work = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "convoy"]
        with subprocess.Popen(work, env=own, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as worker:
            try:
                time.sleep(10)
                # when
                found = sockets(root)
                intruder.attack(sorted(found), deployments(root))
            finally:
                worker.terminate()
        # then
        assert set(ports.values()) <= set(found)
        assert deployments(root)
        nothing_came_of_it(root, intruder, found)
        # and a program of this machine is let in, and what it writes would have been found
        path = "/api/2.0/mlflow/experiments/create"
        said = asked(ports["mlflow-port"], path, '{"name": "of a friend"}', Content_Type="application/json")
        assert said[0] == 200 and files_with(root, "of a friend")


def test_a_schedule(tmp_path: Path, scratch: Path, intruder: Intruder) -> None:  # noqa: F811
    # given
    root = endings.short_project(tmp_path / "project")
    port = free_port()
    terminal = Terminal(root, scratch, ("schedule", "-r", "digits", "--prefect-port", str(port)))
    with ended(terminal):
        terminal.wait_for("Ctrl-C ends it.")
        limit = time.monotonic() + LIMIT
        while not deployments(root) and time.monotonic() < limit:
            time.sleep(0.5)
        # when
        found = sockets(root)
        intruder.attack(sorted(found), deployments(root))
        # then
        assert port in found and deployments(root)
        nothing_came_of_it(root, intruder, found)


@contextmanager
def ended(terminal: Terminal) -> Iterator[None]:
    try:
        yield
    finally:
        terminal.press_ctrl_c()
        assert terminal.wait(60) is not None, terminal.text
