"""The pages that people browse: MLflow's and Prefect's own servers, on loopback unless the operator says otherwise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from components.registry.tracking import connect, local_uri
from flows.project import LOOPBACK, Project
from flows.startup import SERVER_SECONDS, StartupError, answers, database_lock, die_with_parent, port_is_free


def serve(project: Project, mlflow_port: int, prefect_port: int, say: Callable[[str], None]) -> None:
    """Start both and wait; ends when interrupted, or with StartupError when one of them ends."""
    with ExitStack() as stack:
        prefect = stack.enter_context(lasting_prefect_server(project, prefect_port))
        mlflow = stack.enter_context(mlflow_server(project, mlflow_port))
        say(f"MLflow   {mlflow}    experiments, runs, registered models")
        say(f"Prefect  {prefect}    flow runs, steps, schedules")
        say("Ctrl-C ends both.")
        while True:
            time.sleep(1.0)
            for name, address in (("MLflow", f"{mlflow}/health"), ("Prefect", f"{prefect}/api/health")):
                if not _answers(address) and not _answers(address):
                    raise StartupError(f"{name} at {address} has ended; its log is in {project.logs}")


@contextmanager
def mlflow_server(project: Project, port: int) -> Iterator[str]:
    """MLflow's pages over the project's store; the address. Where MLFLOW_TRACKING_URI is a server, that is it."""
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    if named.startswith(("http://", "https://")):
        yield named.rstrip("/")
        return
    connect(project.root)  # the tables are made once, under a lock, before a server looks for them
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", named or local_uri(project.root)]
    command += ["--default-artifact-root", (project.state / "mlartifacts").as_uri()]
    command += ["--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    with _running("MLflow", command, port, "/health", project.logs / "mlflow-server.log") as address:
        yield address


@contextmanager
def lasting_prefect_server(project: Project, port: int) -> Iterator[str]:
    """A Prefect server with its scheduler, over the project's database; the address of its pages.

    Where PREFECT_API_URL names a server, or this project's own answers on the port already, that is it.
    PREFECT_API_URL is set meanwhile.
    """
    named = os.environ.get("PREFECT_API_URL")
    if named:
        if not answers(named):
            raise StartupError(f"Prefect at {named} does not answer; start it, or unset PREFECT_API_URL")
        yield named.removesuffix("/api")
        return
    url = f"http://{LOOPBACK}:{port}/api"
    note = project.prefect_home / "server.url"
    with ExitStack() as stack:
        if not (note.is_file() and note.read_text(encoding="utf-8") == url and answers(url)):
            executable = shutil.which("prefect", path=str(Path(sys.executable).parent)) or "prefect"
            command = [executable, "server", "start", "--host", LOOPBACK, "--port", str(port)]
            log = project.logs / "prefect-server.log"
            with database_lock(project):
                stack.enter_context(_running("Prefect", command, port, "/api/health", log))
            note.write_text(url, encoding="utf-8")
        os.environ["PREFECT_API_URL"] = url
        try:
            yield url.removesuffix("/api")
        finally:
            os.environ.pop("PREFECT_API_URL", None)


@contextmanager
def _running(name: str, command: list[str], port: int, health: str, log: Path) -> Iterator[str]:
    if not port_is_free(port):
        raise StartupError(f"{name}: port {port} of {LOOPBACK} is in use; end what uses it, or choose another port")
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=die_with_parent)  # noqa: PLW1509
    address = f"http://{LOOPBACK}:{port}"
    try:
        limit = time.monotonic() + SERVER_SECONDS
        while not _answers(f"{address}{health}"):
            if process.poll() is not None or time.monotonic() > limit:
                raise StartupError(f"{name} did not start on {address}; its log is {log}")
            time.sleep(0.2)
        yield address
    finally:
        # The servers' own children (job runners, workers) do not all end with them.
        alive = process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True) if alive else []
        process.terminate()
        process.wait(timeout=30)
        _, left = psutil.wait_procs(family, timeout=5)
        for each in left:
            each.kill()
        psutil.wait_procs(left, timeout=5)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310 — our own loopback addresses
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False
