"""Files known by their digest, from the first place that has them.

A file counts only if what is inside its gzip has the expected SHA-256 and size; anything else is refused, said so, and
the next place is asked. Nothing waits long for a network that is not there.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from components.data.errors import DataError
from components.data.sources.places.bounds import OverLimitError, Traffic
from components.files import writing
from components.own_files import remove

CONNECT_SECONDS = 5.0  # includes the name look-up, which a socket's own timeout does not
STALL_SECONDS = 20.0  # longest silence while a file is on its way


@dataclass(frozen=True)
class Expected:
    """A file's content, unpacked."""

    sha256: str
    size: int


class Refused(Exception):  # noqa: N818  (an answer, not a fault)
    """One place's reason for not having one file."""


class Unreachable(Refused):
    """The place itself is not there: its other files need not be asked for."""


@dataclass(frozen=True)
class Place:
    """Somewhere to look: `get(file name without .gz)` gives the packed or plain bytes or raises Refused."""

    name: str
    get: Callable[[str, int], bytes]


def fetch(files: Mapping[str, Expected], folder: Path, places: Sequence[Place], otherwise: str) -> dict[str, bytes]:
    """The unpacked content of every file; what was downloaded stays in `folder` as `NAME.gz` for the next time.

    Raises DataError with everything that was tried, and why it failed, followed by `otherwise`.
    """
    tried: list[str] = []
    found: dict[str, bytes] = {}
    for place in [Place(str(folder), _folder_getter(folder)), *places]:
        for name, expected in files.items():
            if name in found:
                continue
            try:
                packed = place.get(name, expected.size + 2**16)
                found[name] = check(name, packed, expected)
            except Unreachable as reason:
                tried.append(f"{place.name}: {reason}")
                break
            except Refused as reason:
                tried.append(f"{place.name}: {reason}")
                continue
            _keep(folder / f"{name}.gz", packed)
    missing = [name for name in files if name not in found]
    if missing:
        raise DataError(
            "\n".join([f"{', '.join(missing)}: no place had what was expected. Tried:", *_listed(tried), otherwise])
        )
    return found


def _listed(tried: list[str]) -> list[str]:
    return [f"- {line}" for line in tried]


def _keep(path: Path, packed: bytes) -> None:
    if path.is_dir():
        remove(path)
    if not path.exists() or path.read_bytes() != packed:
        with writing(path) as temporary:
            temporary.write_bytes(packed)


def check(name: str, packed: bytes, expected: Expected) -> bytes:
    """The unpacked content; raises Refused where its digest or size is not the expected one."""
    content, fault = _unpack(packed, expected.size + 1)
    received = hashlib.sha256(content).hexdigest()
    if received != expected.sha256 or len(content) != expected.size:
        raise Refused(
            f"{name}: expected SHA-256 {expected.sha256} ({expected.size} bytes), "
            f"received {received} ({len(content)} bytes{fault})"
        )
    return content


def _unpack(packed: bytes, limit: int) -> tuple[bytes, str]:
    """At most `limit` bytes (a small file can unpack to a full disk), and what was wrong."""
    if packed[:2] != b"\x1f\x8b":
        return packed, ""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        content = unpacker.decompress(packed, limit)
    except zlib.error as error:
        return b"", f": damaged, {error}"
    return content, "" if unpacker.eof else ": cut short" if len(content) < limit else ": longer than expected"


# -- places ----------------------------------------------------------------------------------------------------------


def directory(folder: Path) -> Place:
    """A folder that holds the files, packed or not."""
    return Place(str(folder), _folder_getter(folder))


def _folder_getter(folder: Path) -> Callable[[str, int], bytes]:
    def get(name: str, limit: int) -> bytes:
        if not folder.is_dir():
            raise Unreachable("no such folder")
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                with path.open("rb") as file:
                    return file.read(limit)
        raise Refused(f"{name}.gz: not there")

    return get


