"""Evidently's page and its history, written by two processes and served by its own server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from components.artifacts import Dataset
from components.config import DatasetConfig, DriftConfig
from components.data.drift.comparison import History, compare
from components.data.drift.profile import describe, profile, seen
from components.data.reading.loading import load_split
from flows.processes.prefect_server import free_port
from tests.components.data.drift.drift_builders import embed, told

ROOT = Path(__file__).parents[4]
LIMIT = 120.0  # seconds: other tests run beside


@pytest.fixture(scope="module")
def small(digits: tuple[Dataset, DatasetConfig]) -> pd.DataFrame:
    """A profile of two columns: what is tested is where it goes."""
    return profile(digits[0], sample=60)[["id", "split", "brightness", "label"]]


def snapshots(history: History) -> list[Path]:
    return sorted((history.workspace / str(history.project) / "snapshots").iterdir())


def test_the_page_gives_the_reports_verdicts(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    arrays, classes = load_split(digits[0], "train", limit=500), digits[0].card.classes
    dark = replace(arrays, inputs=arrays.inputs // 2)
    unseen = seen(load_split(digits[0], "train", limit=700), embed)  # more rows than the others
    now, before = (
        pd.concat([describe(rows, told(rows, classes)), unseen], ignore_index=True) for rows in (dark, arrays)
    )
    history = History(tmp_path / "evidently", "digits", "one", {"data": "abc"})

    report = compare(now, before, DriftConfig(), tmp_path, history)

    assert (tmp_path / "drift.html").stat().st_size > 100_000
    stored = json.loads(snapshots(history)[0].read_text())
    tests = {
        test["metric_config"]["params"].get("column"): test["status"]
        for metric in stored["metric_results"].values()
        for test in metric["tests"]
    }
    verdicts = {name: column.drifted for name, column in report.columns.items()}
    assert {name: tests[name] == "FAIL" for name in verdicts} == verdicts
    assert set(verdicts.values()) == {True, False}
    assert stored["metadata"] == {"verdict": report.message, "data": "abc"}


def test_the_same_comparison_is_one_run_and_another_one_a_second(small: pd.DataFrame, tmp_path: Path) -> None:
    for key in ("one", "one", "two"):
        history = History(tmp_path / "evidently", "digits", key, {})
        compare(small, small, DriftConfig(), tmp_path / "drift", history)
    assert len(snapshots(history)) == 2
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_what_people_have_made_of_the_dashboard_stays(small: pd.DataFrame, tmp_path: Path) -> None:
    history = History(tmp_path / "evidently", "digits", "one", {})
    compare(small, small, DriftConfig(), tmp_path / "drift", history)
    path = history.workspace / str(history.project) / "dashboard.json"
    board = json.loads(path.read_text())
    board["panels"][0]["size"], board["panels"] = "half", board["panels"][:1]
    path.write_text(json.dumps(board))

    wider = small.assign(contrast=0.5)
    compare(wider, wider, DriftConfig(), tmp_path / "drift", replace(history, key="two"))

    after = json.loads(path.read_text())["panels"]
    assert [panel["size"] for panel in after] == ["half"]
    # The pixels have another column now, and with it another series; the labels go on with theirs.
    assert [value["legend"] for value in after[0]["values"]] == ["pixels", "labels", "pixels"]


def test_what_a_killed_line_has_left_half_written_is_not_shown(small: pd.DataFrame, tmp_path: Path) -> None:
    history = History(tmp_path / "evidently", "digits", "one", {})
    half = tmp_path / ".evidently.writing" / str(history.project) / "snapshots"
    half.mkdir(parents=True)
    (half / "00000000-0000-0000-0000-000000000000.json").write_text('{"metric_res')
    compare(small, small, DriftConfig(), tmp_path / "drift", history)
    assert [file.name for file in snapshots(history)] == [f"{history.run}.json"]


LINE = """
import sys
from pathlib import Path
import pandas as pd
from components.config import DriftConfig
from components.data.drift.comparison import History, compare

workspace, number = Path(sys.argv[1]), sys.argv[2]
table = pd.read_parquet(workspace.parent / "small.parquet")
for turn in range(2):
    history = History(workspace, "digits", f"{number}.{turn}", {})
    compare(table, table, DriftConfig(), workspace.parent / number, history)
