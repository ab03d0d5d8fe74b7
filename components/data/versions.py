"""Which bytes are the data? The one room of DVC.

Runs the stages of `dvc.yaml`, moves what they made to and from the remote, and says a data set's digest. One lock of
our own surrounds every call: DVC itself refuses the second of two callers, and after a kill may wait for ever.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml
from filelock import FileLock

from components.artifacts import Dataset, writing
from components.config import FolderSource, Source, dataset_entry
from components.data import stages
from components.data.errors import DataError, check_name

_LOGGERS = ("dvc", "dvc_data", "dvc_objects")


def reproduce(root: Path, name: str, *, log: Path) -> Dataset:
    """Ingest, prepare and validate the data set as far as something they depend on has changed.

    What the stages and DVC have to say goes to `log`. Raises DataError with the failing stage's own message, and
    ConfigurationError for an entry that params.yaml does not have or has wrong.
    """
    root = root.resolve()
    config = dataset_entry(root, check_name(name))
    with _alone(root), _talking_to(log), _stage_environment(log):
        with _opened(root) as repo:
            changed, listing = _source_changed(root, name, config.source)
            stages.error_file(root, name).unlink(missing_ok=True)
            if changed:
                _run(repo, root, name, [_target(root, "ingest", name)], log, force=True, single_item=True)
            _run(repo, root, name, [_target(root, "validate", name)], log)
        if listing is not None:
            _keep_listing(root, name, listing)
        return Dataset.load(stages.prepared_folder(root, name), digest(root, name))


def digest(root: Path, name: str) -> str:
    """The prepared data's digest, as dvc.lock has it; raises DataError where there is none."""
    entry = _lock_file(root).get(f"prepare@{check_name(name)}")
    try:
        return str(entry["outs"][0]["md5"])  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        raise DataError(
            f"{root / 'dvc.lock'}: expected the digest of prepare@{name}, found none; run `dvc repro validate@{name}`"
        ) from None


def push(root: Path, name: str | None = None) -> int:
    """Copy what the stages made to the default remote; the number of files that moved."""
    return _move("push", root, name)


def pull(root: Path, name: str | None = None) -> int:
    """Bring what dvc.lock speaks of from the default remote into the working tree; the number of files that moved."""
    return _move("pull", root, name)


def _move(direction: str, root: Path, name: str | None) -> int:
    root = root.resolve()
    targets = None if name is None else [_target(root, stage, check_name(name)) for stage in stages.STAGES]
    _lock_file(root)
    with _alone(root), _talking_to(root / ".convoy" / "logs" / "dvc.log"), _opened(root) as repo:
        moved = getattr(repo, direction)(targets=targets)
    if isinstance(moved, Mapping):
        moved = moved["stats"]["fetched"]
    return int(moved)


# -- DVC -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[Any]:
    """The repository; what DVC raises while it is open becomes a DataError."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    # A copy without its .git (an image, an archive) is as good a project.
    settings = {} if (root / ".git").exists() else {"core": {"no_scm": True}}
    try:
        # DVC takes paths it has to name from the working directory, and fails where that is another repository.
        with contextlib.chdir(root), contextlib.closing(Repo(str(root), config=settings)) as repo:
            yield repo
    except TimeoutError:  # an OSError, but the caller's own
        raise
    except (DvcException, OSError) as error:
        raise DataError(f"DVC: {_causes(error)}") from error


def _target(root: Path, stage: str, name: str) -> str:
    """With its file: DVC would look for a bare name in the working directory's dvc.yaml, whatever is open."""
    return f"{root / 'dvc.yaml'}:{stage}@{name}"


def _causes(error: BaseException | None) -> str:
    """The messages of an error and its causes: DVC's outermost says only that something failed."""
    said: list[str] = []
    while error is not None:
        text = str(error).strip()
        if text and text not in said:
            said.append(text)
        error = error.__cause__
    return ": ".join(said)


def _run(repo: Any, root: Path, name: str, targets: list[str], log: Path, **options: bool) -> None:
    from dvc.exceptions import DvcException, ReproductionError

    _lock_file(root)
    saved = _saved_lock(root)
    if (root / "dvc.lock").exists():
        shutil.copy2(root / "dvc.lock", saved)
    try:
        repo.reproduce(targets=targets, **options)
    except BaseException as error:
        _end_stages(root)  # a timeout or an interrupt leaves the stage at work, beside whoever comes next
        if not isinstance(error, ReproductionError):
            raise
        cause = error.__cause__
        if isinstance(cause, TimeoutError) or not isinstance(cause, (DvcException, OSError, type(None))):
            raise cause from None  # not DVC's fault, and not its to rename
        said = stages.error_file(root, name)
        if said.is_file():
            raise DataError(said.read_text(encoding="utf-8")) from None
        raise DataError(f"{name}: {_causes(error)}; what it printed is in {log}") from error
    finally:
        saved.unlink(missing_ok=True)


