"""The pages that people browse: MLflow's, Prefect's and Evidently's own servers, and one page before them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from components import own_files
from components.files import writing
from components.release import CODE
from flows.base.project import EVIDENTLY_PORT, INDEX_PORT, LOOPBACK, MLFLOW_PORT, PREFECT_PORT, Project
from flows.pages import index, overview
from flows.processes import family, guard, leases, notes
from flows.processes.prefect_server import (
    ACCOUNT,
    SERVER_SECONDS,
    StartupError,
    account,
    answers,
    asked_for,
    command,
    database_lock,
    let_in,
    port_is_free,
    settings,
)

STOP_SECONDS = 3.0  # how long a server may take to end: three of them, one after the other, are gone within ten
HEALTH = {"MLflow": "/health", "Prefect": "/api/health", "Evidently": "/api/version"}


ADDRESS = re.compile(rf"http://{re.escape(LOOPBACK)}:\d{{1,5}}(/api)?")  # what a note of ours says
NOTE = "pages.url"  # in the project's state: where the page before all others answers, for as long as it does


@dataclass(frozen=True)
class Ports:
    """Where each page answers on the loopback."""

    index: int = INDEX_PORT
    mlflow: int = MLFLOW_PORT
    prefect: int = PREFECT_PORT
    evidently: int = EVIDENTLY_PORT


def serve(project: Project, ports: Ports, say: Callable[[str], None]) -> None:
    """Start all of them and wait; ends when interrupted, or with StartupError when one of them ends.

    StartupError too where this project's pages are up already: two sets would write over each other's notes.
    """
    with _alone(project), ExitStack() as stack:
        engines = {
            "MLflow": stack.enter_context(mlflow_server(project, ports.mlflow)),
            "Prefect": stack.enter_context(lasting_prefect_server(project, ports.prefect)),
            "Evidently": stack.enter_context(evidently_server(project, ports.evidently)),
        }
        _free("the overview", ports.index)
        state = overview.Watch(project)
        state.warm()
        first = stack.enter_context(index.served(project, ports.index, engines, partial(experiments, project), state))
        stack.enter_context(_noted(project, first))
        say(f"all of it  {first}    how things are, and the ways to what follows, to data docs and data sets' cards")
        say(f"MLflow     {engines['MLflow']}    experiments, runs, registered models")
        say(f"Prefect    {engines['Prefect']}    flow runs, steps, schedules{login(project)}")
        say(f"Evidently  {engines['Evidently']}    drift, its history")
        say("Ctrl-C ends them.")
        while True:
            if leases.dead(project):
                leases.settle(project)  # so that MLflow's and Prefect's own pages tell the truth too
            time.sleep(1.0)
            for name, path in HEALTH.items():
                address = f"{engines[name]}{path}"
                if not _answers(address) and not _answers(address):
                    raise StartupError(f"{name} at {address} has ended; its log is in {project.logs}")


def login(project: Project) -> str:
    """What Prefect's pages ask for, where the server that we talk to is our own."""
    return f"; log in with what is in {_account(project)}" if _is_own(project) else ""


def let_into_prefect(project: Project) -> str:
    """What stands before a command of Prefect's in a shell of the project, where the server is our own."""
    if not _is_own(project):
        return ""
    return f'PREFECT_API_URL={os.environ["PREFECT_API_URL"]} PREFECT_API_AUTH_STRING="$(cat {_account(project)})" '


def _is_own(project: Project) -> bool:
    return os.environ.get("PREFECT_API_AUTH_STRING") == account(project)


def _account(project: Project) -> Path:
    return (project.prefect_home / ACCOUNT).relative_to(project.root)


def experiments(project: Project) -> dict[str, str]:
    """The models that there were lines of: where their experiments are, below MLflow's address."""
    from components.registry import lines
    from components.registry.memory import addresses, tracking

    places = lines.experiments(tracking.connect(project.root))
    return {str(place.experiment): addresses.experiment(str(place.experiment_id)) for place in places}


def running(project: Project) -> dict[str, str]:
    """Where this project's pages answer now: `index`, `MLflow`, `Prefect`, `Evidently`; empty where none are up.

    Servers that the engines' own variables name count as up.
    """
    note = project.state / NOTE
    found = index.asked(project, address) if (address := noted(note)) else {}
    store, prefect = os.environ.get("MLFLOW_TRACKING_URI", ""), os.environ.get("PREFECT_API_URL")
    if store.startswith(("http://", "https://")):
        found["MLflow"] = store.rstrip("/")
    if prefect:
        found["Prefect"] = prefect.removesuffix("/api")
    return found


