from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from components.data.versions.repository import opened
from tests.components.data.versions.versions_builders import new_project


def in_git(root: Path) -> Path:
    """A project of DVC's that git keeps."""
    new_project(root)
    config = root / ".dvc" / "config"
    config.write_text(config.read_text(encoding="utf-8").replace("no_scm = true", ""), encoding="utf-8")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def test_a_repository_of_ones_own_is_used(tmp_path: Path) -> None:
    with opened(in_git(tmp_path / "project")) as repo:
        assert type(repo.scm).__name__ == "Git"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a repository to somebody else")
@pytest.mark.parametrize("given", ["project", "project/.git"])
def test_a_project_or_repository_that_another_user_owns_is_opened(given: str, tmp_path: Path) -> None:
    root = in_git(tmp_path / "project")
    os.chown(tmp_path / given, 54321, 54321)
    with opened(root) as repo:
        assert type(repo.scm).__name__ == "NoSCM"


def test_a_worktree_that_was_copied_without_its_repository_is_opened(tmp_path: Path) -> None:
    root = new_project(tmp_path / "project")
    config = root / ".dvc" / "config"
    config.write_text(config.read_text(encoding="utf-8").replace("no_scm = true", ""), encoding="utf-8")
    (root / ".git").write_text("gitdir: /nowhere/.git/worktrees/project\n", encoding="utf-8")
    with opened(root) as repo:
        assert type(repo.scm).__name__ == "NoSCM"
