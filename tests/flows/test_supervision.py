"""A supervised command ends well whatever its worker does: real processes, real signals."""

from __future__ import annotations

import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from flows.base.project import Project
from flows.processes import family, journal, leases, prefect_server
from flows.processes.prefect_server import free_port
from flows.processes.supervision import Command, supervise

BEGINNING = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
pipe, order = int(sys.argv[1]), json.loads(sys.argv[2])
place = Path(order["arguments"]["place"])
def tell(kind, **values):
    os.write(pipe, json.dumps({"at": 0, "kind": kind, **values}).encode() + b"\\n")
def begun():
    Path(os.environ["TMPDIR"], "half-written").write_text("x")
    (place / "begun").write_text(os.environ["TMPDIR"])
"""
# In a session of its own, as Ray's processes are, and deaf to whoever asks it to end.
CHILD = """
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(300)"],
    start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
(place / "child").write_text(str(child.pid))
"""
TELLS = 'tell("said", text="all is well"); tell("code", code=3)'
HANGS = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{CHILD}\nbegun()\ntime.sleep(300)"
CLOSES = f"""
def close(*_):
    (place / "closed").write_text("by hand")
    tell("code", code=130)
    os._exit(130)
signal.signal(signal.SIGTERM, close)
{CHILD}
begun()
time.sleep(300)
"""


@pytest.fixture(autouse=True)
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Something that answers where a Prefect server is named, so that none is started."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_address[1]}/api")
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    for folder in (project.leases, project.locks, project.logs, project.work, project.prefect_home):
        folder.mkdir(parents=True)
    return project


def command(project: Project, program: str) -> Command:
    program_of = (sys.executable, "-c", BEGINNING + program)
    return Command("test", {"place": str(project.root)}, "a test", "interrupted", project.logs / "test.log", program_of)


def when_begun(project: Project, act: Callable[[], None]) -> threading.Thread:
    """Act as soon as the worker is at work."""

    def wait() -> None:
        while not (project.root / "begun").exists():
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def scratch(project: Project) -> Path:
    return Path((project.root / "begun").read_text())


def child_lives(project: Project) -> bool:
    number = int((project.root / "child").read_text())
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


def test_what_the_worker_tells_is_shown_and_kept_and_its_code_is_the_commands(project: Project) -> None:
    screen = io.StringIO()

    code = supervise(project, command(project, TELLS), Console(file=screen))

    assert code == 3
    assert "all is well" in screen.getvalue()
    records = list(journal.read(project.logs / "test.jsonl"))
    assert [record["kind"] for record in records] == ["said", "ended"]
    assert records[-1]["code"] == 3
    assert list(project.leases.iterdir()) == []


SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
ASKS = """
import urllib.request
tell("server")
while True:
    try:
        urllib.request.urlopen(os.environ["PREFECT_API_URL"] + "/health").close()
        break
    except OSError:
        time.sleep(0.05)
