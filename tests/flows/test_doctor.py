"""`convoy doctor`: each check by itself on what it is to find, and all of them as a person meets them."""

from __future__ import annotations

import json
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

import pytest

from components import config
from flows import preflight
from flows.preflight import clock, computing, libraries, machine, network, orchestration, places, remote, store
from flows.project import Project
from tests.flows.conftest import make_project
from tests.flows.test_cli import ENGINES, convoy


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("doctor"))


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine's address is set, whatever the machine that tests says."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_TRACKING", "PREFECT_API", "RAY_", "AWS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


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
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- all of it -------------------------------------------------------------------------------------------------------


def test_a_fresh_project_is_told_well_in_two_seconds_and_without_an_engine(fresh: Path) -> None:
    code = (
        "import time; from flows import preflight; from flows.project import find; began = time.monotonic()\n"
        "found = preflight.check(find()); took = time.monotonic() - began; import sys, json\n"
        f"print(json.dumps([took, [e for e in {ENGINES} if e in sys.modules], [[f.level, f.check] for f in found]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "CONVOY_ROOT": str(fresh)},
        capture_output=True,
        check=True,
    )

    took, engines, found = json.loads(done.stdout)
    assert took < 2.0
    assert engines == []
    assert [check for level, check in found if level == "error"] == []
    assert {"Python", "libraries", "disk", "memory", "tracking store", "Prefect", "Ray", "clock"} <= {
        c for _, c in found
    }


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    root = make_project(tmp_path / "project")
    before = sorted(root.rglob("*"))
    preflight.check(Project(root))
    assert sorted(root.rglob("*")) == before


def test_what_is_wrong_is_a_line_with_a_way_on_and_exit_1(fresh: Path) -> None:
    done = convoy(fresh, "doctor", "-r", "digits", RAY_ADDRESS="ray://head:10001")
    assert done.returncode == 1
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("✗")]
    assert "Ray Client" in line and "`export RAY_ADDRESS=head:6379`" in line
    assert "1 to be put right before a line can start" in done.stdout


def test_it_speaks_json_and_names_mistakes_of_the_configuration(fresh: Path) -> None:
    done = convoy(fresh, "doctor", "--json", "-S", "training.batch_size=many", "-S", "colour=blue")
    found = json.loads(done.stdout)
    wrong = [each["found"] for each in found if each["check"] == "configuration"]
    assert done.returncode == 1
    assert len(wrong) == 2 and any("line.colour" in each for each in wrong)
    assert {"level", "check", "found", "way"} == set(found[0])


def test_a_check_that_cannot_look_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path / "project")
    (root / ".dvc" / "config").unlink()
    (root / ".dvc" / "config").mkdir()  # reading it is an error of the system's
    found = {each.check: each for each in preflight.check(Project(root))}
    assert found["clock"].level == "ok"
    assert found["DVC remote"].level == "ok"  # no file, so no remote


# -- machine ---------------------------------------------------------------------------------------------------------

GB = 2**30


@pytest.mark.parametrize(
    ("files", "level", "words"),
    [
        ({"memory.max": "max", "memory.current": "5"}, "ok", "of this machine"),
        ({"memory.max": str(64 * 2**20), "memory.current": "0"}, "error", "64.0 MB available, of the 64.0 MB"),
        # What is used is mostly pages of files, which are given up.
        (
            {
                "memory.max": str(700 * 2**20),
                "memory.current": str(600 * 2**20),
                "memory.stat": f"inactive_file {500 * 2**20}",
            },
            "error",
            "600 MB available",
        ),
    ],
)
def test_memory_is_what_the_container_may_have(tmp_path: Path, files: dict[str, str], level: str, words: str) -> None:
    (tmp_path / "cgroup").write_text("0::/some/where\n")
    folder = tmp_path / "fs" / "some" / "where"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    found = machine.memory(tmp_path / "cgroup", tmp_path / "fs")
    assert (found.level, words in found.found) == (level, True)


