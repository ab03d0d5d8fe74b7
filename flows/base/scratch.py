"""Where a command writes that writes nothing into the project: a folder of its own that goes with it, and the user's
cache for what is to be read afterwards. Neither has a name that somebody else could have taken before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_STARTING = 60.0  # seconds within which a new folder gets its lock: a process is at work in one without


def user_cache() -> Path:
    """The user's own folder for what may go at any time; whoever writes there makes it, for the user alone."""
    named = os.environ.get("XDG_CACHE_HOME")
    cache = Path(named or os.path.expanduser("~/.cache"))  # noqa: PTH111 — Path's raises where there is no home
    return (cache if cache.is_absolute() else Path(tempfile.gettempdir(), f"convoy-{uuid.uuid4().hex}")) / "convoy"


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A new temporary folder for this user alone; gone at the end, and after a kill at the next call."""
    _sweep(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as named:  # which makes it 0700
        folder = Path(named)
        with FileLock(folder / "lock"):
            yield folder


def _sweep(prefix: str) -> None:
    """Remove what those of this user have left who were killed: folders whose lock nobody holds."""
    for place in Path(tempfile.gettempdir()).glob(f"{prefix}????????"):
        try:
            about = place.lstat()
            if place.is_symlink() or about.st_uid != os.geteuid() or time.time() - about.st_mtime < _STARTING:
                continue
            with FileLock(place / "lock", timeout=0):
                shutil.rmtree(place)
        except (OSError, Timeout):
            continue  # somebody is at work in it, or has just removed it