def address(base: str) -> Place:
    """An http(s) or file address below which the files lie, as `NAME.gz`."""
    parts = urllib.parse.urlsplit(base)
    if parts.scheme == "file":
        return Place(base, _folder_getter(Path(urllib.request.url2pathname(parts.path))))
    if parts.scheme not in ("http", "https"):
        raise DataError(f"mirror: expected a folder or a file://, http:// or https:// address, received {base!r}")

    def get(name: str, limit: int) -> bytes:
        _connect(parts.scheme, parts.hostname or "", parts.port)
        where = f"{base.rstrip('/')}/{name}.gz"
        try:
            with urllib.request.urlopen(where, timeout=STALL_SECONDS) as answer:  # noqa: S310  (scheme checked above)
                return _read(answer, name, limit)
        except urllib.error.HTTPError as error:
            raise Refused(f"{name}.gz: HTTP {error.code}") from None
        except (OSError, HTTPException) as error:
            raise Unreachable(f"{name}.gz: {error}") from None

    return Place(base, get)


def _read(answer: Any, name: str, limit: int) -> bytes:
    """At most `limit` bytes; raises Refused for a body that trickles."""
    traffic, pieces, total = Traffic(None), [], 0
    while total < limit and (piece := answer.read1(min(2**16, limit - total))):
        pieces.append(piece)
        total += len(piece)
        try:
            traffic.count(f"{name}.gz", len(piece), total, None)
        except OverLimitError as error:
            raise Refused(str(error)) from None
    return b"".join(pieces)


def mirror(value: str) -> Place:
    """The place a user names: a folder or an address."""
    return address(value) if "://" in value else directory(Path(value).expanduser())


def _connect(scheme: str, host: str, port: int | None) -> None:
    """Raise Unreachable unless host (or the proxy in front of it) answers in time, its name's look-up included."""
    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        host, port, scheme = parts.hostname or host, parts.port, parts.scheme
    target = (host, port or (443 if scheme == "https" else 80))
    outcome: list[str] = []

    def attempt() -> None:
        try:
            socket.create_connection(target, timeout=CONNECT_SECONDS).close()
            outcome.append("")
        except OSError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not outcome or outcome[0]:
        raise Unreachable(
            f"no connection to {host}: {outcome[0] if outcome else f'no answer in {CONNECT_SECONDS:g} s'}"
        )


def debian_package(package: str, inside: str) -> Place:
    """A Debian package, fetched by `apt-get download` and unpacked into a temporary folder; needs no root.

    `inside` is the folder of the files in the package.
    """
    unpacked: list[Path] = []
    keep: list[tempfile.TemporaryDirectory[str]] = []  # gone when the place is
    faults: list[str] = []

    def get(name: str, limit: int) -> bytes:
        if faults:
            raise Unreachable(faults[0])
        if not unpacked:
            if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
                raise Unreachable("no apt-get and dpkg-deb on this machine")
            keep.append(tempfile.TemporaryDirectory(prefix="convoy-apt-"))
            try:
                unpacked.append(_unpack_package(package, Path(keep[0].name)) / inside)
            except Unreachable as reason:
                faults.append(str(reason))
                raise
        return _folder_getter(unpacked[0])(name, limit)

    return Place(f"Debian package {package}", get)


_APT = [
    *("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5", "-o", "Acquire::https::Timeout=5"),
    *("-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", "-q"),
]


def _unpack_package(package: str, folder: Path) -> Path:
    if _run(["apt-get", *_APT, "download", package], folder) is not None:
        # The machine's package lists are missing or old: fetch some of our own, which needs no root either.
        lists, cache = folder / "lists", folder / "cache"
        for needed in (lists / "partial", cache / "archives" / "partial"):
            needed.mkdir(parents=True)
        own = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
        fault = _run(["apt-get", *_APT, *own, "update"], folder) or _run(
            ["apt-get", *_APT, *own, "download", package], folder
        )
        if fault is not None:
            raise Unreachable(fault)
    found = sorted(folder.glob(f"{package}_*.deb"))
    if not found:
        raise Unreachable(f"apt-get download left no {package}_*.deb")
    fault = _run(["dpkg-deb", "-x", str(found[0]), "unpacked"], folder)
    if fault is not None:
        raise Unreachable(fault)
    return folder / "unpacked"


def _run(command: list[str], folder: Path) -> str | None:
    """None, or the last thing the command said before it failed."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return None
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return f"{command[0]} {command[-2 if command[0] == 'apt-get' else 1]}: {said[-1] if said else done.returncode}"
