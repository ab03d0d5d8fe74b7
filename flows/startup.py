"""The start-up room: whoever starts a line comes through here first.

A line that runs holds a lease, a small file that names its process and what it has open. A start closes what lines
left open whose process is gone: their runs in MLflow, their flow runs in Prefect, a temporary server of theirs. It also
starts the temporary Prefect server that lives and dies with the line, where PREFECT_API_URL names no other.
"""

from __future__ import annotations

import base64
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
from filelock import FileLock

from components.artifacts import writing
from flows import notices
from flows.project import LOOPBACK, Project

SERVER_SECONDS = 120.0  # 8–15 s with two free cores, most of it imports; a busy machine needs several times that
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class StartupError(RuntimeError):
    """The line could not be started; says what was tried and what to do."""


@dataclass
class Lease:
    """What one running line has open; written at every change, removed at its end."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)

    def note(self, **values: Any) -> None:
        """Add to the lease, in one write."""
        self.content.update(values)
        with writing(self.path) as temporary:
            temporary.write_text(json.dumps(self.content), encoding="utf-8")

    @property
    def id(self) -> str:
        return self.path.stem

    def leave_open(self) -> None:
        """Keep the lease beyond its line, which could not close everything: the next start does."""
        self.note(open=True)


@contextmanager
def leased(project: Project) -> Iterator[Lease]:
    """A lease for this process; it goes when the block ends, and stays behind when the process is killed.

    It also stays where the line left something open (`Lease.leave_open`).
    """
    lease = Lease(project.leases / f"{uuid.uuid4().hex}.json")
    lease.note(pid=os.getpid(), started=psutil.Process().create_time(), host=socket.gethostname())
    try:
        yield lease
    finally:
        if not lease.content.get("open"):
            lease.path.unlink(missing_ok=True)


def abandoned(project: Project) -> list[Lease]:
    """Leases of lines that have ended without closing everything.

    Of this machine: those whose process is gone. Of others, which share the project's folder: those whose flow run
    Prefect knows to be over (`zombies` sees to it that it does).
    """
    found = []
    for path in sorted(project.leases.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # its line has just ended
        if content.get("open"):
            over = True
        elif content["host"] == socket.gethostname():
            over = not _alive(content["pid"], content["started"])
        else:
            over = _is_over(content.get("flow_run"))
        if over:
            found.append(Lease(path, content))
    return found


def settle(project: Project) -> list[str]:
    """Close everything that killed lines left open; returns a sentence for each. Needs PREFECT_API_URL.

    MLflow runs become KILLED, flow and task runs Crashed, so no page shows a dead run as running; people are told.
    """
    told = []
    with FileLock(project.locks / "settle.lock"):  # two starts at once: each lease is settled by one of them
        for lease in abandoned(project):
            _reap_server(lease)
            runs = _close_mlflow_runs(project, lease)
            flow_run = lease.content.get("flow_run")
            news = flow_run is not None and _crash_flow_run(flow_run)
            shutil.rmtree(project.work / f"data-{lease.id}", ignore_errors=True)
            lease.path.unlink(missing_ok=True)
            what = f"closed {len(runs)} runs of a line that was killed (process {lease.content['pid']})"
            if news:
                notices.tell(project, "failure", f"a line of {lease.content.get('experiment')} was killed", what)
            told.append(what)
    return told


def _is_over(flow_run: str | None) -> bool:
    """Whether Prefect has a flow run as final; one that it does not know may be another server's."""
    if flow_run is None:
        return False
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(uuid.UUID(flow_run)).state
        except ObjectNotFound:
            return False
    return state is not None and state.is_final()


def _alive(pid: int, started: float) -> bool:
    """Whether that very process lives: numbers are given out again, so the start time is compared too."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _close_mlflow_runs(project: Project, lease: Lease) -> list[str]:
    from components.registry import decisions, tracking

    experiment = lease.content.get("experiment")
    if experiment is None:
        return []
    connection = tracking.connect(project.root, experiment)
    decisions.settle(connection, experiment)
    left = connection.runs_left_running({"convoy.line": lease.id})
    for run_id in left:
        connection.finish(run_id, "KILLED")
    return left


def _crash_flow_run(flow_run: str) -> bool:
    """End the run in Prefect; whether that is news."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.objects import State
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        identifier = uuid.UUID(flow_run)
        try:
            known = client.read_flow_run(identifier)
        except ObjectNotFound:
            return False  # another server, or its database was deleted
        gone: State[None] = Crashed(message="The process was killed.")
        for task_run in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[identifier]))):
            if task_run.state is None or not task_run.state.is_final():
                client.set_task_run_state(task_run.id, gone, force=True)
        if known.state is not None and known.state.is_final():
            return False
        client.set_flow_run_state(identifier, gone, force=True)
        return True


