"""The command as a person meets it: instant help, every mistake at once, and errors that say what to do."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.release import VERSION
from tests.flows.conftest import make_project

ENGINES = ("torch", "ray", "mlflow", "great_expectations", "evidently", "dvc", "prefect")


def convoy(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        env={**environment, "CONVOY_ROOT": str(root), "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        timeout=600,  # a whole line on a busy machine; nothing waits for it otherwise
        check=False,
    )


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("fresh"))


def test_help_imports_no_engine() -> None:
    code = f"import sys, flows.cli; print([name for name in {ENGINES} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_help_answers_at_once(fresh: Path) -> None:
    # Processor time: what the clock says depends on what else the machine is doing.
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = convoy(fresh, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert "promote" in done.stdout
    assert min(times) < 0.8  # 0.4 to 0.55 s here, half of it the configuration's classes


def test_the_usual_short_options_are_known(fresh: Path) -> None:
    said = convoy(fresh, "--version").stdout
    assert said == convoy(fresh, "-V").stdout == f"convoy {VERSION}\n"
    for words in (["-h"], ["data", "check", "-h"]):
        done = convoy(fresh, *words)
        assert done.returncode == 0 and "Usage:" in done.stdout


def test_every_mistake_is_told_at_once_and_nothing_is_started(fresh: Path) -> None:
    wrong = ["-S", "training.batch_size=many", "-S", "members.count=0", "-S", "colour=blue"]

    done = convoy(fresh, "run", "-r", "digits", *wrong)

    assert done.returncode == 2
    assert "line.training.batch_size: expected a valid integer" in done.stderr
    assert "line.members.count" in done.stderr
    assert "line.colour: expected no such key, received 'blue'" in done.stderr
    assert not (fresh / ".convoy" / "mlflow.db").exists()
    assert not (fresh / ".convoy" / "data").exists()


def test_a_network_that_does_not_exist_is_a_mistake_of_the_configuration_too(fresh: Path) -> None:
    done = convoy(fresh, "run", "-r", "digits", "-S", "student.network.name=resnet9000")
    assert done.returncode == 2
    assert (
        "line.student.network.name: expected one of convnext, densenet, detector, idcnn, mobilenet, residual, textcnn, "
        in done.stderr
    )
    assert "received 'resnet9000'; did you mean resnet50?" in done.stderr


def test_outside_of_a_project_it_says_where_to_go(tmp_path: Path) -> None:
    done = convoy(tmp_path, "run")
    assert done.returncode == 2
    assert "expected a folder with params.yaml and dvc.yaml" in done.stderr


def test_a_dead_mlflow_server_is_named_and_no_data_work_is_done_for_it(fresh: Path) -> None:
    done = convoy(fresh, "run", "-r", "digits", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 2
    assert "nothing was started" in done.stderr
    assert "tracking store: http://127.0.0.1:9 does not answer" in done.stderr
    assert "unset it to use the project's own database" in done.stderr
    assert not (fresh / ".convoy" / "data" / "prepared").exists()


def test_a_dead_prefect_server_is_named(fresh: Path) -> None:
    done = convoy(fresh, "run", "-r", "digits", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 2
    assert "Prefect at http://127.0.0.1:9/api does not answer" in done.stderr


def test_promoting_what_is_not_there_says_so(fresh: Path) -> None:
    done = convoy(fresh, "promote", "nobody", "--to", "production")
    assert done.returncode == 1
    assert "nobody" in done.stderr


def test_a_full_disk_is_said_to_be_full_whatever_the_engines_call_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from flows.commands import terminal

    total = shutil.disk_usage(tmp_path).total
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=total, used=total, free=2**20))
    with pytest.raises(SystemExit), terminal.explained(Console(width=300), tmp_path / "errors.log"):
        raise RuntimeError("Server error '500 Internal Server Error'")
    assert "the disk is full: 1 MB are free" in capsys.readouterr().out
    assert "500 Internal Server Error" in (tmp_path / "errors.log").read_text()
