"""Killed, interrupted, fed rubbish: nothing is lost, nothing half-written stays, and the same command goes on."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.artifacts import Model
from components.registry import versions
from components.registry.memory import tracking
from flows.line import Outcome
from tests.flows.conftest import make_project

LIMIT = 600  # seconds: two whole lines, on a machine that may be busy


def start(root: Path, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"CONVOY_ROOT": str(root), **variables}
    command = [sys.executable, "-m", "flows.cli", "run", "-r", "digits", *arguments]
    with (root / "output.txt").open("ab") as output:
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes], root: Path) -> None:
    limit = time.monotonic() + LIMIT
    while not happened():
        assert process.poll() is None, (root / "output.txt").read_text()
        assert time.monotonic() < limit, "it took too long"
        time.sleep(0.05)


def ended(process: subprocess.Popen[bytes], root: Path) -> int:
    """The exit code; where there is none in time, what the line has printed and logged so far."""
    try:
        return process.wait(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        newest = max((root / ".convoy" / "logs").glob("run-*.log"), key=lambda path: path.stat().st_mtime)
        told = [path.read_text(errors="replace")[-5000:] for path in (root / "output.txt", newest)]
        raise AssertionError("it took too long\n" + "\n".join(told)) from None


def result(root: Path, step: str) -> Path:
    store = tracking.connect(root, "digits")
    run = store.search({"convoy.step": step}, status="FINISHED")[0]
    return store.artifact_folder(run.id, "result")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_while_training_it_goes_on_and_ends_with_the_same_weights(
    tmp_path: Path, outcome: Outcome, project: Path
) -> None:
    root = make_project(tmp_path / "killed")
    process = start(root)
    wait_for(lambda: any(root.glob(".convoy/work/*/storage/member-1-*/epoch-*")), process, root)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    again = start(root)

    assert ended(again, root) == 0, (root / "output.txt").read_text()
    own, runs = tracking.connect(project, "digits"), {done.step: done.run_id for done in outcome.done}
    for step, name in (("train", "member-0"), ("train", "member-2"), ("ensemble", "ensemble"), ("distil", "student")):
        resumed = Model.load(result(root, step) / "models" / name)
        undisturbed = Model.load(own.artifact_folder(runs[step], "result") / "models" / name)
        assert resumed.digest == undisturbed.digest, name

    store = tracking.connect(root, "digits")
    assert store.search(status="RUNNING") == []
    newest, oldest = store.search({"convoy.recipe": "digits"})
    assert (newest.status, oldest.status) == ("FINISHED", "KILLED")
    assert newest.tags["convoy.reused.augmentation"] == oldest_child(store, oldest.id, "augmentation")
    member = store.children(newest.tags["convoy.ran.train"])[0]
    assert [point.step for point in store.client.get_metric_history(member.id, "validation_accuracy")] == [1, 2]
    with sqlite3.connect(root / ".convoy" / "prefect" / "prefect.db") as database:
        states = database.execute("select state_type from flow_run order by created").fetchall()
    assert states == [("CRASHED",), ("COMPLETED",)]
    assert list((root / ".convoy" / "work").iterdir()) == []
    assert list((root / ".convoy" / "lines").iterdir()) == []


def serve_mlflow(root: Path, port: int) -> subprocess.Popen[bytes]:
    """MLflow's own server on the database of `root`, answering."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{root / 'server.db'}", "--artifacts-destination", str(root / "kept")]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + LIMIT
    while time.monotonic() < limit:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                return process
        except OSError:
            assert process.poll() is None
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.mark.slow
def test_mlflow_away_for_half_a_minute_changes_nothing(tmp_path: Path, outcome: Outcome, project: Path) -> None:
    root = make_project(tmp_path / "away")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve_mlflow(tmp_path, port)
    try:
        process = start(root, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
        wait_for(lambda: any(root.glob(".convoy/work/*/storage/member-0-*/epoch-00001")), process, root)
        os.killpg(server.pid, signal.SIGKILL)
        time.sleep(30)
        assert process.poll() is None, (root / "output.txt").read_text()
        server = serve_mlflow(tmp_path, port)
        assert ended(process, root) == 0, (root / "output.txt").read_text()
        client = MlflowClient(f"http://127.0.0.1:{port}")
        experiment = client.get_experiment_by_name("digits")
        found = client.search_runs([experiment.experiment_id])
        runs = {run.data.tags.get("convoy.step", run.info.run_name): run for run in found}
        for member in ("member-0", "member-1", "member-2"):
            points = client.get_metric_history(runs[member].info.run_id, "validation_accuracy")
            assert [point.step for point in points] == [1, 2]
            assert runs[member].info.status == "FINISHED"
        own = tracking.connect(project, "digits")
        done = {step.step: step.run_id for step in outcome.done}
        expected = Model.load(own.artifact_folder(done["train"], "result") / "models" / "member-2")
        folder = client.download_artifacts(runs["train"].info.run_id, "result/models/member-2", str(tmp_path))
        assert Model.load(Path(folder)).digest == expected.digest
    finally:
        os.killpg(server.pid, signal.SIGKILL)


@pytest.mark.slow
def test_interrupted_it_closes_its_runs_and_says_how_to_go_on(tmp_path: Path) -> None:
    root = make_project(tmp_path / "interrupted")
    process = start(root)
    wait_for((root / ".convoy" / "data" / "prepared" / "digits").exists, process, root)

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=60) == 130
    assert "the same command goes on" in (root / "output.txt").read_text()
    store = tracking.connect(root, "digits")
    assert store.search(status="RUNNING") == []


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_lines_at_once_do_not_do_a_step_twice(tmp_path: Path) -> None:
    root = make_project(tmp_path / "twice")
    first, second = start(root), start(root)

    codes = {ended(first, root), ended(second, root)}

    assert codes == {0}, (root / "output.txt").read_text()
    store = tracking.connect(root, "digits")
    assert len(store.search({"convoy.step": "train"})) == 1
    assert versions.versions(store, "digits").keys() == {1}


def oldest_child(store: tracking.Tracking, parent: str, step: str) -> str:
    return next(run.id for run in store.children(parent) if run.tags.get("convoy.step") == step)
