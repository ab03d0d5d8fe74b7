"""Archives → folders below `.convoy/data/downloads/unpacked`, named after the archive's digest, written in one move.

An archive comes from anywhere, so nothing in it is trusted. Only files and folders are made; a link becomes a second
name of the file it points to, never a link on the disk, so that no later name can lead through it. (`tarfile`'s own
filter is not relied on: before Python 3.11.13 it can be got around, CVE-2025-4517.)
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from components.data.errors import DataError
from components.data.places import DOWNLOADS
from components.data.sources.base import boundary
from components.data.sources.base.rows import is_leftover
from components.data.sources.places.keeping import alone, link
from components.files import replacing

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ENTRIES = 2_000_000  # ImageNet's 1.4 million files fit; names alone can fill a file system
# Images hardly shrink; masks as .npy do (400 of 256×256 with one box each: 627 : 1 as zip, 1,283 : 1 as xz; zeros,
# of which bombs are made: 1,028 : 1 and 6,756 : 1). So the ratio counts only above a size that does no harm.
RATIO = 200
HARMLESS = 2**30  # bytes
_HEADER = 16 * 2**20  # most bytes that tarfile may ask for at once: it reads headers whole, and we copy less
_CHUNK = 2**20
_IGNORED = "__MACOSX"  # what macOS adds to a zip, beside the files themselves
_PACKERS: dict[bytes, Any] = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}  # by the first bytes
EXPECTED, AGAIN = f"an archive ({', '.join(SUFFIXES)})", "fetch or pack it again"


@dataclass(frozen=True)
class Member:
    """One entry: a file that can be opened, a folder, or a link to another entry of the archive (`target`)."""

    name: str
    kind: Literal["file", "folder", "link"]
    open: Callable[[], IO[bytes]] | None = None
    target: str = ""


def is_archive(path: Path) -> bool:
    """By its name; a file without any suffix, as some addresses leave it, by its first bytes."""
    if path.suffix:
        return path.name.lower().endswith(SUFFIXES)
    with path.open("rb") as file:
        start = file.read(512)
    return start.startswith((b"PK\x03\x04", *_PACKERS)) or start[257:262] == b"ustar"


def unpacked(path: Path, project: Path, digest: str) -> Path:
    """The folder with the archive's content, unpacked once for a digest; raises DataError for what is not safe."""
    folder = project / DOWNLOADS / "unpacked" / digest
    with alone(folder):
        if not folder.is_dir():
            with replacing(folder) as temporary:
                unpack(path, temporary)
    return folder


def inner(folder: Path) -> Path:
    """The folder itself, or what most archives wrap around their content: the only folder in it, as deep as it goes."""
    children = [path for path in folder.iterdir() if not is_leftover(path.name)]
    return inner(children[0]) if len(children) == 1 and children[0].is_dir() else folder


def safe_name(name: str, where: str) -> PurePosixPath:
    """A name that stays below the folder it is put into; raises DataError for one that could lead out of it."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\0" in name:
        raise DataError(f"{where}: expected names inside the folder, received {name!r}; nothing was unpacked")
    return pure


def unpack(path: Path, folder: Path) -> None:
    """Write an archive's files below an empty folder; raises DataError with the name of the entry that is refused."""
    budget = _Budget(path, folder)
    links: dict[str, str] = {}
    try:
        with (
            boundary.reading(path, f"an archive ({', '.join(SUFFIXES)})", AGAIN),
            closing(_members(path, budget)) as members,
        ):
            for member in members:
                budget.enter()
                name = safe_name(member.name, str(path))
                if _IGNORED in name.parts[:1] or not name.parts:
                    continue
                target = folder / name
                if member.kind == "link":
                    links[name.as_posix()] = safe_name(member.target, f"{path}: link {name}").as_posix()
                elif member.kind == "folder":
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _copy(member, target, budget)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise DataError(f"{path}: expected every name once, received {name} twice; pack it again") from None
    with boundary.reading(path, EXPECTED, AGAIN):
        for name_ in links:
            _second_name(path, folder, name_, links, budget)
    if not any(item.is_file() for item in folder.rglob("*")):
        raise DataError(f"{path}: expected an archive with files, received one without any")