def noted(note: Path) -> str | None:
    """The address that a note of this project names; None where there is none, or something else stands in it."""
    words = (own_files.text(note) or "").strip()
    return words if ADDRESS.fullmatch(words) else None


@contextmanager
def _alone(project: Project) -> Iterator[None]:
    """One set of pages a project; the lock goes with its process, however that ends."""
    lock = FileLock(project.locks / "pages.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        at = noted(project.state / NOTE)
        where = f"are up at {at}" if at else "are being started"
        raise StartupError(f"this project's web UIs {where}, by another `convoy ui`; end that one first") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _noted(project: Project, address: str) -> Iterator[None]:
    """Other commands of this project find the pages by this note; they ask there whether it is still true."""
    note = project.state / NOTE
    if note.is_dir():
        own_files.remove(note)
    with writing(note) as temporary:
        temporary.write_text(address, encoding="utf-8")
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


@contextmanager
def mlflow_server(project: Project, port: int) -> Iterator[str]:
    """MLflow's pages over the project's store; the address. Where MLFLOW_TRACKING_URI is a server, that is it."""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    if named.startswith(("http://", "https://")):
        yield named.rstrip("/")
        return
    from components.registry.memory import place
    from components.registry.memory.store import local_uri
    from components.registry.memory.tracking import connect

    connect(project.root)  # the tables are made once, under a lock, before a server looks for them
    own = {guard.STORE: named or local_uri(project.root), guard.ARTIFACTS: place.artifacts(project.root).as_uri()}
    with _guarded("MLflow", "flows.processes.guard:mlflow", port, project.logs / "mlflow-server.log", own) as address:
        yield address


@contextmanager
def evidently_server(project: Project, port: int) -> Iterator[str]:
    """Evidently's pages over the history of drift; the address."""
    project.drift_history.mkdir(parents=True, exist_ok=True)
    own = {guard.WORKSPACE: str(project.drift_history)}
    log = project.logs / "evidently-server.log"
    with _guarded("Evidently", "flows.processes.guard:evidently", port, log, own) as address:
        yield address


@contextmanager
def _guarded(name: str, factory: str, port: int, log: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """A server behind the door of `guard`; the address."""
    program = [sys.executable, "-m", "uvicorn", "--factory", factory, "--app-dir", str(CODE)]
    program += ["--log-level", "error", "--host", LOOPBACK, "--port", str(port)]
    with _process(name, program, port, HEALTH[name], log, {guard.PORT: str(port), **variables}):
        yield f"http://{LOOPBACK}:{port}"


@contextmanager
def lasting_prefect_server(project: Project, port: int) -> Iterator[str]:
    """A Prefect server with its scheduler, over the project's database; the address of its pages.

    Where PREFECT_API_URL names a server, or this project's own answers already, at whatever port, that is it: two on
    one database would do everything twice. PREFECT_API_URL is set meanwhile.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        let_in(named)
        yield named.removesuffix("/api")
        return
    note = project.prefect_home / notes.PREFECT
    with ExitStack() as stack:
        with database_lock(project):
            url = notes.read(note, project)
            if url is None or not answers(url):
                url = f"http://{LOOPBACK}:{port}/api"
                log, own = project.logs / "prefect-server.log", settings(project, port)
                process = stack.enter_context(_process("Prefect", command(port), port, HEALTH["Prefect"], log, own))
                if note.is_dir():
                    own_files.remove(note)
                notes.write(note, project, url, process.pid)
        os.environ["CONVOY_PREFECT_UI"] = url.removesuffix("/api")  # for the runs that a schedule starts
        with asked_for(url, project):
            yield url.removesuffix("/api")


@contextmanager
def _process(
    name: str, command: list[str], port: int, health: str, log: Path, variables: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server, from its first answer to the end of the block."""
    _free(name, port)
    address = f"http://{LOOPBACK}:{port}"
    with family.gathered() as own:  # the servers' own children (job runners, workers) do not all end with them
        environment = {**os.environ, **own.environment, **(variables or {})}
        with log.open("ab") as output:
            # A session of its own: a Ctrl-C in the terminal is for this process, which ends the server in its turn.
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        own.watch()
        try:
            limit = time.monotonic() + SERVER_SECONDS
            while not _answers(f"{address}{health}"):
                if process.poll() is not None or time.monotonic() > limit:
                    raise StartupError(f"{name} did not start on {address}; its log is {log}")
                time.sleep(0.2)
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=STOP_SECONDS)


def _free(name: str, port: int) -> None:
    if not port_is_free(port):
        raise StartupError(f"{name}: port {port} of {LOOPBACK} is in use; end what uses it, or choose another port")


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310 — our own loopback addresses
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False
