"""A folder becomes a project: the configuration, the stages of data, a first recipe, and DVC's settings.

What a clone has too is linked to from here (`given/`), so that both have the same; the wheel has copies of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from components import texts
from components.config import ConfigurationError
from flows.base.project import check_place, is_project

GIVEN = Path(__file__).with_name("given")
# As the project has it → as it lies in `given`, where no file bears a name that DVC or git would look for.
FILES = {
    ".dvc/config": "dvc/config",
    ".dvc/.gitignore": "dvc/gitignore",
    ".dvcignore": "dvcignore",
    ".gitignore": "gitignore",
    "README.md": "README.md",
    "recipes/digits.yaml": "recipes/digits.yaml",
    "params.yaml": "params.yaml",
    "dvc.yaml": "stages.yaml",  # the last one: without it there is no project yet
}
KEPT = (".gitignore", "README.md")  # that may be somebody's own; all else says that there is a project already
WITHOUT_GIT = "[core]\n    no_scm = true\n"  # plain `dvc` refuses to work outside of a repository that is not told so


@dataclass(frozen=True)
class Started:
    """What was written, what was there and stays as it is, and the repository that the project is in."""

    root: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]
    repository: Path | None
    new: bool  # whether the repository was made here
    unignored: tuple[str, ...]  # lines that a `.gitignore` that was there lacks


def start(folder: Path, *, git: bool = True) -> Started:
    """Make a project of a folder, new or without one in it. What is there already is not touched.

    With `git` a repository is made for it, unless it lies in one; nothing is committed. Raises ConfigurationError for
    what is no folder or holds a project, and for one that cannot be written; nothing is left half-made.
    """
    root = folder.resolve()
    check_place(root)
    _check_free(root)
    made: list[Path] = []
    try:
        repository, new = _repository(root, wanted=git, made=made)
        kept = tuple(name for name in KEPT if (root / name).exists())
        written = tuple(name for name in sorted(FILES) if name not in kept)
        for name in (each for each in FILES if each in written):
            _write(root / name, _content(name, in_repository=repository is not None), made)
    except OSError as error:
        for path in reversed(made):
            with suppress(OSError):
                shutil.rmtree(path) if path.name == ".git" else path.rmdir() if path.is_dir() else path.unlink()
        raise ConfigurationError(
            f"{root}: expected a folder that can be written, received one where {error.filename or 'git'} cannot be: "
            f"{error.strerror or error}; nothing was left behind"
        ) from error
    return Started(root, written, kept, repository, new, _unignored(root))


def _check_free(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise ConfigurationError(f"{root}: expected a folder, or a name that is free, received a file")
    if (around := next((place for place in root.parents if is_project(place)), None)) is not None:
        raise ConfigurationError(f"{root}: expected a folder outside of other projects, received one in {around}")
    there = [name for name in FILES if name not in KEPT and (root / name).exists()]
    if there:
        raise ConfigurationError(
            f"{root}: expected a folder without a project, received one that has {', '.join(sorted(there))}; choose "
            "another folder, or work in the project that is there"
        )


def _repository(root: Path, *, wanted: bool, made: list[Path]) -> tuple[Path | None, bool]:
    """The repository that the folder is in, and whether it was made now. One that is there is left as it is."""
    around = next((place for place in (root, *root.parents) if (place / ".git").exists()), None)
    if around is not None or not wanted or shutil.which("git") is None:
        return around, False
    _folders(root, made)
    made.append(root / ".git")
    # Within a hook these name another repository, which would be begun anew.
    own = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    command = ["git", "init", "--quiet", str(root)]
    done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(0, texts.shown(done.stderr.strip()))
    return root, True


def _content(name: str, *, in_repository: bool) -> str:
    text = (GIVEN / FILES[name]).read_text(encoding="utf-8")
    return text.replace("[core]\n", WITHOUT_GIT, 1) if name == ".dvc/config" and not in_repository else text


def _write(path: Path, content: str, made: list[Path]) -> None:
    _folders(path.parent, made)
    with path.open("x", encoding="utf-8") as file:
        made.append(path)
        file.write(content)


def _folders(folder: Path, made: list[Path]) -> None:
    """The folder, with those above it; those that are new are noted."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(new):
        place.mkdir()
        made.append(place)


def _unignored(root: Path) -> tuple[str, ...]:
    has = {line.strip() for line in (root / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()}
    wanted = (GIVEN / FILES[".gitignore"]).read_text(encoding="utf-8").splitlines()
    return tuple(line for line in wanted if line not in has)
