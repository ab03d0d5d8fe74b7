"""A version of a data set, put back: exactly its bytes, whole or not at all."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import sys
import uuid
from pathlib import Path
from typing import Any

from components import offered
from components.artifacts import Dataset
from components.data import places
from components.data.errors import DataError
from components.data.stages.outputs import foreign
from components.data.versions.repository import at_work
from components.data.versions.revisions import (
    CARD,
    WORKSPACE,
    contents,
    resolved,
    workspace_tree,
)
from components.files import followed

_LEFT = re.compile(r"restoring-[0-9a-f]{8}(?P<old>-old)?")  # what is on its way, and what was moved aside for it


def restore(root: Path, name: str, revision: str, to: Path | None = None, *, force: bool = False) -> Path:
    """Put a version of the data set into `.convoy/data/prepared/NAME`, or into the folder `to`; returns where it is.

    The version is checked out of DVC's cache (and fetched from the remote where that lacks it) beside its place, every
    file's MD5 is compared with the version's, and the whole folder takes its place in one move: a kill leaves what was
    there or what was asked for.

    dvc.lock is left as it is, since it says what params.yaml and the sources come to, and that has not changed: `dvc
    status` shows `.convoy/data/prepared/NAME` as modified, and the next `dvc repro` (so the next run, too) puts the
    configured version back. Where the place is a link, all of this happens at its other end.

    Raises DataError for a revision that is not known or not to be had, and for a place that holds something which would
    be lost: a file that is not Convoy's own, always and before anything is read; files of its own that are not in
    DVC's cache, or in `to` another data set, unless `force`.
    """
    root = root.resolve()
    named = places.prepared(root, name) if to is None else to
    _refuse_foreign(named, marked=to is not None)
    folder = Path(os.path.realpath(followed(named) if named.is_symlink() else named))
    with at_work(root) as repo:
        asked = resolved(repo, root, name, revision)
        if asked.asked == WORKSPACE:
            raise DataError(f"revision: expected a version to put back, received {WORKSPACE!r}, which is there already")
        tree = contents(repo, root, name, asked).tree
        _clear(folder)
        if folder.is_dir() and _differences(folder, tree) == []:
            return folder
        if to is None:
            _refuse_unsaved(repo, folder, force=force)
        else:
            _refuse_occupied(folder, force=force)
        _put(repo, tree, folder)
    return folder


def _clear(folder: Path) -> None:
    """Away with what one that was killed has left beside its place: nobody else is at work."""
    for left in sorted(folder.parent.iterdir()) if folder.parent.is_dir() else ():
        match = _LEFT.fullmatch(left.name.removeprefix(f".{folder.name}."))
        if match is None or not left.name.startswith(f".{folder.name}.") or left.is_symlink():
            continue
        if match["old"] and not folder.exists():
            left.rename(folder)  # the only one there is
        else:
            shutil.rmtree(left)


def _put(repo: Any, tree: Any, folder: Path) -> None:
    from dvc_data.hashfile.checkout import checkout

    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.restoring-{uuid.uuid4().hex[:8]}")
    try:
        checkout(str(temporary), repo.fs, tree, repo.cache.local, force=True)
        wrong = _differences(temporary, tree)
        if wrong:
            raise DataError(
                f"{tree.hash_info.value}: expected files with the MD5 they are stored under, received others for "
                f"{', '.join(wrong[:5])}: the cache is damaged; "
                f"`{offered.command('rm', '-f', *(_object(repo, tree, each) for each in wrong))}` and restore again, "
                "which fetches it from the remote"
            )
        _take_place(temporary, folder)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def _differences(folder: Path, tree: Any) -> list[str]:
    """Names of files in the folder or in the version, but not with the same bytes in both; hashed without DVC."""
    wanted = {"/".join(key): info.value for key, _, info in tree}
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "md5").hexdigest()
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def _object(repo: Any, tree: Any, name: str) -> str:
    entry = tree.get(tuple(name.split("/")))
    return str(repo.cache.local.oid_to_path(entry[1].value)) if entry else name


def _refuse_unsaved(repo: Any, folder: Path, *, force: bool) -> None:
    if force or not folder.exists():
        return
    there = workspace_tree(repo, folder)
    cache = repo.cache.local
    unsaved = sorted("/".join(key) for key, _, info in there if not cache.exists(info.value))
    if unsaved:
        raise DataError(
            f"{folder}: expected files that DVC's cache has, received {len(unsaved)} that it has not: "
            f"{', '.join(unsaved[:5])}; copy them elsewhere, or restore with --force, which loses them"
        )


def _refuse_foreign(folder: Path, *, marked: bool) -> None:
    """Whatever is no data set of ours stays, also with `force`; by names, before anything is read.

    `marked`: one that lies elsewhere than where Convoy keeps them must have its card to be known.
    """
    if not folder.exists():
        return
    strange = foreign(folder, "prepare")
    if strange is None and marked and any(folder.iterdir()) and not (folder / CARD).exists():
        strange = folder
    if strange is not None:
        raise DataError(
            f"{folder}: expected a folder that is empty or not there, or a data set alone, received one with other "
            f"things in it ({strange.name}), which are never replaced; name another folder, or move them elsewhere"
        )


def _refuse_occupied(folder: Path, *, force: bool) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not force:
        held = Dataset.load(folder).card.name
        raise DataError(
            f"{folder}: expected a folder that is empty or not there, received one with a data set, {held}; name "
            "another, or restore with --force, which replaces it"
        )


def _take_place(temporary: Path, folder: Path) -> None:
    """Move the new folder into its place in one move; what was there is under the temporary name afterwards."""
    if not folder.exists():
        temporary.rename(folder)
    elif not _exchange(temporary, folder):
        # Where the file system cannot exchange two names, a kill between these two lines leaves none: never a mix.
        folder.rename(folder.with_name(f"{temporary.name}-old"))
        temporary.rename(folder)
        shutil.rmtree(folder.with_name(f"{temporary.name}-old"))


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places at once; False where the system or the file system does not know how."""
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):  # glibc before 2.28
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(library.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)
