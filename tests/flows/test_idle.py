"""A line that has nothing to do: on record like any other, without an engine, and only where nothing is in doubt."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.registry.memory import tracking
from flows import idle
from flows.base.project import Project
from flows.course import Outcome
from flows.line import line
from flows.processes import leases
from flows.processes.progress import Silent
from flows.run.step import LEASE
from tests.flows import endings
from tests.flows.endings import SECONDS, Terminal, disturb, short_folder

ROOT = Path(__file__).parents[2]
FLOW_RUN = "convoy.prefect_flow_run"
ENGINES = ("torch", "ray", "prefect", "great_expectations", "evidently", "onnx", "onnxruntime", "matplotlib")
RECORD = f"""
import json, sys
from flows.base.project import enter, find
from flows.processes.progress import Silent
project = find()
enter(project)
from flows import idle
from flows.commands.summary import table, where_to_look
outcome = idle.recorded(project, "digits", idle.found(project, "digits", []), Silent())
table(outcome), where_to_look(outcome, 1.0)
print(json.dumps([outcome.run_id, outcome.unchanged, sorted(set(sys.modules) & set({ENGINES!r}))]))
"""


@pytest.fixture(scope="module")
def usual(project: Path, outcome: Outcome) -> Outcome:
    """The line that has nothing to do as Prefect runs it, whatever other tests have done before."""
    line("digits")
    return line("digits")


@pytest.fixture(scope="module")
def store(project: Path, outcome: Outcome) -> tracking.Tracking:
    return tracking.connect(project, "digits")


def test_it_is_recorded_as_a_flow_records_it_and_imports_no_engine(usual: Outcome, store: tracking.Tracking) -> None:
    # when
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", RECORD], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    # then
    assert done.returncode == 0, done.stderr
    run_id, unchanged, engines = json.loads(done.stdout.splitlines()[-1])
    assert (unchanged, engines) == (True, [])
    own, other = store.get(run_id), store.get(usual.run_id)
    assert (own.status, own.name, own.params) == ("FINISHED", other.name, other.params)
    assert own.metrics.keys() == other.metrics.keys()
    varying = {FLOW_RUN, LEASE, tracking.NOTE}
    assert {key: own.tags[key] for key in own.tags.keys() - varying} == {
        key: other.tags[key] for key in other.tags.keys() - varying
    }
    assert FLOW_RUN not in own.tags
    assert "Nothing new: every step was cached." in own.tags[tracking.NOTE]
    assert artifacts(store, run_id) == artifacts(store, usual.run_id)
    assert linked(store, run_id) == linked(store, usual.run_id)
    assert store.children(run_id) == []


def artifacts(store: tracking.Tracking, run_id: str) -> dict[str, bytes]:
    folder = store.artifact_folder(run_id)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def linked(store: tracking.Tracking, run_id: str) -> tuple[Any, ...]:
    """Data sets that MLflow shows as a run's inputs, and models as its outputs."""
    run = store.client.get_run(run_id)
    data = [
        (each.dataset.name, each.dataset.digest, {t.key: t.value for t in each.tags})
        for each in run.inputs.dataset_inputs
    ]
    return data, [each.model_id for each in run.outputs.model_outputs]


