"""Files and folders that take their place in one move, and digests of what they hold."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.own_files import remove


class ArtifactError(ValueError):
    """A noun on disk is not what it says it is; names the file, what was expected and what was found."""


# Read once: asking means setting it, for all threads.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


def _readable(path: Path) -> None:
    """Give a file the rights that any new one has: safetensors and temporary files are their owner's alone.

    Else a project that several people share has models that only one of them can load.
    """
    if stat.S_IMODE(path.stat().st_mode) & 0o077 == 0:
        path.chmod(0o666 & ~_UMASK)


def followed(folder: Path) -> Path:
    """The folder itself, its parents made, or the one at the other end of a link; ArtifactError where that has gone."""
    if not folder.is_symlink():
        folder.parent.mkdir(parents=True, exist_ok=True)
        return folder
    real = Path(os.path.realpath(folder))
    if real.is_symlink() or not real.parent.is_dir():
        raise ArtifactError(
            f"{folder}: expected a link to a folder, received one to {real}, and there is none; mount that disk, or "
            "remove the link"
        )
    return real


@contextmanager
def replacing(folder: Path, check: Callable[[Path], None] = lambda folder: None) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the block ends well, and goes when it does not.

    What was there before is moved aside in one move too, never emptied in place: a kill leaves the old, the new or
    nothing, but no part of either. Where `folder` is a link (to a bigger disk), that happens at its other end, and the
    link stays. A `check` raises for what is not to be replaced; it is asked first, and once more before the move, since
    what was asked for a while ago may be somebody's by now. Raises ArtifactError for a link that leads nowhere.
    """
    check(folder)
    link, folder = folder, followed(folder)
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    aside = temporary.with_name(f"{temporary.name}.old")
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file() and not file.is_symlink():
                _readable(file)
        check(link)
        if folder.exists():
            folder.replace(aside)
        temporary.replace(folder)
    except BaseException:
        if aside.exists() and not folder.exists():
            aside.replace(folder)
        raise
    finally:
        for leftover in (temporary, aside):
            remove(leftover)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, and goes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        if not path.exists():  # else whoever made that file has decided who reads it
            _readable(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest_folder(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, in order of name.

    Hidden files and what lies in hidden folders are left out: a killed process may have left some.
    """
    total = hashlib.sha256()
    for name in sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file()):
        if any(part.startswith(".") for part in name.parts):
            continue
        with (folder / name).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{name.as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def digest_values(values: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
