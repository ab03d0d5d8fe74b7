"""The pages and the schedule, as real servers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from flows.base.project import Project
from flows.pages import pages
from flows.processes.prefect_server import free_port
from tests.flows.conftest import make_project

LIMIT = 180.0  # seconds


def clean_environment() -> dict[str, str]:
    """Without what other tests of this process have set."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}


@contextmanager
def convoy(root: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = clean_environment()
    with (root / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "flows.cli", *arguments],
            env={**environment, "CONVOY_ROOT": str(root)},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        # Not SIGINT: what a shell starts in the background ignores that.
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def wait_for(text: str, root: Path, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + LIMIT
    while text not in (root / "output.txt").read_text():
        assert process.poll() is None, (root / "output.txt").read_text()
        assert time.monotonic() < limit, (root / "output.txt").read_text()
        time.sleep(0.2)


@pytest.mark.slow  # three servers of engines, and commands beside them
def test_the_pages_answer_on_loopback_and_nowhere_else_and_end_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    root = make_project(tmp_path / "pages")
    ports = {name: free_port() for name in ("--port", "--mlflow-port", "--prefect-port", "--evidently-port")}

    with convoy(root, "ui", *(text for name, port in ports.items() for text in (name, str(port)))) as process:
        wait_for("Ctrl-C ends them", root, process)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        heard = {
            (connection.laddr.ip, connection.laddr.port)
            for each in family
            for connection in each.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert {ip for ip, _ in heard} == {"127.0.0.1"}
        assert set(ports.values()) <= {port for _, port in heard}
        for port in ports.values():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                assert b"<html" in answer.read().lower()
        up = pages.running(Project(root))
        assert {name: urlsplit(address).port for name, address in up.items()} == {
            "index": ports["--port"],
            "MLflow": ports["--mlflow-port"],
            "Prefect": ports["--prefect-port"],
            "Evidently": ports["--evidently-port"],
        }
        copy = Project(tmp_path / "copy")  # with the note that names them: they are the original's all the same
        copy.state.mkdir(parents=True)
        shutil.copy(root / ".convoy" / pages.NOTE, copy.state)
        assert pages.running(copy) == {}
        # another set is refused, whatever its ports, and what is up stays as it is; so it does beside a cleaning
        others = [text for name in ports for text in (name, str(free_port()))]
        for command, code in ((("ui", *others), 1), (("clean", "--older-than", "0", "--yes"), 0)):
            beside = subprocess.run(
                [sys.executable, "-m", "flows.cli", *command],
                env={**clean_environment(), "CONVOY_ROOT": str(root)}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert beside.returncode == code, beside.stdout + beside.stderr
            assert code == 0 or f"pages are up at {up['index']}, by another `convoy ui`" in beside.stderr
            assert pages.running(Project(root)) == up
        assert (root / ".convoy" / "logs" / "mlflow-server.log").is_file()
        # and Prefect's is the one server on its database, also for who asks for another port
        monkeypatch.setenv("PREFECT_HOME", str(Project(root).prefect_home))
        with pages.lasting_prefect_server(Project(root), free_port()) as address:
            assert address == up["Prefect"]

    assert pages.running(Project(root)) == {}
    with pages._alone(Project(root)):  # the place is free again
        pass
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    root = make_project(tmp_path / "pages")
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with convoy(root, "ui", "--prefect-port", str(port)) as process:
            assert process.wait(timeout=60) == 1
    assert f"port {port} of 127.0.0.1 is in use" in (root / "output.txt").read_text()


@pytest.mark.slow
def test_a_schedule_fires_and_a_run_on_nothing_new_is_short(tmp_path: Path) -> None:
    """Waits for two real scheduled runs: the first does the line, the second finds everything done."""
    root = make_project(tmp_path / "scheduled")
    port = free_port()

    with convoy(root, "schedule", "--cron", "* * * * *", "-r", "digits", "--prefect-port", str(port)) as process:
        wait_for("runs at", root, process)
        limit = time.monotonic() + 420
        done: list[dict[str, object]] = []
        while len(done) < 2:
            assert process.poll() is None, (root / "output.txt").read_text()
            assert time.monotonic() < limit, (root / "output.txt").read_text()
            time.sleep(2)
            done = [run for run in flow_runs(port) if run["state_type"] == "COMPLETED"]

    second = sorted(done, key=lambda run: str(run["start_time"]))[1]
    assert float(str(second["total_run_time"])) < 20.0
    assert second["auto_scheduled"] is True


def flow_runs(port: int) -> list[dict[str, object]]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/flow_runs/filter",
        data=b"{}",
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 — loopback
        found: list[dict[str, object]] = json.loads(answer.read())
    return found
