"""How the tests are run: every slow one is in a slice and has its turn, the longest come first, and nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest, slices

ROOT = Path(__file__).parents[2]
MARK = "mark." + "slow"  # in two pieces, or this would be a file of slow tests


def git(folder: Path, *arguments: str) -> None:
    names = {f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *arguments], cwd=folder, env=os.environ | names, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "commit", "--allow-empty", "--message", "a change")


def pytest_in(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The tests of a project, without any plugin that is not asked for."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", ".", *arguments, "tests"]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | variables
    return subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One with a slow file, a quick one, and a record of the slow one and of a third that has gone."""
    (tmp_path / "tests" / "room").mkdir(parents=True)
    (tmp_path / "tests" / "room" / "test_slow.py").write_text(f"@pytest.{MARK}\ndef test_it(): ...\n")
    (tmp_path / "tests" / "room" / "test_quick.py").write_text("def test_it(): ...\n")
    content = {"quick": {}, "slow": {"tests/room/test_gone.py": 9, "tests/room/test_slow.py": 7}}
    (tmp_path / slices.RECORD).write_text(json.dumps(content))
    return tmp_path


def test_every_file_with_slow_tests_is_in_one_slice_and_none_is_too_long() -> None:
    files, seconds = slices.slow_files(), slices.recorded()["slow"]
    hands = slices.slices()
    assert sorted(file for hand in hands for file in hand) == files
    assert max(sum(seconds.get(file, 0.0) for file in hand) for hand in hands) <= 60 * slices.MINUTES
    assert set(seconds) <= set(files), "python -m tests.slices record slow REPORT takes out what is not there any more"


def test_what_is_named_is_there() -> None:
    named = [*conftest.TOGETHER, *slices.recorded()["quick"], *slices.recorded()["slow"]]
    assert [file for file in named if not (ROOT / file).is_file()] == []


def test_slices_are_as_many_as_the_time_asks_for(project: Path) -> None:
    def given(*minutes: float) -> list[list[str]]:
        names = [f"tests/room/test_{number}.py" for number in range(len(minutes))]
        for name in names:
            (project / name).write_text(f"pytestmark = pytest.{MARK}\n")
        content = {"quick": {}, "slow": dict(zip(names, (60 * each for each in minutes), strict=True))}
        (project / slices.RECORD).write_text(json.dumps(content))
        return slices.slices(project)

    (project / "tests" / "room" / "test_slow.py").unlink()
    assert len(given(10, 5, 5)) == 1
    assert len(given(10, 5, 6)) == 2
    assert len(given(12, 12, 12)) == 3  # two of them are too long
    assert sorted(map(len, given(30, 1, 1))) == [1, 1, 1]  # one is by itself


def test_the_longest_are_dealt_first_and_who_is_not_on_record_counts_as_the_mean() -> None:
    assert slices.dealt("abcdef", dict(zip("abcdef", (9, 8, 7, 3, 2, 1), strict=True)), 3) == [
        ["a", "f"], ["b", "e"], ["c", "d"],
    ]  # fmt: skip
    assert slices.dealt(["a", "b", "new"], {"a": 9, "b": 1}, 2) == [["a"], ["new", "b"]]
    assert slices.dealt(["x", "y"], {}, 2) == [["x"], ["y"]]


def test_commits_in_a_row_have_all_slices_and_a_cut_history_one_by_the_commits_name(tmp_path: Path) -> None:
    assert slices.turn(3, tmp_path) == 0  # no history
    git(tmp_path, "init", "--quiet")
    assert slices.turn(3, tmp_path) == 0  # no commit
    turns = []
    for _ in range(4):
        commit(tmp_path)
        turns.append(slices.turn(3, tmp_path))
    assert turns == [1, 2, 0, 1]
    git(tmp_path, "clone", "--quiet", "--depth", "2", tmp_path.as_uri(), "cut")
    name = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert slices.turn(1009, tmp_path / "cut") == int(name[:12], 16) % 1009


def test_without_git_the_first_has_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slices.turn(3, tmp_path) == 0


def test_the_record_takes_what_pytest_has_measured(project: Path) -> None:
    (project / "tests" / "room" / "test_slow.py").write_text(
        "import time\ndef test_one(): time.sleep(0.6)\ndef test_other(): time.sleep(0.6)\n"
    )
    report = project / "report.xml"
    pytest_in(project, f"--junitxml={report}")
    # when
    seconds = slices.measured([report], project)["tests/room/test_slow.py"]
    slices.record("slow", [report], project)
    # then both tests count, and what took no second is not on record, nor what has gone
    assert seconds >= 1.2
    assert slices.recorded(project) == {"quick": {}, "slow": {"tests/room/test_slow.py": round(seconds)}}


@pytest.mark.parametrize("said", [["99"], ["-1"], ["last"], ["0", "1"], ["record", "slow"], ["record", "all", "r.xml"]])
def test_what_is_no_slice_is_refused(said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert slices.main(said) == 2
    assert "expected a slice below" in capsys.readouterr().err


def test_a_slice_is_printed_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    assert slices.main(["0"]) == 0
    assert set(capsys.readouterr().out.split()) <= set(slices.slow_files())


def test_two_processes_begin_with_the_longest_share_no_engine_and_leave_nothing(tmp_path: Path) -> None:
    # given files that note which process takes them up, the longest last by name and by the number of tests
    seconds = {"tests/room/test_c.py": 9, conftest.TOGETHER[1]: 8, "tests/room/test_a.py": 2}
    files = [*seconds, conftest.TOGETHER[0], "tests/room/test_b.py"]
    for number, name in enumerate(files):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            "import atexit, os, pathlib, pytest, tempfile, time\n"
            f"@pytest.mark.parametrize('number', range({1 + number}))\n"
            "def test_it(number):\n"
            "    with pathlib.Path('order.txt').open('a') as file:\n"
            f"        file.write(os.environ.get('PYTEST_XDIST_WORKER', 'alone') + ' {name}\\n')\n"
            "    tempfile.mkdtemp()\n"
            "    atexit.register(os.rmdir, tempfile.mkdtemp())\n"  # as Prefect's harness does
            "    time.sleep(0.2)\n"
        )
    (tmp_path / "temporary").mkdir()
    for name in ("tests/conftest.py", "tests/remembered.py", "tests/slices.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / slices.RECORD).write_text(json.dumps({"quick": seconds, "slow": {}}))
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\naddopts = --import-mode=importlib\n")
    # when
    done = pytest_in(tmp_path, "-p", "xdist", "-n", "2", "--dist", "loadfile", TMPDIR=str(tmp_path / "temporary"))
    # then
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    told = [line.split() for line in (tmp_path / "order.txt").read_text().splitlines()]
    first = {worker: conftest.unit(name) for worker, name in reversed(told)}
    assert sorted(first.values()) == sorted(["tests/room/test_c.py", conftest.TOGETHER[0]])
    assert len({worker for worker, name in told if name in conftest.TOGETHER}) == 1
    begun = list(dict.fromkeys(name for _, name in told))
    assert begun.index("tests/room/test_a.py") < begun.index("tests/room/test_b.py")
    assert list((tmp_path / "temporary").iterdir()) == []  # with what the tests have left there
    # and so it is where one process has them all
    alone = pytest_in(tmp_path, TMPDIR=str(tmp_path / "temporary"))
    assert (alone.returncode, alone.stderr) == (0, ""), alone.stdout
    assert list((tmp_path / "temporary").iterdir()) == []
