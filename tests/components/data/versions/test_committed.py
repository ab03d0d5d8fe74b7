"""What a commit's dvc.lock says of a data set, as of a moment."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from components.data.versions import committed
from tests.components.data.versions.versions_builders import NAME


@pytest.fixture
def dated(tmp_path: Path) -> Path:
    """A repository with a dvc.lock a day: a version, one that was never valid, one that is no dvc.lock, another."""
    first, invalid, last = ("a" * 32 + ".dir", "b" * 32 + ".dir", "c" * 32 + ".dir")

    def lock(made: str, judged: str) -> str:
        passed = {"deps": [{"path": f".convoy/data/prepared/{NAME}", "md5": judged}]}
        return yaml.safe_dump({"stages": {f"prepare@{NAME}": {"outs": [{"md5": made}]}, f"validate@{NAME}": passed}})

    git(tmp_path, "init", "-q")
    for day, content in enumerate([lock(first, first), lock(invalid, first), "<<<<<<<", lock(last, last)], start=1):
        (tmp_path / "dvc.lock").write_text(content, encoding="utf-8")
        git(tmp_path, "add", "dvc.lock")
        git(tmp_path, "commit", "-q", "-m", "data", at=f"2026-02-0{day}T12:00:00+01:00")
    return tmp_path


def git(root: Path, *words: str, at: str = "2026-02-01T12:00:00+01:00") -> None:
    who = {f"GIT_{role}_{what}": "t@t" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    dates = {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
    subprocess.run(["git", *words], cwd=root, env={**os.environ, **who, **dates}, check=True)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-02-01T10:59:59+00:00", None),
        ("2026-02-01T11:00:00+00:00", ("2026-02-01", "a")),
        ("2026-02-03T23:00:00+00:00", ("2026-02-01", "a")),  # what came since was never valid, or nothing
        ("2026-02-04T11:00:01+00:00", ("2026-02-04", "c")),
    ],
)
def test_the_version_of_a_past_moment_is_the_last_valid_one_that_was_committed(
    dated: Path, moment: str, expected: tuple[str, str] | None
) -> None:
    found = committed(dated, NAME, datetime.fromisoformat(moment))
    assert (found and (str(found[0].date()), found[1][0])) == expected


def test_without_git_nothing_was_committed(tmp_path: Path) -> None:
    assert committed(tmp_path, NAME, datetime.now(UTC)) is None
