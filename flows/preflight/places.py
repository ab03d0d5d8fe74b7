"""Folders: whether they can be written, by us, and how much room there is in them."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from components import texts
from flows.base.project import Project
from flows.preflight.finding import Finding, size

# A run writes about 50 MB beside its data; Fashion-MNIST with everything that is made of it is 400 MB.
LEAST_ROOM, COMFORTABLE_ROOM = 50 * 2**20, 2**30
LEAST_INODES, COMFORTABLE_INODES = 1_000, 10_000  # a first run makes about 650 files, DVC's cache included
SHARED_MEMORY = 256 * 2**20  # what Ray is told to take for its object store
LOOKED_AT = 2_000  # files of .convoy at most: a check of a second


def writable(check: str, folder: Path, way: str) -> Finding:
    """Really write a file, read it back and remove it; a folder that is not there yet is looked at from above."""
    place = next(each for each in (folder, *folder.parents) if each.exists())
    trial = place / f".convoy-writes-here.{uuid.uuid4().hex[:8]}"
    try:
        trial.write_bytes(b"x")
        read = trial.read_bytes()
        trial.unlink()
    except OSError as error:
        return Finding("error", check, f"{place}: expected a folder that can be written: {error.strerror}", way)
    if read != b"x":
        return Finding("error", check, f"{place}: a file that was written came back as another", way)
    return Finding("ok", check, f"{folder}, writable")


def project_folder(project: Project) -> Finding:
    """The project's own folder."""
    return writable("project", project.root, f"`sudo chown -R {os.getuid()} {texts.shell(str(project.root))}`")


def temporary_folder() -> Finding:
    """Where temporary files go: TMPDIR, or the system's choice."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        return Finding("error", "temporary folder", str(error), "set TMPDIR to a folder that can be written")
    return writable("temporary folder", folder, "set TMPDIR to a folder that can be written")


def own_state(project: Project) -> Finding:
    """Whether what lies in .convoy already can be written: another user may have run a line here."""
    state = project.state
    if not state.exists():
        return Finding("ok", "state", f"{state}, made by the first run")
    looked_at = islice(chain([state], _below(state, 2), _below(project.root / ".dvc", 1)), LOOKED_AT)
    foreign = [(path, owner) for path in looked_at if (owner := _somebody_else(path)) is not None]
    if not foreign:
        return Finding("ok", "state", f"{state}, writable")
    first, owner = foreign[0]
    found = f"{first} belongs to user {owner} and cannot be written by {os.getuid()}"
    more = f", and so do {len(foreign) - 1} more" if len(foreign) > 1 else ""
    way = f"`sudo chown -R {os.getuid()} {texts.shell(str(state))} {texts.shell(str(project.root / '.dvc'))}`"
    return Finding("error", "state", found + more, way)


def _below(folder: Path, levels: int) -> Iterator[Path]:
    """What lies in a folder, so many levels deep. Others work there meanwhile: what has gone is passed over."""
    try:
        found = list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from found
    if levels > 1:
        for path in found:
            if path.is_dir() and not path.is_symlink() and os.access(path, os.R_OK | os.X_OK):
                yield from _below(path, levels - 1)


def _somebody_else(path: Path) -> int | None:
    """Whose a file is that we cannot write; None for one that we can, for a link, and for one that has just gone."""
    if path.is_symlink() or os.access(path, os.W_OK):
        return None
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


def room(project: Project) -> list[Finding]:
    """Bytes and inodes that are free, a finding each file system."""
    places = {"project": project.root, "temporary folder": Path(tempfile.gettempdir())}
    disks: dict[int, tuple[str, Path]] = {}
    for name, place in places.items():
        known = disks.get(place.stat().st_dev)
        disks[place.stat().st_dev] = (f"{known[0]} and {name}" if known else name, known[1] if known else place)
    return [_room(name, place) for name, place in disks.values()]


def _room(name: str, place: Path) -> Finding:
    free, state = shutil.disk_usage(place).free, os.statvfs(place)
    inodes = state.f_favail if state.f_files else None  # btrfs and others have none to run out of
    found = f"{size(free)} free" + (f" and {inodes:,} inodes" if inodes is not None else "") + f" for {name} ({place})"
    way = "`convoy clean` shows what can go"
    if free < LEAST_ROOM or (inodes is not None and inodes < LEAST_INODES):
        return Finding("error", "disk", f"{found}; a run needs {size(LEAST_ROOM)} and some hundred files", way)
    if free < COMFORTABLE_ROOM or (inodes is not None and inodes < COMFORTABLE_INODES):
        return Finding("warning", "disk", f"{found}, which is little", way)
    return Finding("ok", "disk", found)


def shared_memory(folder: Path = Path("/dev/shm")) -> Finding:  # noqa: S108 — Linux' own, and only looked at
    """Where Ray keeps what travels between processes. Less is slower: Ray falls back to the temporary folder."""
    if os.environ.get("RAY_ADDRESS"):
        return Finding("ok", "shared memory", "not needed: RAY_ADDRESS names a cluster")
    if not folder.is_dir():
        return Finding("ok", "shared memory", f"no {folder} on this system: Ray uses the temporary folder")
    free = shutil.disk_usage(folder).free
    if free >= SHARED_MEMORY and os.access(folder, os.W_OK):
        return Finding("ok", "shared memory", f"{size(free)} free in {folder}")
    found = f"{size(free)} free in {folder}, expected {size(SHARED_MEMORY)}: Ray uses the temporary folder, slower"
    return Finding("warning", "shared memory", found, "in a container: start it with --shm-size=512m")