def test_whatever_is_to_be_done_is_for_the_flow(
    project: Path, usual: Outcome, store: tracking.Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Project(project)
    assert idle.found(place, "digits", []) is not None
    # given another setting, one that is wrong, or a model that no line has made
    for override in ("members.epochs=7", "gates.floor.limit=0.3", "members.epochs=none", "model=never-seen"):
        assert idle.found(place, "digits", [override]) is None, override
    assert "never-seen" not in store.experiments()
    # given a result that has lost a file
    (train,) = (done.run_id for done in usual.done if done.step == "train")
    weights = next(store.artifact_folder(train, "result").rglob("model.safetensors"))
    hidden = weights.rename(weights.with_suffix(".hidden"))
    assert idle.found(place, "digits", []) is None
    hidden.rename(weights)
    # given other libraries
    with monkeypatch.context() as patched:
        patched.setattr("components.provenance.libraries", lambda root: {"torch": "0"})
        assert idle.found(place, "digits", []) is None
    assert idle.found(place, "digits", []) is not None


def test_what_a_killed_line_has_left_is_for_the_flow_to_settle(project: Path, usual: Outcome) -> None:
    place = Project(project)
    left = place.leases / "left.json"
    left.write_text(json.dumps({"pid": 2**22 + 1, "started": 1.0, "host": socket.gethostname()}), encoding="utf-8")
    try:
        assert not leases.tidy(place)
        assert idle.found(place, "digits", []) is None
    finally:
        left.unlink()
    assert leases.tidy(place)


@pytest.mark.parametrize(
    ("error", "status", "how"),
    [(KeyboardInterrupt(), "KILLED", "was interrupted"), (OSError("no room"), "FAILED", "failed")],
)
def test_what_ends_it_early_is_closed_and_told(
    error: BaseException,
    status: str,
    how: str,
    project: Path,
    usual: Outcome,
    store: tracking.Tracking,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def concluded(*_: object) -> None:
        raise error

    told: list[tuple[str, ...]] = []
    monkeypatch.setattr("flows.schedules.notifications.tell", lambda project, *words: told.append(words))
    monkeypatch.setattr(idle, "concluded", concluded)
    found = idle.found(Project(project), "digits", [])
    assert found is not None
    with pytest.raises(type(error)):
        idle.recorded(Project(project), "digits", found, Silent())
    assert store.search({"kind": "pipeline"}, limit=1)[0].status == status
    assert told == [("failure", f"pipeline · digits {how}", str(error) or how)]
    assert leases.tidy(Project(project))


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A project in which the line was run, and how long the same command takes then."""
    root = endings.short_project(tmp_path_factory.mktemp("idle") / "project")
    with short_folder() as scratch:
        code, text = endings.again(root, scratch)
        assert code == 0, text
        began = time.monotonic()
        code, text = endings.again(root, scratch)
        assert code == 0, text
    return root, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_starts_no_server_and_says_what_it_always_says(finished: tuple[Path, float]) -> None:
    root, _ = finished
    with short_folder() as scratch:
        terminal = Terminal(root, scratch)
        servers = []
        while terminal.process.poll() is None:
            servers += [" ".join(each.cmdline()) for each in endings.named(root, "uvicorn")]
            time.sleep(0.05)
        assert endings.left(root, scratch, time.monotonic() + SECONDS) == []
    assert (terminal.process.returncode, servers) == (0, []), terminal.text
    assert "Nothing new: every step was cached." in terminal.text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.text)
    assert all(f"= {step}" in plain for step in ("data-validation", "train", "evaluate", "promote")), terminal.text
    newest = tracking.connect(root, "digits").search({"kind": "pipeline"}, limit=1)[0]
    assert (newest.status, FLOW_RUN in newest.tags) == ("FINISHED", False)
    # The same command with something to do has a flow again.
    with short_folder() as scratch:
        terminal = Terminal(root, scratch, ("run", "-r", "digits", "--fresh", "augmentation"))
        assert terminal.wait(endings.LIMIT) == 0, terminal.text
    newest = tracking.connect(root, "digits").search({"kind": "pipeline"}, limit=1)[0]
    assert (newest.status, FLOW_RUN in newest.tags) == ("FINISHED", True)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("what", ["ctrl-c", "terminate", "hang up", "kill", "flows.worker"])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_disturbed_at_any_moment_it_ends_well(what: str, part: int, finished: tuple[Path, float]) -> None:
    root, seconds = finished
    chance = random.Random(f"{what} {part}")
    with short_folder() as scratch:
        terminal = Terminal(root, scratch)
        time.sleep((part + chance.random()) / 3 * seconds)
        over = terminal.process.poll() is not None
        if what != "flows.worker":
            disturb(terminal, what, chance)
        elif workers := endings.named(root, what):
            workers[0].kill()
        code = terminal.wait(SECONDS)
        assert code is not None, terminal.text
        assert endings.left(root, scratch, time.monotonic() + SECONDS) == []
    assert "Traceback" not in terminal.text
    if not over and code != 0:
        assert code == {"kill": -9, "flows.worker": 1}.get(what, 130), terminal.text
    if what != "kill":
        assert (endings.open_runs(root), endings.open_flows(root)) == ([], []), terminal.text
    with short_folder() as scratch:
        code, text = endings.again(root, scratch)
        assert code == 0, text
        assert endings.left(root, scratch, time.monotonic() + SECONDS) == []
    assert (endings.open_runs(root), endings.open_flows(root)) == ([], [])
