"""A stage as a process: its messages, its exit code, and its end with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from components.data import places
from components.data.errors import DataError, check_name
from components.data.processes import PARENT_VARIABLE
from components.data.stages import stages
from tests.components.data.data_builders import DIGITS

ROOT = Path(__file__).parents[3]


def _stage(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "components.data.stages", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"datasets": {"digits": DIGITS}}), encoding="utf-8")
    return tmp_path


def test_a_failure_is_a_message_and_not_a_traceback(project: Path) -> None:
    done = _stage(project, "prepare", "digits")
    assert done.returncode == 1
    assert done.stderr.startswith("prepare digits: ")
    assert "decisions.json" in done.stderr
    assert "Traceback" not in done.stderr
    assert places.error_file(project, "digits").read_text(encoding="utf-8") == done.stderr.strip()


def test_chatter_goes_to_the_log_where_one_is_named(project: Path) -> None:
    log = project / "stage.log"
    done = _stage(project, "ingest", "absent", **{stages.LOG_VARIABLE: str(log)})
    assert (done.stdout, done.stderr) == ("", "")
    assert "datasets.absent" in log.read_text(encoding="utf-8")


def test_success_removes_the_last_failure_and_what_a_killed_stage_left(project: Path) -> None:
    left = places.ingested(project, "digits").with_name(".digits.0123abcd")
    left.mkdir(parents=True)
    other = left.with_name(".digits-segment.0123abcd")
    other.mkdir()
    places.error_file(project, "digits").write_text("old", encoding="utf-8")
    assert _stage(project, "watch", "digits").returncode == 0
    done = _stage(project, "ingest", "digits")
    assert done.returncode == 0, done.stderr
    assert not left.exists()
    assert other.exists()
    assert not places.error_file(project, "digits").exists()


@pytest.mark.parametrize("name", ["../escape", "a/b", "", ".hidden", "a.b", "a@b"])
def test_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="expected a name of letters"):
        check_name(name)


def test_no_file_is_written_outside_for_a_name_that_escapes(project: Path) -> None:
    done = _stage(project, "ingest", "../../escape", DVC_SITE_CACHE_DIR=str(project.parent / "dvc"))
    assert done.returncode == 1
    assert "expected a name" in done.stderr
    assert sorted(path.name for path in project.iterdir()) == ["params.yaml"]


def test_a_full_disk_is_explained(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setattr(stages, "end_with_parent", lambda: None)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", ".convoy/data/ingested/digits")

    monkeypatch.setattr("components.data.preparing.shards.pq.write_table", full)
    assert stages.main(["ingest", "digits"]) == 1
    assert ".convoy/data/ingested/digits: No space left on device" in capsys.readouterr().err
    assert list((project / ".convoy" / "data" / "ingested").iterdir()) == []


SLEEPING_STAGE = (
    "from components.data.processes import end_with_parent as e; e(); import time; "
    "print('up', flush=True); time.sleep(60)"
)
DRIVER = """
import os, subprocess, sys
os.environ["CONVOY_STAGE_PARENT"] = str(os.getpid())
subprocess.run(["sh", "-c", sys.argv[1] + ' "$0" -c "$1"' + sys.argv[2], sys.executable, sys.argv[3]])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the Linux kernel")
@pytest.mark.parametrize(("before", "after"), [("exec", ""), ("", "; true")], ids=["direct child", "behind a shell"])
def test_a_stage_dies_with_the_process_that_drives_it(before: str, after: str) -> None:
    # given a driver, a stage and, in one case, a shell between the two that outlives the driver
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, before, after, SLEEPING_STAGE],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert driver.stdout is not None
    assert driver.stdout.readline() == "up\n"
    stage = [child for child in psutil.Process(driver.pid).children(recursive=True) if "python" in child.name()]
    assert len(stage) == 1
    # when the driver is killed
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    # then the stage is gone in a moment
    gone, alive = psutil.wait_procs(stage, timeout=5)
    for process in alive:
        process.kill()
    assert gone
    assert not alive


def test_a_stage_whose_driver_is_already_gone_does_not_start() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SLEEPING_STAGE],
        env={**os.environ, "PYTHONPATH": str(ROOT), PARENT_VARIABLE: str(ended.pid)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert time.monotonic() - started < 20