def _end_stages(root: Path) -> None:
    """Kill what this process has started and left at work in the project."""
    ours = psutil.Process().children(recursive=True)
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if stages.__name__ in process.cmdline() and Path(process.cwd()) == root:
                process.kill()
                process.wait(timeout=10)


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Wait for whoever else works on the data, then clear away what a killed predecessor has left."""
    folder = root / ".convoy" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "dvc.lock"):
        # Names the process that held it; a living one that has inherited that number would be waited for for ever.
        (root / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
        saved = _saved_lock(root)
        if saved.exists():  # killed within `_run`: dvc.lock may be half-written
            try:
                _lock_file(root)
            except DataError:
                shutil.copy2(saved, root / "dvc.lock")
            saved.unlink()
        yield


def _saved_lock(root: Path) -> Path:
    return root / ".convoy" / "locks" / "dvc.lock.saved"


def _lock_file(root: Path) -> Mapping[str, Any]:
    """The stages in dvc.lock, none where there is no such file; raises DataError where it is not what DVC writes."""
    path = root / "dvc.lock"
    try:
        content = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(_bad_lock(path, str(error))) from None
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise DataError(_bad_lock(path, "there is no mapping `stages:` in it"))
    return dict(content["stages"])


def _bad_lock(path: Path, why: str) -> str:
    return (
        f"{path}: expected what DVC writes, received something else: {why}. "
        "Restore it (`git checkout dvc.lock`) or remove it"
    )


# -- surroundings ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _talking_to(log: Path) -> Iterator[None]:
    """DVC's messages go to the log, not through the line's display."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with _imported_dvc(), contextlib.closing(logging.FileHandler(log, encoding="utf-8")) as handler:
        before = {name: (logging.getLogger(name).handlers, logging.getLogger(name).propagate) for name in _LOGGERS}
        try:
            for name in _LOGGERS:
                logging.getLogger(name).handlers = [handler]
                logging.getLogger(name).propagate = False
            yield
        finally:
            for name, (handlers, propagate) in before.items():
                logging.getLogger(name).handlers = handlers
                logging.getLogger(name).propagate = propagate


@contextlib.contextmanager
def _imported_dvc() -> Iterator[None]:
    """DVC sets up its loggers when it is imported: that must have happened before they are turned to a file."""
    import dvc.repo  # noqa: F401

    yield


@contextlib.contextmanager
def _stage_environment(log: Path) -> Iterator[None]:
    """`python` means this interpreter, whether or not its environment is activated; the stage knows where to print."""
    folder = str(Path(sys.executable).parent)
    wanted = {
        "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)]),
        stages.LOG_VARIABLE: str(log.resolve()),
        stages.PARENT_VARIABLE: str(os.getpid()),
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


# -- one's own folders -----------------------------------------------------------------------------------------------


def _source_changed(root: Path, name: str, source: Source) -> tuple[bool, str | None]:
    """Whether a folder outside the project is no longer what was ingested, and its listing now.

    DVC cannot depend on it by itself (`dvc.yaml` is the same for every kind of source). Names, sizes and times are
    compared first; where they differ, on this machine's first look too, the content decides. A folder that is not
    there (the data came by `pull`) has not changed; one whose raw form is gone is ingested anew, since DVC would bring
    back whatever it has seen last.
    """
    from components.data.ingest import RawCard, fingerprint
    from components.data.sources import folder

    if not isinstance(source, FolderSource):
        return False, None
    raw = stages.raw_folder(root, name) / "raw.json"
    place = folder.locate(source, root)
    if not place.is_dir():
        return False, None
    listing = folder.listing(place)
    if not raw.is_file():
        return True, listing
    known = _listing_file(root, name)
    if known.is_file() and known.read_text(encoding="utf-8") == listing:
        return False, listing
    return fingerprint(source, root) != RawCard.load(raw.parent).fingerprint, listing


def _keep_listing(root: Path, name: str, listing: str) -> None:
    with writing(_listing_file(root, name)) as temporary:
        temporary.write_text(listing, encoding="utf-8")


def _listing_file(root: Path, name: str) -> Path:
    return root / ".convoy" / "data" / f"{name}.listing"
