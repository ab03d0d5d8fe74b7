from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.registry.memory.store import TrackingError
from components.registry.memory.tracking import Tracking, connect
from tests.components.registry.registry_builders import build_evidence


def test_a_finished_step_is_found_by_its_key_and_an_unfinished_one_is_not(tracking: Tracking) -> None:
    # given a run with a key that is still going, and one of another key that is finished
    run = tracking.start_run("train", tags={"convoy.key": "abc"})
    tracking.finish(tracking.start_run("other", tags={"convoy.key": "xyz"}))
    # then it counts as done only when it is finished, and not when it failed
    assert tracking.find_finished("abc") is None
    tracking.finish(run, "FAILED")
    assert tracking.find_finished("abc") is None
    tracking.reopen(run)
    tracking.finish(run)
    assert tracking.find_finished("abc") == run


def test_a_run_keeps_what_it_was_told(tracking: Tracking, tmp_path: Path) -> None:
    parent = tracking.start_run("line", tags={"git": "1234"})
    child = tracking.start_run("train", parent=parent)
    tracking.log_params(child, {f"setting.{number}": number for number in range(150)})
    tracking.log_metrics(child, {"loss": 1.0, "recall T-shirt/top (new)": 0.5}, step=0)
    tracking.log_metrics(child, {"loss": 0.5}, step=1)
    tracking.log_evidence(child, build_evidence("a" * 64))
    tracking.log_note(child, "a note")
    tracking.log_dataset_input(child, "digits", "d" * 64, source="data/digits", context="training")
    (tmp_path / "report.html").write_text("<p>hello", encoding="utf-8")
    tracking.log_artifact(child, tmp_path / "report.html", "evaluate")

    run = tracking.get(child)
    assert run.parent == parent and [below.id for below in tracking.children(parent)] == [child]
    assert len(run.params) == 150 and run.metrics["loss"] == 0.5
    assert run.metrics["recall T-shirt_top _new-1f8029f3b5"] == 0.5
    assert run.metrics["test.accuracy.low"] == pytest.approx(0.88)
    shown = tracking.client.get_run(child).inputs.dataset_inputs[0]
    assert shown.dataset.name == "digits" and {tag.value for tag in shown.tags} == {"training", "d" * 64}
    assert (tracking.artifact_folder(child, "evaluate") / "report.html").read_text(encoding="utf-8") == "<p>hello"


def test_the_data_of_a_step_is_that_of_the_line_above_it(tracking: Tracking) -> None:
    # given a line that knows its data, a step of it, and a member's run below the step
    line = tracking.start_run("line", tags={"convoy.dataset": "digits", "convoy.data": "0123.dir"})
    step = tracking.start_run("train", parent=line)
    member = tracking.start_run("member-0", parent=step)
    assert {tracking.data_of(run) for run in (line, step, member)} == {("digits", "0123.dir")}


def test_a_run_that_never_came_to_its_data_is_named(tracking: Tracking) -> None:
    line = tracking.start_run("line", tags={"convoy.dataset": "digits"})
    step = tracking.start_run("train", parent=line)
    with pytest.raises(TrackingError, match=rf"run {step}.*'convoy.data'.*{line}"):
        tracking.data_of(step)
    with pytest.raises(TrackingError, match="reading a run failed"):
        tracking.data_of("0" * 32)


def test_missing_files_are_an_error_and_not_an_empty_folder(tracking: Tracking) -> None:
    run = tracking.start_run("train")
    with pytest.raises(TrackingError, match="no artifact 'model'"):
        tracking.artifact_folder(run, "model")


@pytest.mark.parametrize("named", ["../../data", "..", "/etc", "a/b"])
def test_a_tag_that_somebody_wrote_is_no_folder_elsewhere(tracking: Tracking, named: str) -> None:
    assert tracking.fetched(named).resolve().parent == (tracking.root / ".convoy" / "downloads").resolve()
    assert tracking.fetched("0123abcd").name == "0123abcd"


def test_runs_of_killed_lines_are_found_but_decisions_are_left_to_settle(tracking: Tracking) -> None:
    line = tracking.start_run("line", tags={"convoy.lease": "1"})
    tracking.start_run("decision", tags={"convoy.lease": "1", "kind": "decision"})
    tracking.finish(tracking.start_run("done", tags={"convoy.lease": "1"}))
    assert tracking.runs_left_running({"convoy.lease": "1"}) == [line]


def test_a_dead_server_is_an_error_within_seconds_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"does not answer.*MLFLOW_TRACKING_URI") as caught:
        connect(tmp_path, "digits")
    assert time.monotonic() - start < 15
    assert "secret" not in str(caught.value)


def test_a_server_that_dies_later_is_waited_for_and_named_where_it_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) == 6  # two minutes
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    dead = "http://127.0.0.1:9"
    tracking = Tracking(tmp_path, dead, MlflowClient(tracking_uri=dead), "digits", "1")
    start = time.monotonic()
    with pytest.raises(TrackingError, match="starting a run failed"):
        tracking.start_run("train")
    assert 3 < time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"), (403, "Ask who manages that experiment")],
)
def test_a_server_that_does_not_let_us_in_is_not_said_to_be_away(tmp_path: Path, status: int, advice: str) -> None:
    from mlflow import MlflowClient

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(status)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        tracking = Tracking(tmp_path, address, MlflowClient(tracking_uri=address), "digits", "1")
        with pytest.raises(TrackingError, match=advice) as caught:
            tracking.start_run("train")
        server.shutdown()
    assert "Start the server" not in str(caught.value)


@pytest.mark.slow
def test_processes_that_start_together_create_one_database(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from components.registry.memory.tracking import connect;"
        "t = connect(Path(sys.argv[1]), 'digits'); t.finish(t.start_run('train'))"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(connect(tmp_path, "digits").search()) == 3


def test_two_projects_in_one_process_do_not_share_a_store(tracking: Tracking, tmp_path: Path) -> None:
    other = connect(tmp_path / "other", "digits")
    run = other.start_run("train")
    assert tracking.search() == [] and [found.id for found in other.search()] == [run]