class _Budget:
    """What an archive may become; raises DataError as soon as it becomes more."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.packed = path.stat().st_size
        self.most = max(HARMLESS, RATIO * self.packed)
        self.free = shutil.disk_usage(folder).free
        self.entries = self.bytes = 0

    def enter(self) -> None:
        self.entries += 1
        if self.entries > ENTRIES:
            raise DataError(f"{self.path}: expected at most {ENTRIES:,} entries, received more; nothing was unpacked")

    def take(self, size: int) -> None:
        self.bytes += size
        self.check(self.bytes)
        if self.bytes > self.free:
            raise DataError(
                f"{self.path}: expected to fit into the {self.free:,} bytes that are free, received more; "
                "nothing was unpacked. Make room, or unpack it elsewhere and name that folder"
            )

    def check(self, size: int) -> None:
        if size > self.most:
            raise DataError(
                f"{self.path}: expected at most {self.most:,} bytes from an archive of {self.packed:,} "
                f"({RATIO} times its size), received more; nothing was unpacked. If it is meant, unpack it by hand"
            )


def _copy(member: Member, target: Path, budget: _Budget) -> None:
    assert member.open is not None  # noqa: S101  (a file has it)
    with member.open() as source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            budget.take(len(chunk))
            file.write(chunk)


def _second_name(path: Path, folder: Path, name: str, links: dict[str, str], budget: _Budget) -> None:
    """Give the file that a link points to the link's name too."""
    along = [name]  # links that point to links: all of them are led to the end at once, since there may be millions
    while (target := links[along[-1]]) in links and target not in along[:1] and len(along) <= len(links):
        along.append(target)
    links.update(dict.fromkeys(along, target))
    if not (folder / target).is_file():
        raise DataError(
            f"{path}: link {name}: expected a link to a file in the archive, received one to {target}; "
            "pack what it points to (tar --dereference)"
        )
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if (folder / name).exists():
        raise DataError(f"{path}: expected every name once, received {name} twice; pack it again")
    if not link(folder / target, folder / name):
        budget.take((folder / target).stat().st_size)


# -- formats ---------------------------------------------------------------------------------------------------------


def _members(path: Path, budget: _Budget) -> Generator[Member, None, None]:
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"PK"):
        return _zip_members(path)
    packer = next((packer for magic, packer in _PACKERS.items() if start.startswith(magic)), None)
    return _tar_members(path, path.open("rb") if packer is None else packer.open(path, "rb"), budget)


def _zip_members(path: Path) -> Generator[Member, None, None]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")  # as some programs on Windows write it
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise DataError(f"{path}: expected an archive without a password, received {name} encrypted")
            if info.is_dir():
                yield Member(name, "folder")
            elif kind == stat.S_IFLNK:
                with archive.open(info) as file:
                    points = os.fsdecode(file.read(4096))  # PATH_MAX
                yield Member(name, "link", target=_beside(name, points))
            elif kind not in (0, stat.S_IFREG):
                raise _special(path, name)
            else:
                yield Member(name, "file", lambda info=info: archive.open(info))  # type: ignore[misc]


def _tar_members(path: Path, stream: IO[bytes], budget: _Budget) -> Generator[Member, None, None]:
    with stream, tarfile.open(fileobj=_Bounded(stream, budget), mode="r:") as tar:  # type: ignore[call-overload]
        while (info := tar.next()) is not None:
            tar.members = []  # it remembers every one; there may be millions
            if info.size < 0:  # which would lead back to what was read before
                raise DataError(
                    f"{path}: expected files of a size, received {info.name} of {info.size:,} bytes; {AGAIN}"
                )
            if info.isdir():
                yield Member(info.name, "folder")
            elif info.issym():
                yield Member(info.name, "link", target=_beside(info.name, info.linkname))
            elif info.islnk():
                yield Member(info.name, "link", target=posixpath.normpath(info.linkname))
            elif not info.isreg():
                raise _special(path, info.name)
            else:
                yield Member(info.name, "file", lambda info=info: tar.extractfile(info))  # type: ignore[misc]


def _beside(name: str, target: str) -> str:
    """Where a symbolic link points, from the top of the archive."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _special(path: Path, name: str) -> DataError:
    return DataError(f"{path}: expected files and folders, received {name}, a device or the like; nothing was unpacked")


class _Bounded:
    """An unpacked tar stream that ends a bomb in its headers too: `tarfile` reads those whatever their size."""

    def __init__(self, stream: IO[bytes], budget: _Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER:
            raise DataError(f"{self._budget.path}: expected an archive, received one with a header of {size:,} bytes")
        self._budget.check((self._stream.tell() + size) // 2)  # headers may be as much again as small files
        return self._stream.read(size)

    def seek(self, position: int, whence: int = 0) -> Any:
        self._budget.check(position // 2)
        return self._stream.seek(position, whence)

    def tell(self) -> int:
        return self._stream.tell()
