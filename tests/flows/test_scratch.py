"""What a look writes outside of a project: for one user alone, gone at the end, and after a kill at the next look."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from flows.base import scratch
from flows.commands import terminal


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder that all users share."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def test_a_folder_is_the_users_alone_and_goes(shared: Path) -> None:
    with scratch.scratch("convoy-check-") as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.parent == shared
    assert list(shared.iterdir()) == []


def test_what_a_killed_one_left_goes_and_nobody_elses(shared: Path, tmp_path: Path) -> None:
    left, linked, other = (shared / f"convoy-check-{name}" for name in ("abcdefgh", "ijklmnop", "too-long-a-name"))
    for folder in (left, other, tmp_path / "mine"):
        (folder / "downloads").mkdir(parents=True)
    linked.symlink_to(tmp_path / "mine")
    with scratch.scratch("convoy-check-") as living:
        for folder in (left, living, other):
            os.utime(folder, (0, 0))
        with scratch.scratch("convoy-check-"):
            assert living.is_dir() and not left.exists()
    assert (tmp_path / "mine" / "downloads").is_dir() and linked.is_symlink() and other.is_dir()


def test_the_story_of_an_error_goes_into_the_users_own_cache_and_through_no_link(shared: Path, tmp_path: Path) -> None:
    def fail() -> None:
        with pytest.raises(SystemExit), terminal.explained(Console(quiet=True), scratch.user_cache() / terminal.ERRORS):
            raise RuntimeError("unforeseen")

    fail()
    log = tmp_path / "cache" / "convoy" / "errors.log"
    assert "unforeseen" in log.read_text(encoding="utf-8")
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700 and list(shared.iterdir()) == []
    precious = tmp_path / "precious"
    precious.write_text("mine", encoding="utf-8")
    log.unlink()
    log.symlink_to(precious)
    fail()
    assert precious.read_text(encoding="utf-8") == "mine"
