"""Commands that messages offer: quoted, and with what the shell may lack."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from components import offered

HERE = str(Path(sys.executable).parent)


@pytest.mark.parametrize("word", ["digits", "it's", "a b", "$(touch x)", "`x`", 'say "no"', "-S gates=1;rm", "ÄÖ", "…"])
def test_a_word_reaches_the_command_as_it_is(word: str) -> None:
    line = offered.command("printf", "%s", word)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == word


def test_where_the_environment_is_activated_nothing_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{HERE}:/usr/bin:/bin")
    assert offered.command("convoy", "run", "--recipe", "digits") == "convoy run --recipe digits"


def test_where_it_is_not_the_shell_finds_it_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dvc").write_text("#!/bin/sh\necho somebody else's\n")  # another environment's
    (tmp_path / "dvc").chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    monkeypatch.setenv("PATH", path)
    line = offered.command("dvc", "--version")
    environment = {"PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout[0].isdigit()


def test_mlflow_is_told_which_store_unless_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{HERE}:/usr/bin:/bin")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    line = offered.mlflow("sqlite:////it's here/mlflow.db", "experiments", "restore", "-x", "1")
    first, *rest = shlex.split(line)
    assert first == "MLFLOW_TRACKING_URI=sqlite:////it's here/mlflow.db" and rest[:2] == ["mlflow", "experiments"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@host")
    assert "secret" not in offered.mlflow("https://me:secret@host", "experiments", "restore", "-x", "1")


def test_an_extra_is_installed_from_the_project_and_not_from_whoever_has_its_name_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = shlex.split(offered.installing("s3", "ssh"))
    assert words[-4:] == ["-c", "requirements.lock", "-e", ".[s3,ssh]"]
    assert offered.installing().endswith("make setup")

    monkeypatch.setattr(offered, "cloned", lambda: False)
    assert shlex.split(offered.installing("s3"))[-4:] == ["-m", "pip", "install", "convoy-cnn[s3]"]
    assert shlex.split(offered.installing())[-1] == "convoy-cnn"