"""


def test_two_lines_at_once_leave_a_whole_history(small: pd.DataFrame, tmp_path: Path) -> None:
    small.to_parquet(tmp_path / "small.parquet")
    workspace = tmp_path / "evidently"
    lines = [subprocess.Popen([sys.executable, "-c", LINE, str(workspace), str(number)], cwd=ROOT) for number in (1, 2)]
    assert [line.wait(timeout=240) for line in lines] == [0, 0]
    history = History(workspace, "digits", "", {})
    assert len(snapshots(history)) == 4
    assert all(json.loads(file.read_text())["metric_results"] for file in snapshots(history))
    board = json.loads((workspace / str(history.project) / "dashboard.json").read_text())
    assert [len(panel["values"]) for panel in board["panels"]] == [2, 2]


# -- the server -----------------------------------------------------------------------------------------------------


def test_evidentlys_page_opens_and_shows_the_history(small: pd.DataFrame, tmp_path: Path) -> None:
    history = History(tmp_path / "evidently", "digits", "one", {"data": "abc"})
    compare(small, small, DriftConfig(), tmp_path / "drift", history)
    brighter = small.assign(brightness=small["brightness"] + 1.0)

    with served(history.workspace) as (address, server):
        compare(brighter, small, DriftConfig(), tmp_path / "drift", replace(history, key="two"))  # while it is open
        project = f"{address}/api/projects/{history.project}"

        assert [each["name"] for each in asked(f"{address}/api/projects")] == ["digits"]
        assert "<html" in asked(f"{address}/projects/{history.project}")
        runs = waited_for(lambda: asked(f"{project}/snapshots"), 2)
        assert sorted(run["tags"][0] for run in runs) == ["drift", "no drift"]
        assert {run["metadata"]["data"] for run in runs} == {"abc"}
        assert "Drift in column" in json.dumps(asked(f"{project}/{history.run}/data"))

        panel = asked(f"{address}/api/v2/dashboards/{history.project}")["panels"][0]
        keys = ("tags", "metadata", "metric", "metric_labels")
        wanted = {"series_filter": [{key: value[key] for key in keys} for value in panel["values"]]}
        points = asked(f"{address}/api/v2/snapshots/{history.project}/data_series_batch", wanted)
        series = {panel["values"][each["filter_index"]]["legend"]: each["values"] for each in points["series"]}
        assert series == {"pixels": [0.0, 1.0], "labels": [0.0, 0.0]}

        connections = server.net_connections()
        assert [each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN] == ["127.0.0.1"]
        assert {each.raddr.ip for each in connections if each.raddr} <= {"127.0.0.1"}  # it reports to nobody


@contextmanager
def served(workspace: Path) -> Iterator[tuple[str, psutil.Process]]:
    """`evidently ui` on a workspace, until the block ends."""
    port = free_port()
    program = Path(sys.executable).with_name("evidently")
    with (workspace.parent / "page.log").open("wb") as log:
        server = subprocess.Popen(
            [program, "ui", "--workspace", workspace, "--port", str(port)],
            env={**os.environ, "DO_NOT_TRACK": "1"},
            stdout=log,
            stderr=log,
        )
    try:
        limit = time.monotonic() + LIMIT
        while True:
            try:
                asked(f"http://127.0.0.1:{port}/api/version")
                break
            except urllib.error.URLError:
                assert server.poll() is None, (workspace.parent / "page.log").read_text()
                assert time.monotonic() < limit
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}", psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(timeout=30)


def asked(address: str, body: Any = None) -> Any:
    """The JSON of an answer, its text where it is a page."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})  # noqa: S310 — loopback
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 — loopback
        text = answer.read().decode()
        return json.loads(text) if "json" in answer.headers["Content-Type"] else text


def waited_for(ask: Callable[[], list[Any]], count: int) -> list[Any]:
    """The server notices new files a moment later."""
    limit = time.monotonic() + LIMIT
    while len(found := ask()) < count:
        assert time.monotonic() < limit
        time.sleep(0.2)
    return found