def test_a_limit_further_up_and_of_the_first_version_counts(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("7:memory:/up/down\n3:cpu,cpuacct:/up\n")
    (tmp_path / "fs" / "memory" / "up" / "down").mkdir(parents=True)
    (tmp_path / "fs" / "memory" / "up" / "memory.limit_in_bytes").write_text(str(100 * 2**20))
    (tmp_path / "fs" / "memory" / "memory.limit_in_bytes").write_text(str(2**63 - 4096))  # its word for no limit
    assert "of the 100 MB" in machine.memory(tmp_path / "cgroup", tmp_path / "fs").found


def test_a_group_of_the_host_is_the_container_s_own_root(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("0::/kubepods/pod1/not/there\n")
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs" / "memory.max").write_text(str(50 * 2**20))
    (tmp_path / "fs" / "cpu.max").write_text("50000 100000")
    assert "of the 50.0 MB" in machine.memory(tmp_path / "cgroup", tmp_path / "fs").found
    assert "of which the container may use 0.5" in machine.processors(None, tmp_path / "cgroup", tmp_path / "fs").found


def test_more_workers_than_cpus_are_told_before_training(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = config.load(fresh, "digits", ["training.workers=4096"])
    assert machine.processors(recipe).level == "error"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert machine.processors(recipe).level == "ok"  # it is the cluster's to say


def test_few_open_files_are_told() -> None:
    code = "from flows.preflight import machine; found = machine.open_files(); print(found.level, found.way)"
    done = subprocess.run(
        ["bash", "-c", f"ulimit -Sn 64; {sys.executable} -c '{code}'"], capture_output=True, text=True, check=True
    )
    assert re.match(r"warning `ulimit -n (\d+|unlimited)`", done.stdout)


# -- places ----------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_is_named() -> None:
    found = places.writable("project", Path("/proc/nowhere/project"), "mend it")  # not even root writes there
    assert (found.level, found.way) == ("error", "mend it")
    assert found.found.startswith("/proc: expected a folder that can be written")


def test_files_of_another_user_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".convoy" / "locks").mkdir(parents=True)
    (tmp_path / ".convoy" / "locks" / "a file.lock").write_text("")
    assert places.own_state(Project(tmp_path)).level == "ok"
    read_end, write_end = os.pipe()
    (tmp_path / ".convoy" / "locks" / "a file.lock").chmod(0o400)
    child = os.fork()
    if child == 0:  # whoever may write everything must become somebody who may not
        if os.getuid() == 0:
            for folder in (tmp_path, *tmp_path.parents):
                if folder.stat().st_uid == 0 and folder != Path("/"):
                    folder.chmod(folder.stat().st_mode | 0o055)
            os.setuid(65534)
        os.write(write_end, repr(places.own_state(Project(tmp_path))).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(read_end, 10_000).decode()
    assert "level='error'" in told and "sudo chown -R" in told


def test_little_shared_memory_is_a_warning_and_none_is_needed_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert places.shared_memory(Path("/proc")).level == "warning"  # a file system without room
    assert places.shared_memory(tmp_path / "none").level == "ok"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert places.shared_memory(Path("/proc")).level == "ok"


# -- network ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "level"),
    [
        ({}, "ok"),
        ({"HTTP_PROXY": "http://proxy:3128"}, "error"),
        ({"http_proxy": "http://proxy:3128", "no_proxy": "127.0.0.1,localhost"}, "ok"),
        ({"all_proxy": "http://proxy:3128", "no_proxy": "localhost"}, "error"),
        ({"https_proxy": "http://proxy:3128"}, "ok"),  # nothing on the loopback has TLS
    ],
)
def test_the_loopback_must_not_be_behind_a_proxy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], level: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert network.proxy().level == level


def test_a_taken_port_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setitem(network.PORTS, "MLflow", server.getsockname()[1])
        found = network.ports()
        assert found.level == "ok" and f"{server.getsockname()[1]} (MLflow)" in found.found
    assert network.loopback().level == "ok"


# -- libraries -------------------------------------------------------------------------------------------------------


def test_a_lock_is_read_by_content(tmp_path: Path) -> None:
    text = (
        "# a comment\nPyYAML==6.0.3\n  typing_extensions==4.1 # why\n"
        'colorama==0.4 ; sys_platform == "win32"\nuvicorn[standard]==1.0\n-e .\n'
    )
    assert libraries.pins(text) == {"pyyaml": "6.0.3", "typing-extensions": "4.1", "uvicorn": "1.0"}


def test_what_differs_from_the_lock_is_named(fresh: Path, tmp_path: Path) -> None:
    lock = (fresh / "requirements.lock").read_text()
    assert libraries.versions(fresh).level == "ok"
    (tmp_path / "requirements.lock").write_text(re.sub(r"(?m)^filelock==.*$", "filelock==0.1", f"# other\n{lock}"))
    found = libraries.versions(tmp_path)
    assert found.level == "warning" and re.search(r"filelock \S+ instead of 0\.1", found.found)
    (tmp_path / "requirements.lock").write_text("mlflow==1\nno-such-library==1\n")
    assert "not installed: no-such-library" in libraries.versions(tmp_path).found
    (tmp_path / "requirements.lock").unlink()
    assert libraries.versions(tmp_path).level == "error"


def test_what_a_recipe_needs_besides_is_named(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = config.load(fresh, "digits", ['prune={"kind": "structured", "epochs": 1}'])
    monkeypatch.setitem(sys.modules, "torch_pruning", None)  # as Python marks what cannot be imported
    found = libraries.extras(recipe)
    assert found.level == "error"
    assert found.found == "line.prune.kind: torch_pruning is not installed"
    assert found.way == "`pip install 'convoy[pruning]'`"
    assert libraries.extras(config.load(fresh, "digits")).level == "ok"


# -- stores ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / "mlflow.db"))


def test_a_database_of_mlflow_is_well(database: Path, tmp_path: Path) -> None:
    assert store.database(database).level == "ok"
    assert store.database(tmp_path / "none.db") == store.Finding(
        "ok", store.CHECK, f"{tmp_path / 'none.db'}, made by the first line"
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


def test_auto_without_a_cluster_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    if computing._running_head() is not None:
        pytest.skip("a Ray cluster runs on this machine")
    assert computing.ray().found == "RAY_ADDRESS=auto, and no Ray cluster runs on this machine"
    (tmp_path / "ray").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / "ray" / "ray_current_cluster").write_text(f"127.0.0.1:{server.getsockname()[1]}")
        assert computing.ray().level == "ok"
    assert "nothing answers" in computing.ray().found


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
