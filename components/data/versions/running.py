"""Running the stages, and moving what they made to and from the remote."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from components.artifacts import Dataset
from components.config import dataset_entry
from components.data import places
from components.data.errors import DataError, check_name
from components.data.processes import PARENT_VARIABLE
from components.data.stages import outputs, stages, watch
from components.data.versions.repository import (
    alone,
    at_work,
    causes,
    digest,
    lock_file,
    opened,
    reaching,
    saved_lock,
    talking_to,
)
from components.own_files import remove, text

NAMED = 3  # changes of a stage that are named; how many more there are is told


def reproduce(root: Path, name: str, *, log: Path) -> Dataset:
    """Watch, ingest, inspect, prepare and validate the data set as far as something they depend on has changed.

    What the stages and DVC have to say goes to `log`. Raises DataError with the failing stage's own message, and
    ConfigurationError for an entry that params.yaml does not have or has wrong.
    """
    root = root.resolve()
    config = dataset_entry(root, check_name(name))
    with alone(root), talking_to(log), _stage_environment(log):
        stages.check_safe(name, config, root)  # before DVC begins, which removes an output before its stage runs
        with opened(root) as repo:
            remove(places.error_file(root, name))
            _run(repo, root, name, log)
        return Dataset.load(places.prepared(root, name), digest(root, name))


def present(root: Path, name: str) -> Dataset:
    """The prepared data set as it lies there; raises DataError where dvc.lock does not know it."""
    root = root.resolve()
    return Dataset.load(places.prepared(root, name), digest(root, name))


def pending(root: Path, name: str, *, certain: bool = False) -> list[str]:
    """Why the data set's stages would work if they were run now: what has changed for the first of them.

    Empty where all is done; to be `certain`, only where nothing has to be read to know.

    Nothing is written but DVC's own notes of files that it has read. Raises as `reproduce` does.
    """
    root = root.resolve()
    config = dataset_entry(root, check_name(name))
    with alone(root), talking_to(root / ".convoy" / "logs" / "dvc.log"), opened(root) as repo:
        found = repo.status(targets=[_target(root, stages.STAGES[-1], name)], with_deps=True)
    changed = {stage.rpartition(":")[2].partition("@")[0]: _changes(why) for stage, why in found.items()}
    if not places.prepared(root, name).is_dir():
        return [f"{name} is not here: it was not made yet, or lies at the remote"]
    first = next((f"{stage}: {changed[stage]}" for stage in stages.STAGES if changed.get(stage)), None)
    return [first] if first else watch.changes(name, config, root, certain=certain)


def _changes(why: list[Any]) -> str:
    """What DVC says of one stage, in words; nothing for one that is only always looked at."""
    said: list[str] = []
    for each in why:
        if not isinstance(each, Mapping):
            continue  # "always changed"
        for changed in each.values():
            for path, how in changed.items():
                below = f" ({', '.join(how)})" if isinstance(how, Mapping) else ""
                said.append(f"{path}{below} {'changed' if below or how == 'modified' else f'is {how}'}")
    return ", ".join(said[:NAMED]) + (f" and {len(said) - NAMED} more" if len(said) > NAMED else "")


def push(root: Path, name: str | None = None) -> int:
    """Copy what the stages made to the default remote; the number of files that moved."""
    return _move("push", root, name)


def pull(root: Path, name: str | None = None) -> int:
    """Bring what dvc.lock speaks of from the default remote into the working tree; the number of files that moved."""
    return _move("pull", root, name)


def ask_remote(root: Path) -> None:
    """Ask the default remote, once, whether it is there; DataError where it does not answer or does not let us in."""
    with opened(root.resolve()) as repo, reaching(repo):
        if repo.config["core"].get("remote"):
            there = repo.cloud.get_remote_odb()
            with contextlib.suppress(FileNotFoundError):  # nothing was pushed so far
                next(iter(there.fs.ls(there.path)), None)


def _move(direction: str, root: Path, name: str | None) -> int:
    root = root.resolve()
    targets = None if name is None else [_target(root, stage, check_name(name)) for stage in stages.STAGES]
    lock_file(root)
    if direction == "pull":
        made = {key.partition("@")[2] for key in lock_file(root) if key.startswith(f"{stages.STAGES[-1]}@")}
        for each in {name} if name else made:
            outputs.check_outputs(root, each)
    with at_work(root) as repo, reaching(repo):
        moved = getattr(repo, direction)(targets=targets)
    if isinstance(moved, Mapping):
        moved = moved["stats"]["fetched"]
    return int(moved)


def _target(root: Path, stage: str, name: str) -> str:
    """With its file: DVC would look for a bare name in the working directory's dvc.yaml, whatever is open."""
    return f"{root / 'dvc.yaml'}:{stage}@{name}"


def _run(repo: Any, root: Path, name: str, log: Path) -> None:
    from dvc.exceptions import DvcException, ReproductionError

    lock_file(root)
    saved = saved_lock(root)
    if (root / "dvc.lock").exists():
        shutil.copy2(root / "dvc.lock", saved)
    try:
        repo.reproduce(targets=[_target(root, stages.STAGES[-1], name)])
    except BaseException as error:
        _end_stages(root)  # a timeout or an interrupt leaves the stage at work, beside whoever comes next
        if not isinstance(error, ReproductionError):
            raise
        cause = error.__cause__
        if isinstance(cause, TimeoutError) or not isinstance(cause, (DvcException, OSError, type(None))):
            raise cause from None  # not DVC's fault, and not its to rename
        said = places.error_file(root, name)
        if words := text(said):
            raise DataError(words) from None
        raise DataError(f"{name}: {causes(error)}; what it printed is in {log}") from error
    finally:
        saved.unlink(missing_ok=True)
        _close(root, name)


def _close(root: Path, name: str) -> None:
    """An output behind a link cannot be removed by DVC, which then opens it to everybody: back to what is usual."""
    usual = os.umask(0o077)
    os.umask(usual)
    for stage in stages.STAGES:
        output = places.output(root, stage, name)
        if output.is_symlink() and output.is_dir() and (mode := output.stat().st_mode & 0o777) & 0o002 & usual:
            output.chmod(mode & ~usual)


def _end_stages(root: Path) -> None:
    """Kill what this process has started and left at work in the project."""
    ours = psutil.Process().children(recursive=True)
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if stages.__package__ in process.cmdline() and Path(process.cwd()) == root:
                process.kill()
                process.wait(timeout=10)


@contextlib.contextmanager
def _stage_environment(log: Path) -> Iterator[None]:
    """`python` means this interpreter, whether or not its environment is activated; the stage knows where to print."""
    folder = str(Path(sys.executable).parent)
    wanted = {
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]),
        stages.LOG_VARIABLE: str(log.resolve()),
        PARENT_VARIABLE: str(os.getpid()),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
