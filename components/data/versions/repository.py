"""DVC's repository, opened by one caller at a time, with its messages in a log; and dvc.lock, read without DVC."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from components import offered
from components.data import places
from components.data.errors import DataError, check_name
from components.data.stages import moving
from components.own_files import remove, text
from components.secrecy import scrub

_FORGOTTEN = "and forgotten by DVC\n"
_log = logging.getLogger(__name__)
_LOGGERS = ("dvc", "dvc_data", "dvc_objects")
# Whose errors DVC passes on as they are, from remotes at s3:// and ssh://.
_STORES = frozenset({"aiobotocore", "aiohttp", "asyncssh", "botocore", "s3fs"})


@contextlib.contextmanager
def opened(root: Path) -> Iterator[Any]:
    """The repository; what DVC raises while it is open becomes a DataError."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    # A copy without its .git (an image, an archive) is as good a project, and so is one whose .git is another user's,
    # which git's libraries refuse to open, or leads to nowhere. Nothing that is asked of DVC here needs it.
    settings = {} if _is_ours(root / ".git") else {"core": {"no_scm": True}}
    try:
        # DVC takes paths it has to name from the working directory, and fails where that is another repository.
        with contextlib.chdir(root), contextlib.closing(Repo(str(root), config=settings)) as repo:
            _forget_links(repo, root)
            yield repo
    except TimeoutError:  # an OSError, but the caller's own
        raise
    except (DvcException, OSError) as error:
        raise DataError(f"DVC: {causes(error)}") from error


def _forget_links(repo: Any, root: Path) -> None:
    """Once in a project of an earlier release: what DVC laid out in `data/` then is not its own to remove any more.

    At a checkout it removes what it remembers and no dvc.yaml speaks of, also where an entry reads it now.
    """
    noted = root / moving.DONE
    if text(noted) in (None, _FORGOTTEN):
        return
    with repo.state.links as links:
        for path in [each for each in links if each.startswith("data/")]:
            del links[path]
    noted.write_text(_FORGOTTEN, encoding="utf-8")


def _is_ours(place: Path) -> bool:
    """Whether there is a repository that git lets this user open: the folder, or what a worktree's file names."""
    if not place.exists():
        return False
    found = place
    if place.is_file():
        found = place.parent / place.read_text(encoding="utf-8", errors="replace").partition("gitdir:")[2].strip()
    owners = {each.stat().st_uid for each in (place.parent, place, found) if each.exists()}
    return found.is_dir() and owners == {os.geteuid()}


@contextlib.contextmanager
def reaching(repo: Any) -> Iterator[None]:
    """What goes wrong between here and the default remote becomes a DataError that names it."""
    try:
        yield
    except TimeoutError:  # the caller's own
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _STORES:
            raise
        raise DataError(
            f"between here and {remote_place(repo)}: {causes(error) or type(error).__name__}; check the remote's "
            f"address (`{offered.command('dvc', 'remote', 'list')}`), the credentials for it, and the space on the disk"
        ) from error


def remote_place(repo: Any) -> str:
    """The default remote, for people: its name and address, without a user's name and password."""
    name = repo.config["core"].get("remote")
    if not name:
        return "no remote (none is set)"
    return f"the remote {name!r} ({scrub(str(repo.config['remote'][name].get('url')))})"


def causes(error: BaseException | None) -> str:
    """The messages of an error and its causes: DVC's outermost says only that something failed."""
    said: list[str] = []
    while error is not None:
        text = str(error).strip()
        if text and text not in said:
            said.append(text)
        error = error.__cause__
    return ": ".join(said)


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Wait for whoever else works on the data, then clear away what a killed predecessor or an earlier release left."""
    folder = root / ".convoy" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "dvc.lock"):
        # Names the process that held it; a living one that has inherited that number would be waited for for ever.
        remove(root / ".dvc" / "tmp" / "rwlock")
        saved = saved_lock(root)
        if saved.exists():  # killed within a reproduce: dvc.lock may be half-written
            try:
                lock_file(root)
            except DataError:
                if saved.is_file():
                    shutil.copy2(saved, root / "dvc.lock")
            remove(saved)
        if (told := moving.settle(root)) is not None:
            _log.warning(told)
        yield


@contextlib.contextmanager
def talking_to(log: Path) -> Iterator[None]:
    """DVC's messages go to the log, not through the pipeline's display."""
    # DVC sets up its loggers when it is imported: that must have happened before they are turned to a file.
    import dvc.repo  # noqa: F401

    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(logging.FileHandler(log, encoding="utf-8")) as handler:
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
def at_work(root: Path) -> Iterator[Any]:
    """The repository, for one caller alone, talking to `.convoy/logs/dvc.log`."""
    with alone(root), talking_to(root / ".convoy" / "logs" / "dvc.log"), opened(root) as repo:
        yield repo


# -- dvc.lock --------------------------------------------------------------------------------------------------------


def digest(root: Path, name: str) -> str:
    """The prepared data's digest, as dvc.lock has it; raises DataError where there is none."""
    found = locked_digest(lock_file(root), name)
    if found is None:
        made = offered.command("dvc", "repro", f"validate@{name}")
        raise DataError(f"{root / 'dvc.lock'}: expected the digest of prepare@{name}, found none; run `{made}`")
    return found


def locked_digest(lock: Mapping[str, Any], name: str) -> str | None:
    """The prepared data's digest in a lock file's stages, or None."""
    try:
        return str(lock[f"prepare@{check_name(name)}"]["outs"][0]["md5"])
    except (KeyError, IndexError, TypeError):
        return None


def valid_digest(lock: Mapping[str, Any], name: str) -> str | None:
    """The prepared data's digest in a lock file's stages, where `validate` has passed that very data; else None."""
    found = locked_digest(lock, name)
    judged = lock.get(f"validate@{check_name(name)}")
    read = judged.get("deps") if isinstance(judged, Mapping) else None
    passed = {(each.get("path"), each.get("md5")) for each in read or () if isinstance(each, Mapping)}
    prepared = (str(places.prepared(Path(), name)), moving.before("prepare", name))  # an old commit's is valid too
    return found if any((path, found) in passed for path in prepared) else None


def lock_file(root: Path) -> Mapping[str, Any]:
    """The stages in dvc.lock, none where there is no such file; raises DataError where it is not what DVC writes."""
    path = root / "dvc.lock"
    try:
        return parse_lock(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise DataError(
            f"{path}: expected what DVC writes, received something else: {error}. {_without_lock(root)}"
        ) from None


def _without_lock(root: Path) -> str:
    """What can be done about a dvc.lock that is damaged: the data is found in DVC's cache, or made again."""
    removed = f"`{offered.command('rm', '-r', 'dvc.lock')}`, after which the next run finds out what is done"
    if not (root / ".git").exists():
        return f"Remove it: {removed}"
    return f"Restore it: `{offered.command('git', 'checkout', '--', 'dvc.lock')}`; or remove it: {removed}"


def parse_lock(content: bytes) -> Mapping[str, Any]:
    """The stages in what DVC writes into dvc.lock; raises ValueError for anything else."""
    try:
        values = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    if not isinstance(values, dict) or not isinstance(values.get("stages"), dict):
        raise ValueError("there is no mapping `stages:` in it")
    return dict(values["stages"])


def saved_lock(root: Path) -> Path:
    """A copy of dvc.lock as it was before the reproduce that is under way."""
    return root / ".convoy" / "locks" / "dvc.lock.saved"
