"""A project outside of a clone: what `convoy init` writes, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components import config
from components.config import ConfigurationError
from components.provenance import git
from flows.base.project import find
from flows.cli import app
from flows.projects import starting

ROOT = Path(__file__).parents[2]
OWN = ("params.yaml", "README.md", ".gitignore")  # the others are the repository's own files
PLACES = {name: name for name in starting.FILES if name not in OWN}


@pytest.fixture(autouse=True)
def no_project_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVOY_ROOT", raising=False)


def test_it_is_a_project_whose_recipe_says_what_the_repositorys_says(tmp_path: Path) -> None:
    started = starting.start(tmp_path / "deep" / "project")
    root = started.root
    assert find(root).root == root and set(started.written) == set(starting.FILES) and not started.kept
    assert config.load(root, "digits") == config.load(ROOT, "digits")
    assert config.load(root).line.gates == config.load(ROOT).line.gates
    for name, place in PLACES.items():
        assert (root / name).read_bytes() == (ROOT / place).read_bytes(), name
    assert config.load(root).dataset == config.load(root, "digits").dataset


def test_git_leaves_out_what_is_made_and_nothing_is_committed(tmp_path: Path) -> None:
    root = starting.start(tmp_path / "project").root
    (root / ".convoy").mkdir()
    (root / ".convoy" / "mlflow.db").touch()
    told = git(root, "status", "--porcelain", "--untracked-files=all")
    assert told is not None
    assert {line.removeprefix("?? ") for line in told.splitlines()} == set(starting.FILES)
    assert git(root, "rev-parse", "HEAD") is None


def test_within_a_hook_the_repository_that_it_names_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "another"))
    started = starting.start(tmp_path / "project")
    assert started.new and (tmp_path / "project" / ".git" / "HEAD").is_file() and not (tmp_path / "another").exists()


@pytest.mark.parametrize("around", [".", "project"])
def test_a_repository_that_is_there_is_left_as_it_is(around: str, tmp_path: Path) -> None:
    repository = tmp_path / around
    repository.mkdir(exist_ok=True)
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    before = sorted((path, path.stat().st_mtime_ns) for path in (repository / ".git").rglob("*"))
    started = starting.start(tmp_path / "project")
    assert (started.repository, started.new) == (repository, False)
    assert sorted((path, path.stat().st_mtime_ns) for path in (repository / ".git").rglob("*")) == before
    assert not (tmp_path / "project" / ".git").exists() or around == "project"


def test_plain_dvc_works_in_it_with_a_repository_in_one_and_without(tmp_path: Path) -> None:
    (tmp_path / "around").mkdir()
    subprocess.run(["git", "init", "-q", str(tmp_path / "around")], check=True)
    starting.start(tmp_path / "with")
    starting.start(tmp_path / "around" / "below")
    starting.start(tmp_path / "without", git=False)
    for name in ("with", "around/below", "without"):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "stage", "list", "--name-only"],
            cwd=tmp_path / name,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "prepare@digits" in done.stdout.split(), f"{name}: {done.stderr}"


def test_a_persons_own_files_stay_and_what_they_lack_is_said(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / ".gitignore").write_text("/data/\n*.pyc\n")
    started = starting.start(tmp_path)
    assert set(started.kept) == {"README.md", ".gitignore"} and started.unignored == ("/.convoy/",)
    assert (tmp_path / "README.md").read_text() == "mine\n"
    assert (tmp_path / ".gitignore").read_text() == "/data/\n*.pyc\n"


@pytest.mark.parametrize("there", ["params.yaml", "dvc.yaml", ".dvc/config", "recipes/digits.yaml"])
def test_a_folder_with_a_project_in_it_is_refused_and_nothing_is_written(there: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigurationError, match=f"received one that has {there}"):
        starting.start(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_file_a_folder_in_a_project_and_a_place_that_nothing_can_address_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    starting.start(tmp_path / "project", git=False)
    for place, expected in (("file", "received a file"), ("project/below", "in one|in /"), ("what?", "rename")):
        with pytest.raises(ConfigurationError, match=expected):
            starting.start(tmp_path / place)
        assert not (tmp_path / place).is_dir()


def test_where_something_cannot_be_written_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tmp_path / "given"
    shutil.copytree(starting.GIVEN, given)
    (given / starting.FILES["dvc.yaml"]).unlink()  # the last one
    monkeypatch.setattr(starting, "GIVEN", given)
    with pytest.raises(ConfigurationError, match="nothing was left behind"):
        starting.start(tmp_path / "new" / "project")
    assert not (tmp_path / "new").exists()


def test_the_command_says_what_comes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["init", "my project", "--no-git"])
    assert done.exit_code == 0 and "next: cd 'my project' && " in done.stdout
    assert done.stdout.splitlines()[-2].endswith("convoy run -r digits")
    again = CliRunner().invoke(app, ["init", "my project"])
    assert again.exit_code == 2 and "without a project" in again.stderr and not (tmp_path / "my project/.git").exists()