tell("code", code=0)
"""


@pytest.mark.parametrize(("program", "started"), [(TELLS, False), (ASKS, True)])
def test_a_server_of_its_own_is_started_for_a_worker_that_asks_for_it(
    program: str, started: bool, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL")
    monkeypatch.setattr(prefect_server, "command", lambda port: [sys.executable, "-c", SERVER, str(port)])

    code = supervise(project, command(project, program), Console(file=io.StringIO()))

    assert code == (0 if started else 3)
    assert (project.logs / "prefect-server.log").exists() == started
    assert "server" not in {record["kind"] for record in journal.read(project.logs / "test.jsonl")}


def test_a_worker_that_hangs_is_ended_with_all_that_it_has_started(project: Project) -> None:
    screen = io.StringIO()
    when_begun(project, lambda: os.kill(os.getpid(), signal.SIGINT))

    began = time.monotonic()
    code = supervise(project, command(project, HANGS), Console(file=screen))

    assert code == 130
    assert time.monotonic() - began < 10.0
    assert "interrupted" in screen.getvalue()
    assert not child_lives(project)
    assert not scratch(project).exists()


def test_a_second_signal_waits_for_nothing(project: Project) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    when_begun(project, twice)
    began = time.monotonic()

    assert supervise(project, command(project, HANGS), Console(file=io.StringIO())) == 130

    assert time.monotonic() - began < 3.5  # less than the worker's grace
    assert not child_lives(project)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_worker_that_closes_what_it_has_open_is_given_the_time(project: Project, number: signal.Signals) -> None:
    when_begun(project, lambda: os.kill(os.getpid(), number))

    assert supervise(project, command(project, CLOSES), Console(file=io.StringIO())) == 130

    assert (project.root / "closed").exists()
    assert not child_lives(project)
    assert not scratch(project).exists()


def test_a_worker_that_is_killed_is_named_and_its_children_end(project: Project) -> None:
    screen = io.StringIO()

    def kill() -> None:
        (lease,) = leases.held(project)
        os.kill(lease.content["worker"], signal.SIGKILL)

    when_begun(project, kill)
    code = supervise(project, command(project, HANGS), Console(file=screen, width=500))

    assert code == 1
    assert "was killed (signal 9), for want of memory most likely; the same command goes on" in screen.getvalue()
    assert not child_lives(project)


SUPERVISOR = """
import sys
from pathlib import Path
from rich.console import Console
from flows.base.project import Project
from tests.flows import test_supervision as here
project = Project(Path(sys.argv[1]))
here.supervise(project, here.command(project, here.CLOSES), Console())
"""


def test_when_the_supervisor_is_killed_the_worker_closes_and_nothing_is_left(project: Project) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(project.root)], cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL
    )
    when_begun(project, supervisor.kill).join(60)
    supervisor.wait()

    limit = time.monotonic() + 10.0
    while child_lives(project) or scratch(project).exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    assert (project.root / "closed").exists()
    # Its lease is still there, and says to whoever looks that nobody holds it.
    (lease,) = leases.held(project)
    assert leases.living(project) == set()
    assert lease.content["command"] == "a test"


def test_the_terminal_may_go_away(project: Project) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    assert supervise(project, command(project, TELLS), Console(file=Gone())) == 3
    assert [record["kind"] for record in journal.read(project.logs / "test.jsonl")] == ["said", "ended"]


def test_a_family_ends_with_the_members_that_are_started_meanwhile(tmp_path: Path) -> None:
    # Given: one that starts another every 10 ms, each in a session of its own.
    endless = (
        "import subprocess, sys, time\n"
        "while True:\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'], start_new_session=True)\n"
        "    time.sleep(0.01)\n"
    )
    with family.gathered() as own:
        environment = {**os.environ, **own.environment}
        process = subprocess.Popen([sys.executable, "-c", endless], env=environment, start_new_session=True)
        while len(family.members(own.mark)) < 4:
            time.sleep(0.05)
        own.end()
        assert family.members(own.mark) == []
    process.wait()


def test_a_member_that_has_lost_its_environment_is_known_by_its_files(tmp_path: Path) -> None:
    """As Ray's agents do, whose title is written over their environment; their parent is killed, and they go on."""
    titled = (
        "import os, sys, time, ray\n"
        "log = open(os.path.join(sys.argv[1], 'agent.log'), 'w')\n"
        "ray._raylet.setproctitle('ray::DashboardAgent')\n"
        "print('titled', flush=True)\n"
        "time.sleep(300)\n"
    )
    with family.gathered() as own, family.gathered() as other:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", titled, str(each.scratch)],
                env={**os.environ, **each.environment},
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            for each in (own, other)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"titled\n"
        assert psutil.Process(processes[0].pid).environ() == {}
        (own.scratch / "agent.log").unlink()  # as Ray's folder goes before its agents do
        assert [each.pid for each in family.members(own.mark, own.scratch)] == [processes[0].pid]
        own.end()
        processes[0].wait(timeout=5)
        assert processes[1].poll() is None, "another family's"
    processes[1].wait(timeout=5)


def test_records_survive_a_line_that_was_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "line.jsonl"
    whole = json.dumps({"at": 1, "kind": "said", "text": "é"}, ensure_ascii=False).encode()
    file.write_bytes(whole + b"\n" + whole[:20] + b"\n[1]\n\xff\xfe\n" + whole + b"\n")

    assert [record["text"] for record in journal.read(file)] == ["é", "é"]
