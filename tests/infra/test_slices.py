"""infra/slices.py deals the slow tests out: each is in one slice, the slices are alike, and all have their turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra import slices

MINUTES = 20  # for a slice, on two cores


def git(folder: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, env=os.environ | names, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "commit", "--allow-empty", "--message", "a change")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One with a slow file, a quick one, and a record of the slow one and of a third that has gone."""
    (tmp_path / "tests" / "room").mkdir(parents=True)
    (tmp_path / "tests" / "room" / "test_slow.py").write_text("@pytest.mark.slow\ndef test_it(): ...\n")
    (tmp_path / "tests" / "room" / "test_quick.py").write_text("def test_it(): ...\n")
    content = {"quick": {}, "slow": {"tests/room/test_gone.py": 9, "tests/room/test_slow.py": 7}}
    (tmp_path / slices.RECORD).write_text(json.dumps(content))
    return tmp_path


def test_every_file_with_slow_tests_is_in_one_slice_and_none_is_too_long() -> None:
    files, seconds = slices.slow_files(), slices.recorded()["slow"]
    hands = slices.dealt(files, seconds)
    assert len(hands) == slices.SLICES
    assert sorted(file for hand in hands for file in hand) == files
    sums = [sum(seconds.get(file, 0.0) for file in hand) for hand in hands]
    assert max(sums) <= 60 * MINUTES, "take a test out, or have one slice more"
    assert set(seconds) <= set(files), "infra/slices.py record slow REPORT takes out what is not there any more"


def test_the_longest_are_dealt_first_and_who_is_not_on_record_counts_as_the_mean() -> None:
    assert slices.dealt("abcdef", dict(zip("abcdef", (9, 8, 7, 3, 2, 1), strict=True))) == [
        ["a", "f"], ["b", "e"], ["c", "d"],
    ]  # fmt: skip
    assert slices.dealt(["a", "b", "new"], {"a": 9, "b": 1}, 2) == [["a"], ["new", "b"]]
    assert slices.dealt(["x", "y"], {}, 2) == [["x"], ["y"]]


def test_three_commits_in_a_row_have_all_slices_and_a_cut_history_the_first(tmp_path: Path) -> None:
    assert slices.turn(tmp_path) == 0  # no history
    git(tmp_path, "init", "--quiet")
    assert slices.turn(tmp_path) == 0  # no commit
    turns = []
    for _ in range(4):
        commit(tmp_path)
        turns.append(slices.turn(tmp_path))
    assert turns == [1, 2, 0, 1]
    git(tmp_path, "clone", "--quiet", "--depth", "2", tmp_path.as_uri(), "cut")
    assert slices.turn(tmp_path / "cut") == 0


def test_without_git_the_first_has_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slices.turn(tmp_path) == 0


def test_the_record_takes_what_pytest_has_measured(project: Path) -> None:
    (project / "tests" / "room" / "test_slow.py").write_text(
        "import time\ndef test_one(): time.sleep(0.6)\ndef test_other(): time.sleep(0.6)\n"
    )
    report = project / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", f"--junitxml={report}"]
    subprocess.run([*command, "tests"], cwd=project, check=True, capture_output=True)
    # when
    seconds = slices.measured([report], project)["tests/room/test_slow.py"]
    slices.record("slow", [report], project)
    # then both tests count, and what took no second is not on record, nor what has gone
    assert seconds >= 1.2
    assert slices.recorded(project) == {"quick": {}, "slow": {"tests/room/test_slow.py": round(seconds)}}


@pytest.mark.parametrize("said", [["3"], ["-1"], ["last"], ["0", "1"], ["record", "slow"], ["record", "all", "r.xml"]])
def test_what_is_no_slice_is_refused(said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert slices.main(said) == 2
    assert "expected a slice below 3" in capsys.readouterr().err


def test_a_slice_is_printed_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert slices.main(["0"]) == 0
    assert set(capsys.readouterr().out.split()) <= set(slices.slow_files())
