"""Letting go of what a survey found, so that neither a kill nor a run that begins meanwhile finds half of anything.

Runs go from MLflow first: no run finds a step done whose files are going. A run takes its lease before it looks for
finished steps, so after that the leases are asked again; where a run has begun, the runs are put back and the rest
stays. Files go in one move: a folder gets a hidden name, and is emptied under that. A kill leaves a run that is deleted
and has its files, or a hidden folder, and the next cleaning finds either.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from flows.base.project import Project
from flows.cleaning.kinds import Removable
from flows.cleaning.living import living
from flows.cleaning.surveying import USED_BY_LINES


@dataclass(frozen=True)
class Removed:
    """What went, in bytes and number, and what did not, with the reason."""

    size: int
    count: int
    left: tuple[str, ...]


class CleaningError(RuntimeError):
    """Cleaning is not possible now; says why and what to do."""


def remove(
    project: Project, what: Iterable[Removable], progress: Callable[[Removable], None] = lambda each: None
) -> Removed:
    """Let all of it go, one after the other. What cannot go is told, and hinders nothing else.

    Raises CleaningError where another cleaning is at work.
    """
    size, count, left = 0, 0, []
    project.locks.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(project.locks / "clean.lock", timeout=0):
            for each in what:
                why = _one(project, each)
                if why is None:
                    size, count = size + each.size, count + 1
                    progress(each)
                else:
                    left.append(f"{each.what}: {why}")
    except Timeout as error:
        raise CleaningError(f"{error.lock_file}: another `convoy clean` is at work here; wait for it") from error
    return Removed(size, count, tuple(left))


def _one(project: Project, each: Removable) -> str | None:
    """None where it went, else why it did not."""
    try:
        with _undisturbed(each.lock):
            if each.kind in USED_BY_LINES and living(project):
                return "a run has begun meanwhile"
            if each.runs and not _retired(project, each.runs):
                return "a run has begun meanwhile, and may use it"
            for path in each.paths:
                _away(path)
    except Timeout:
        return "it is being worked with"
    except OSError as error:
        return f"{error.filename or each.what}: {error.strerror or error}"
    except RuntimeError as error:  # MLflow's, told by `components.registry`
        return str(error)
    return None


def _retired(project: Project, runs: tuple[str, ...]) -> bool:
    """Whether the runs are deleted in MLflow, and no run began before they were."""
    from components.registry import standing
    from components.registry.memory import tracking

    store = tracking.connect(project.root)
    standing.retire(store, runs)
    if living(project):
        standing.take_back(store, runs)
        return False
    return True


@contextmanager
def _undisturbed(lock: Path | None) -> Iterator[None]:
    """Hold the lock of whoever would work with it; Timeout where somebody does."""
    if lock is None:
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=0):
        yield
        if lock.name.startswith(("step-", "tune-", "study-")):
            lock.unlink(missing_ok=True)  # of one key alone, which may never come back; others open a new one


def _away(path: Path) -> None:
    """Remove a file, or a folder in one move."""
    if path.suffix == ".lock":
        return  # by its holder, see `_undisturbed`
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    hidden = path.with_name(f".{path.name.removeprefix('.')}.{uuid.uuid4().hex[:8]}")
    with suppress(FileNotFoundError):
        path.replace(hidden)
        shutil.rmtree(hidden)
