"""Where a source lies → a folder or file here: a local path, a URL of fsspec's, an archive of either, checked.

What is fetched or unpacked lies below `.convoy/data/downloads`, is written in one move and is not fetched again while
it is unchanged. That folder may be removed at any time. What the files mean is the readers' business.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
import urllib.request
from pathlib import Path

from components.config import Located
from components.data.errors import DataError
from components.data.sources.base import boundary
from components.data.sources.base.rows import inside, is_leftover
from components.data.sources.places import archive, remote
from components.inputs import png

_LINE = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-fA-F]{64}) [ *](?P<name>.+)")  # as `sha256sum` writes them


def local(source: Located, project: Path) -> Path:
    """The file or folder that `source.path` means, absolute, fetched and unpacked where it must be.

    Where an archive holds one folder and nothing else, that folder is meant. Raises DataError for what is not there,
    cannot be reached, is not safe to unpack or is not what `sha256` and `checksums` say.
    """
    path = remote.fetch(source, project) if is_remote(source.path) else located(source, project)
    if not path.exists():
        raise DataError(f"source.path: expected a file or folder, received {path}, and there is none")
    if path.is_file():
        packed = archive.is_archive(path)
        if packed or source.sha256 is not None:
            digest = file_digest(path)
            if source.sha256 not in (None, digest):
                raise DataError(
                    f"{path}: expected SHA-256 {source.sha256} (source.sha256), received {digest}; "
                    "fetch it again, or correct the entry if the new content is meant"
                )
            path = archive.inner(archive.unpacked(path, project, digest)) if packed else path
    elif source.sha256 is not None:
        raise DataError(
            f"source.sha256: expected a file or archive at source.path, received the folder {path}; "
            "name a list of its files' digests (`sha256sum`) as source.checksums instead"
        )
    if source.checksums is not None:
        check_sums(path.resolve(), source.checksums)
    return path.resolve()


def located(source: Located, project: Path) -> Path:
    """The local path of a source that needs no network, absolute; relative paths are the project's."""
    if source.path.startswith("file://"):
        return Path(urllib.request.url2pathname(urllib.parse.urlsplit(source.path).path)).resolve()
    return (project / Path(source.path).expanduser()).resolve()


def is_remote(path: str) -> bool:
    return ("://" in path or "::" in path) and not path.startswith("file://")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sums(folder: Path, name: str) -> None:
    """Compare every file that the list `folder/name` names; raises DataError with the first that is not as listed."""
    if not folder.is_dir():
        raise DataError(f"source.checksums: expected a folder or an archive at source.path, received {folder}")
    path = inside(folder, name, "source.checksums")
    expected: dict[str, str] = {}
    with boundary.reading(path, "a list of digests as sha256sum writes it, in UTF-8"):
        lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise DataError(
                f"{path}, line {number}: expected `SHA-256  name` as sha256sum writes it, received {line!r}"
            )
        named = match["name"]
        if match["escaped"]:
            named = re.sub(r"\\([\\nr])", lambda found: {"\\": "\\", "n": "\n", "r": "\r"}[found[1]], named)
        expected[named.removeprefix("./")] = match["digest"].lower()
    if not expected:
        raise DataError(f"{path}: expected digests of files, received an empty list")
    files = {named: inside(folder, named, f"{path}") for named in expected}
    for named, received in zip(files, png.in_threads(file_digest, list(files.values())), strict=True):
        if received != expected[named]:
            raise DataError(f"{folder / named}: expected SHA-256 {expected[named]} ({path.name}), received {received}")


# -- has anybody touched it? -----------------------------------------------------------------------------------------


def listing(source: Located, project: Path) -> str | None:
    """A digest of the names, sizes and times at `source.path`; None where nothing is there or nothing answers.

    Equal digests mean that nobody has touched the source. For a URL it is made of what the file system says; where
    that is neither a tag nor a time, no two digests are equal. Raises DataError for a URL that cannot be meant.
    """
    if is_remote(source.path):
        try:
            return remote.listing(source, project)
        except remote.Unreachable:
            return None
    path = located(source, project)
    return touched(files_of(path)) if path.exists() else None


def files_of(path: Path) -> list[Path]:
    """The file itself, or every file below the folder in order of name, hidden ones aside."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for base, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not is_leftover(name))
        found.extend(Path(base, name) for name in sorted(files) if not is_leftover(name))
    return found


def touched(files: list[Path]) -> str:
    """SHA-256 over paths, sizes and times of change; a file that is not there counts as such."""
    total = hashlib.sha256()
    for path in files:
        try:
            about = path.stat()
            says = f"{about.st_size}\0{about.st_mtime_ns}"
        except OSError:
            says = "not there"
        total.update(f"{path}\0{says}\n".encode(errors="surrogateescape"))
    return total.hexdigest()
