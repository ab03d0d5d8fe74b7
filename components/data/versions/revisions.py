"""The versions of a data set: what a revision means, and where its files are.

A revision is `workspace` (what lies in `.convoy/data/prepared/NAME`), anything that git resolves to a commit (its
dvc.lock has the digest), or a digest of DVC's, whole or the beginning of one. Files are read in DVC's cache; what is
missing there is fetched from the default remote.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from components import offered
from components.artifacts import ArtifactError, DatasetCard
from components.data import places
from components.data.errors import DataError, check_name
from components.data.versions.repository import (
    at_work,
    lock_file,
    locked_digest,
    parse_lock,
    reaching,
    remote_place,
    valid_digest,
)
from components.provenance import git

WORKSPACE = "workspace"
CARD = "dataset.json"

_DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")
_PREFIX = re.compile(r"[0-9a-f]{4,31}")  # as short as git allows


@dataclass(frozen=True)
class Revision:
    """A version of a data set, and the words it was asked for in."""

    asked: str
    digest: str  # of the prepared folder, as dvc.lock has it: md5….dir


@dataclass(frozen=True)
class Contents:
    """A version's files by their names in the prepared folder; to be read only."""

    revision: Revision
    card: DatasetCard
    files: dict[str, Path]
    tree: Any = None  # DVC's, of a version; the workspace has none


def resolve(root: Path, name: str, revision: str) -> Revision:
    """Which version of the data set a revision means; raises DataError where there is none, or more than one."""
    root = root.resolve()
    with at_work(root) as repo:
        return resolved(repo, root, name, revision)


def resolved(repo: Any, root: Path, name: str, asked: str) -> Revision:
    """`resolve` with the repository open."""
    check_name(name)
    if asked == WORKSPACE:
        return Revision(asked, workspace_digest(repo, root, name))
    if _DIGEST.fullmatch(asked):
        return Revision(asked, f"{asked.removesuffix('.dir')}.dir")
    commit = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{asked}^{{commit}}")
    known = _beginning_with(repo, root, name, asked) if _PREFIX.fullmatch(asked) else set()
    if commit is not None and known:
        raise DataError(
            f"revision {asked}: expected one meaning, received two: the commit {commit.strip()} and the data "
            f"{', '.join(sorted(known))}; write more of the one you mean"
        )
    if commit is not None:
        return Revision(asked, _committed_digest(root, name, asked, commit.strip()))
    if len(known) > 1:
        raise DataError(
            f"revision {asked}: expected one version, received {', '.join(sorted(known))}; write more of it"
        )
    if not known:
        raise DataError(
            f"revision {asked}: expected {WORKSPACE!r}, a git revision, or a digest (its first 4 characters or more) "
            f"of {name}, received none of these; looked in {_places(repo)}"
        )
    return Revision(asked, known.pop())


def committed(root: Path, name: str, until: datetime) -> tuple[datetime, str] | None:
    """The last valid version of the data set that a commit's dvc.lock has, at or before a moment; when, and its digest.

    Of the commits that the checked-out one descends from. None where there is none, or no git.
    """
    listed = git(root, "log", "--format=%H %cI", f"--until={until.isoformat()}", "--", "dvc.lock")
    for line in (listed or "").splitlines():
        commit, _, moment = line.partition(" ")
        content = git(root, "show", f"{commit}:./dvc.lock")
        try:
            found = None if content is None else valid_digest(parse_lock(content.encode()), check_name(name))
        except ValueError:
            continue  # a merge gone wrong, say: the one before it counts
        if found is not None:
            return datetime.fromisoformat(moment), found
    return None


def contents(repo: Any, root: Path, name: str, revision: Revision) -> Contents:
    """The files of a version, all there; raises DataError where they cannot be had, or are another data set's."""
    tree = None
    if revision.asked == WORKSPACE:
        folder = places.prepared(root, name)
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    else:
        cache = repo.cache.local
        tree = fetched(repo, name, revision.digest)
        files = {"/".join(key): Path(cache.oid_to_path(info.value)) for key, _, info in tree}
    if CARD not in files:
        raise DataError(
            f"{revision.digest}: expected a prepared data set, received files without {CARD}: {_few(files)}"
        )
    try:
        card = DatasetCard.read(files[CARD])
    except ArtifactError as error:
        raise DataError(f"{revision.digest}: its {CARD} is not this release's: {error}") from None
    if card.name != name:
        raise DataError(f"{revision.digest}: expected a version of {name}, received one of {card.name}")
    return Contents(revision, card, files, tree)


