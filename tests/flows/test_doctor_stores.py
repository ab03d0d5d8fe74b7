"""`convoy doctor`: its checks of what a line talks to, each on real files, servers and commands."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from flows.base.project import Project
from flows.preflight import clock, computing, orchestration, remote, store
from tests.flows.conftest import make_project
from tests.flows.test_doctor import plain  # noqa: F401 — a fixture

pytestmark = pytest.mark.usefixtures("plain")


@contextmanager
def answering(code: int, **headers: str) -> Iterator[str]:
    """A server that answers everything with one code; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(code)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- stores ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / "mlflow.db"))


def test_a_database_of_mlflow_is_well(database: Path, tmp_path: Path) -> None:
    assert store.database(database).level == "ok"
    assert store.database(tmp_path / "none.db") == store.Finding(
        "ok", store.CHECK, f"{tmp_path / 'none.db'}, made by the first run"
    )
    (tmp_path / "empty.db").touch()
    assert "empty" in store.database(tmp_path / "empty.db").found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE alembic_version SET version_num = 'ffffffffffff'", "made by a later MLflow"),
        ("UPDATE alembic_version SET version_num = '451aebb31d03'", "made by an earlier MLflow"),
        ("DROP TABLE runs", "expected MLflow's tables"),
    ],
)
def test_a_schema_that_is_not_this_mlflow_s_is_told(database: Path, change: str, words: str) -> None:
    with closing(sqlite3.connect(database)) as base, base:
        base.execute(change)
    found = store.database(database)
    assert found.level == "error" and words in found.found


def test_the_command_for_an_earlier_schema_works(database: Path, empty_database: Path) -> None:
    """An upgrade of what is up to date changes nothing: what is tested is that the words are a command."""
    with closing(sqlite3.connect(database)) as base, base:
        (head,) = base.execute("SELECT version_num FROM alembic_version").fetchone()
        base.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    way = store.database(database).way
    with closing(sqlite3.connect(database)) as base, base:
        base.execute("UPDATE alembic_version SET version_num = ?", (head,))
    command = re.search(r"`(mlflow db upgrade .*)`", way)
    assert command is not None
    folder = Path(sys.executable).parent
    subprocess.run(["bash", "-c", command[1]], env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}, check=True)
    assert store.database(database).level == "ok"


def test_damage_of_a_database_is_told(database: Path) -> None:
    content = bytearray(database.read_bytes())
    content[8192:40960] = os.urandom(32768)
    database.write_bytes(content)
    found = store.database(database)
    assert found.level == "error" and "damaged" in found.found + found.way
    database.write_bytes(b"no database at all, but words" * 100)
    assert "expected a database of SQLite's" in store.database(database).found


def test_a_locked_database_is_waited_for(database: Path) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        found = store.database(database)
    assert found.level == "warning" and "locked" in found.found


@pytest.mark.parametrize(
    ("code", "level", "words"), [(200, "ok", "lets me in"), (401, "error", "me is not let in"), (500, "error", "500")]
)
def test_a_server_of_mlflow_is_asked_and_no_password_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, level: str, words: str
) -> None:
    with answering(code) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address.replace("//", "//me:se@cret@"))
        found = store.tracking(Project(tmp_path))
    assert found.level == level and words in found.found
    assert "cret" not in repr(found)


def test_a_dead_server_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"http://me:se@cret@127.0.0.1:{dead_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
    for found in (store.tracking(Project(tmp_path)), orchestration.prefect(Project(tmp_path))):
        assert found.level == "error" and "does not answer" in found.found and "cret" not in repr(found)


def test_a_damaged_database_of_prefect_s_can_be_moved_away(tmp_path: Path) -> None:
    project = Project(tmp_path / "it's here")
    project.prefect_home.mkdir(parents=True)
    assert orchestration.prefect(project).level == "ok"
    (project.prefect_home / "prefect.db").write_bytes(b"not a database" * 1000)
    found = orchestration.prefect(project)
    assert found.level == "error"
    command = re.search(r"`(.*)`", found.way)
    assert command is not None
    subprocess.run(["bash", "-c", command[1]], check=True)  # with the apostrophe in the path
    assert orchestration.prefect(project).level == "ok"
    assert (project.prefect_home / "prefect.db.damaged").is_file()


# -- Ray -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ray://head:10001", "Ray Client"),
        ("http://head:1", "expected HOST:PORT"),
        ("head", "expected HOST:PORT"),
        ("127.0.0.1:DEAD", "nothing answers at"),
        ("127.0.0.1:99999999", "nothing answers at"),
    ],
)
def test_an_address_of_ray_that_cannot_be_used_is_told_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, address: str, words: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address.replace("DEAD", str(dead_port())))
    found = computing.ray()
    assert found.level == "error" and words in found.found and found.way


def test_auto_takes_nobodys_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    if computing._running_head() is None:
        assert computing.ray().found == "RAY_ADDRESS=auto, and no Ray cluster runs on this machine"
    # given: somebody's, which is found by what its processes were started with
    command = [sys.executable, "-c", "input()", "--gcs-address=10.0.0.9:6379"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as raylet:
        one = psutil.process_iter
        monkeypatch.setattr(
            psutil, "process_iter", lambda names: [each for each in one(names) if each.pid == raylet.pid]
        )
        found = computing.ray()
        raylet.communicate(b"\n")
    assert found.level == "error" and "10.0.0.9:6379" in found.found
    assert "`export RAY_ADDRESS=10.0.0.9:6379`" in found.way


def test_a_temporary_folder_with_a_long_name_has_no_room_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    found = computing.ray()
    assert found.level == "error" and "107 are possible" in found.found


# -- remote, clock ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "level", "words"),
    [
        ("../.convoy/dvc-remote", "ok", "made by the first `dvc push`"),
        ("/proc/nowhere", "error", "expected a folder that can be written"),
        ("gs://bucket", "error", "dvc_gs is not installed"),
        ("s3://bucket/x", "warning", "no credentials"),
        (None, "error", "has no address"),
    ],
)
def test_the_remote_of_dvc_is_read_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, level: str, words: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # without ~/.aws
    root = make_project(tmp_path / "project")
    shared = "[core]\n    remote = mine\n['remote \"mine\"']\n"
    (root / ".dvc" / "config").write_text(shared + (f"    url = {url}\n" if url else ""))
    found = remote.dvc_remote(Project(root))
    assert found.level == level and words in found.found
    with (root / ".dvc" / "config.local").open("w") as local:  # the local file is the later word
        local.write("['remote \"mine\"']\n    url = s3://else\n    access_key_id = me\n")
    assert remote.dvc_remote(Project(root)).level == "ok"


def test_a_clock_before_what_was_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path)
    project.logs.mkdir(parents=True)
    (project.logs / "line.log").touch()
    assert clock.clock(project).level == "ok"
    assert "the newest log" in clock.clock(project, now=time.time() - 3600).found
    with answering(404, Date="Sat, 31 Jan 2026 12:00:00 GMT") as address:
        monkeypatch.setenv("PREFECT_API_URL", f"{address}/api")
        found = clock.clock(project)
    assert found.level == "warning" and "after the clock of http://127.0.0.1" in found.found