# -- the temporary Prefect server -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A Prefect server of our own, and where it answers."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    starting: FileLock  # held until it answers: two servers that make the tables of one new database break each other

    def wait(self) -> None:
        """Return when it answers; StartupError with its last words when it ends or takes too long."""
        limit = time.monotonic() + SERVER_SECONDS
        while self.process.poll() is None and time.monotonic() < limit:
            if answers(self.url):
                self.starting.release()
                return
            time.sleep(0.1)
        words = "\n".join(self.log.read_text(errors="replace").strip().splitlines()[-5:])
        what = "did not answer" if self.process.poll() is None else "ended"
        raise StartupError(f"the temporary Prefect server {what} while it started; its log is {self.log}:\n{words}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def let_in(api_url: str) -> None:
    """Return where the Prefect server at this address answers and takes us for who we are; else StartupError."""
    if not answers(api_url):
        raise StartupError(
            f"Prefect at {api_url} does not answer; start the server, correct PREFECT_API_URL, or unset it to use a"
            " temporary one"
        )
    account, key = os.environ.get("PREFECT_API_AUTH_STRING"), os.environ.get("PREFECT_API_KEY")
    request = urllib.request.Request(f"{api_url}/admin/version")  # noqa: S310 — http(s), from Prefect's settings
    if account:
        request.add_header("Authorization", f"Basic {base64.b64encode(account.encode()).decode()}")
    elif key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            return  # not every server has that page; what it thinks of us it will say itself
        given = "what PREFECT_API_AUTH_STRING says is not its" if account else "it asks for a"
        raise StartupError(
            f"Prefect at {api_url} does not let us in: {given} USER:PASSWORD; set PREFECT_API_AUTH_STRING to it"
        ) from error
    except OSError as error:
        raise StartupError(f"Prefect at {api_url} has stopped answering: {error}; start the command again") from error


def answers(api_url: str) -> bool:
    """Whether a Prefect server answers at this address."""
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2):  # noqa: S310 — http(s), from Prefect's settings
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False


@contextmanager
def prefect_server(project: Project, lease: Lease) -> Iterator[Server | None]:
    """A temporary server, and PREFECT_API_URL set to it; None where the variable names a server already.

    It starts in the background: call `wait` before the first flow. On Linux the kernel ends it with this process,
    elsewhere the next start does.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        let_in(named)
        yield None
        return
    log = project.logs / "prefect-server.log"
    starting = database_lock(project)
    starting.acquire()
    with log.open("ab") as output:
        server = _start_server(log, output, starting)
    lease.note(server=server.process.pid, server_started=psutil.Process(server.process.pid).create_time())
    os.environ["PREFECT_API_URL"] = server.url
    try:
        yield server
    finally:
        _tell_all()
        os.environ.pop("PREFECT_API_URL", None)
        starting.release()
        server.stop()


def _tell_all() -> None:
    """Send what Prefect still has to say while its server listens: at exit it would wait long for one that is gone."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        worker.drain_all(timeout=10)


def database_lock(project: Project) -> FileLock:
    """Held by whoever starts a server on the project's Prefect database, until it answers."""
    return FileLock(project.locks / "prefect-database.lock", timeout=SERVER_SECONDS)


def _start_server(log: Path, output: IO[bytes], starting: FileLock) -> Server:
    spec = importlib.util.find_spec("prefect")
    if spec is None or spec.origin is None:
        raise StartupError("Prefect is not installed; run `make setup`")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(spec.origin).parent.parent)]
    command += ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on", "--log-level", "error"]
    command += ["--host", LOOPBACK, "--port", str(port)]
    # Schedules are for servers that stay; Prefect's own temporary server leaves the same services out.
    environment = {**os.environ, "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, preexec_fn=die_with_parent)  # noqa: PLW1509 — started before there are threads
    return Server(process, f"http://{LOOPBACK}:{port}/api", log, starting)


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether nobody listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def die_with_parent() -> None:
    """Ask Linux to end this child when its parent ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _reap_server(lease: Lease) -> None:
    pid, started = lease.content.get("server"), lease.content.get("server_started")
    if pid is not None and started is not None and _alive(pid, started):
        psutil.Process(pid).terminate()