def fetched(repo: Any, name: str, digest: str) -> Any:
    """The version's tree of files, every one of them in the cache; raises DataError that says what was looked at."""
    from dvc.config import NoRemoteError
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    cache, folder = repo.cache.local, HashInfo("md5", digest)
    try:
        if not cache.exists(digest):
            _fetch(repo, [folder])  # DVC fetches what it is told, not what is named in it
        if cache.exists(digest):
            tree = Tree.load(cache, folder)
            missing = _missing(cache, tree)
            if missing:
                _fetch(repo, [*missing, folder])
            if not missing or not _missing(cache, tree):
                return tree
    except NoRemoteError:
        pass  # the cache is all there is to look in
    raise DataError(
        f"{name} {digest}: expected its files in {_places(repo)}, received none or only some of them; where they are, "
        f"`{offered.command('dvc', 'push')}` makes them known, and `{offered.command('dvc', 'pull')}` brings those of "
        "the dvc.lock that is checked out"
    )


def workspace_digest(repo: Any, root: Path, name: str) -> str:
    """The digest of what lies in `.convoy/data/prepared/NAME` now; raises DataError where there is nothing."""
    folder = places.prepared(root, name)
    if not folder.is_dir():
        made = offered.command("dvc", "repro", f"validate@{name}")
        raise DataError(f"{folder}: expected the prepared data, received none; run `{made}`")
    return str(workspace_tree(repo, folder).hash_info.value)


def workspace_tree(repo: Any, folder: Path) -> Any:
    """DVC's tree of a folder as it lies there; unchanged files are not read again."""
    from dvc_data.hashfile.build import build

    _, _, tree = build(repo.cache.local, str(folder), repo.fs, "md5", dry_run=True, ignore=repo.dvcignore)
    return tree


def _fetch(repo: Any, objects: list[Any]) -> None:
    with reaching(repo):
        repo.cloud.pull(objects)


def _missing(cache: Any, tree: Any) -> list[Any]:
    wanted = {info.value: info for _, _, info in tree}
    there = set(cache.oids_exist(list(wanted)))
    return [info for value, info in wanted.items() if value not in there]


def _beginning_with(repo: Any, root: Path, name: str, prefix: str) -> set[str]:
    """Digests of data sets that begin so: dvc.lock's, the cache's, and, where neither has one, the remote's."""
    from dvc.config import NoRemoteError

    locked = locked_digest(lock_file(root), name)
    found = _listed(repo.cache.local, name, prefix) | ({locked} if locked and locked.startswith(prefix) else set())
    if found:
        return found
    try:
        with reaching(repo):
            return _listed(repo.cloud.get_remote_odb(), name, prefix)
    except NoRemoteError:
        return set()


def _listed(store: Any, name: str, prefix: str) -> set[str]:
    """Digests of prepared versions of `name` in a store, by the first characters."""
    place = store.fs.join(store.path, prefix[:2])
    if not store.fs.exists(place):
        return set()
    found = (prefix[:2] + store.fs.name(path) for path in store.fs.find(place))
    return {
        value for value in found if value.startswith(prefix) and _DIGEST.fullmatch(value) and _is_of(store, value, name)
    }


def _is_of(store: Any, digest: str, name: str) -> bool:
    """Whether a folder in a store is a prepared version of `name`: raw forms have digests too."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    if not digest.endswith(".dir"):
        return False
    entry = Tree.load(store, HashInfo("md5", digest)).get((CARD,))
    if entry is None or entry[1] is None:
        return False
    with store.fs.open(store.oid_to_path(entry[1].value), "rb") as file:
        return bool(json.load(file).get("name") == name)


def _committed_digest(root: Path, name: str, asked: str, commit: str) -> str:
    content = git(root, "show", f"{commit}:./dvc.lock")
    if content is None:
        raise DataError(f"revision {asked}: expected a dvc.lock in the commit {commit}, received none")
    try:
        found = locked_digest(parse_lock(content.encode()), name)
    except ValueError as error:
        raise DataError(
            f"revision {asked}: the dvc.lock of the commit {commit} is not what DVC writes: {error}"
        ) from None
    if found is None:
        raise DataError(
            f"revision {asked}: expected the digest of prepare@{name} in the dvc.lock of the commit {commit}, "
            "received none: the data set was not made then"
        )
    return found


def _places(repo: Any) -> str:
    """Where files of versions are looked for, for people."""
    return f"the cache ({repo.cache.local.path}) and {remote_place(repo)}"


def _few(names: Any) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:5]) + (" …" if len(ordered) > 5 else "")
