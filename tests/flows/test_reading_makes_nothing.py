"""Commands that read leave a project as they found it, also where what they are asked for is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from flows.cli import app

ROOT = Path(__file__).parents[2]
TYPO = "no-such-name"
# What each command that reads is asked, the exit code, and words of its answer; `{}` is a name that nothing has.
READING = {
    "ledger": (["ledger", TYPO], 1, "none yet"),
    "status": (["status"], 0, "there are no runs yet"),
    "runs": (["runs", "--model", TYPO], 1, "none yet"),
    "compare": (["compare", "abcd", "ef01"], 1, "abcd"),
    "show": (["show", TYPO], 1, TYPO),
    "open": (["open", TYPO], 1, TYPO),
    "logs": (["logs", TYPO], 1, "none yet"),
    "notifications": (["notifications"], 0, "webhook"),
    "notices": (["notices"], 0, "webhook"),
    "tasks": (["tasks"], 0, "judged by"),
    "predict": (["predict", TYPO, "params.yaml"], 1, "registered are: none"),
    "config show": (["config", "show", TYPO], 2, TYPO),
    "export": (["export", TYPO], 1, "registered are: none"),
    "bench": (["bench", TYPO], 1, "registered are: none"),
    "data check": (["data", "check", TYPO], 1, TYPO),
    "data list": (["data", "list"], 0, "digits"),
    "data show": (["data", "show", TYPO], 2, TYPO),
    "data diff": (["data", "diff", "--name", TYPO], 2, "digits"),
}
# What makes, moves, ends or measures something, or looks at the machine rather than the project.
MAKING = {
    *("init", "run", "tune", "ui", "schedule", "deploy", "backfill", "stop", "doctor", "clean", "find batch-size"),
    *(
        "find format",
        "find learning-rate",
        "promote",
        "approve",
        "reject",
        "rollback",
        "retire",
        "data add",
        "data restore",
    ),
}


def commands(command: object, name: str = "") -> list[str]:
    """Every command's words."""
    below = getattr(command, "commands", None)
    if below is None:
        return [name]
    return [each for part, inner in below.items() for each in commands(inner, f"{name} {part}".strip())]


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


def a_project(folder: Path) -> Path:
    for name in ("params.yaml", "dvc.yaml", "infra/deployments.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    return folder


def called(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    others = ("CONVOY_ROOT", "MLFLOW_", "PREFECT_")  # what another test may have left
    return subprocess.run(
        [sys.executable, "-m", "flows", *words],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if not key.startswith(others)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_every_command_is_known_as_one_that_reads_or_one_that_makes() -> None:
    assert isinstance(app, typer.Typer)
    assert set(commands(get_command(app))) == set(READING) | MAKING


@pytest.mark.parametrize(
    "name", [name if name == "ledger" else pytest.param(name, marks=pytest.mark.slow) for name in READING]
)
def test_a_command_that_reads_leaves_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = a_project(tmp_path)
    before = tree(project)
    words, code, says = READING[name]
    done = called(words, project)
    assert (done.returncode, tree(project)) == (code, before), done.stderr
    assert says in done.stdout + done.stderr


@pytest.mark.slow
def test_a_mistyped_name_makes_no_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.registry.memory import tracking

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = a_project(tmp_path)
    store = tracking.connect(project, "known")
    store.finish(store.start_run("a run"))
    before = sorted(each.name for each in store.client.search_experiments())
    for name in ("ledger", "runs", "export", "bench", "open"):
        words, code, _ = READING[name]
        assert called(words, project).returncode == code, name
        assert sorted(each.name for each in store.client.search_experiments()) == before, name
