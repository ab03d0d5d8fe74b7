"""The file of MLflow's own SQLite database: whether it is one, and what can be done where it is damaged.

It is never replaced: what it held is known nowhere else. Everything else about the store is `store`'s business.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import unquote, urlparse

from components import offered

HEADER = b"SQLite format 3\0"
HEADER_BYTES = 100
LOOKS = 3  # before a file that seems too short counts as that
_DAMAGED = ("malformed", "not a database", "disk I/O error")  # words of SQLite's
_OTHER_RELEASE = "out-of-date database schema"  # MLflow's, of an older one and of a newer one


def problem(uri: str) -> str | None:
    """What is wrong with the file, by a look at its beginning; None where it is sound, not there yet, or no file."""
    file = path(uri)
    if file is None or not file.exists():
        return None
    if file.is_dir():
        return f"{file}: expected MLflow's database, found a folder. Move it away: `{_away(file)}`"
    with file.open("rb") as stream:
        beginning = stream.read(HEADER_BYTES)
    artifacts = file.parent / "mlartifacts"
    if not beginning and artifacts.is_dir() and any(artifacts.iterdir()):
        return (
            f"{file}: expected MLflow's database, found an empty file, and there are artifacts beside it. {_ways(file)}"
        )
    if beginning and not beginning.startswith(HEADER):
        return f"{file}: expected MLflow's database, found a file that is none. {_ways(file)}"
    if beginning and (short := _cut_short(file)):
        return f"{file}: {short}. {_ways(file)}"
    return None


def advice(uri: str, reason: str) -> str | None:
    """What to do about an error of SQLite's or MLflow's that is the file's; None for any other."""
    file = path(uri)
    if file is None:
        return None
    if any(words in reason for words in _DAMAGED):
        return f"The database is damaged. {_ways(file)}"
    if _OTHER_RELEASE in reason:
        upgrade = offered.command("mlflow", "db", "upgrade", uri)
        return (
            f"Another release of MLflow made it. Copy {file} to a safe place, then `{upgrade}`; where that knows no "
            "such revision, the release was a newer one: install the locked libraries that made it"
        )
    return None


def path(uri: str) -> Path | None:
    """The file of a `sqlite:///` address; None for any other."""
    parsed = urlparse(uri)
    return Path(unquote(parsed.path[1:])) if parsed.scheme == "sqlite" and len(parsed.path) > 1 else None


def _cut_short(file: Path) -> str | None:
    """What is missing of the file's end; not while somebody writes, when its header may be ahead of it."""
    said = None
    for _ in range(LOOKS):
        with file.open("rb") as stream:
            expected, size = _bytes(stream.read(HEADER_BYTES)), file.stat().st_size
        if size >= expected or file.with_name(f"{file.name}-journal").exists():
            return None
        said = f"expected {expected:,} bytes, found {size:,}: the database was cut short"
        time.sleep(0.1)
    return said


def _bytes(header: bytes) -> int:
    """The least size of a database with this header (sqlite.org/fileformat2.html, 1.3); 0 where it does not say."""
    if len(header) < HEADER_BYTES:
        return HEADER_BYTES
    if header[24:28] != header[92:96] or header[18] == 2:  # written by an old SQLite; some pages are in a log
        return 0
    page = int.from_bytes(header[16:18], "big")
    return (65_536 if page == 1 else page) * int.from_bytes(header[28:32], "big")


def _ways(file: Path) -> str:
    return (
        f"Put a back-up in its place; or `{_away(file)}` and start again, which begins a new one: runs, versions and "
        "decisions are lost then, and every step is done again"
    )


def _away(file: Path) -> str:
    return offered.command("mv", str(file), f"{file}.damaged")
