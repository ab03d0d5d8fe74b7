"""What was fetched and unpacked (`places.DOWNLOADS`): who may write there, and what a killed process has left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait for whoever else makes this folder, then clear away what a killed one has left beside it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        for pattern in ("????????", "????????.old"):  # the names of `files.replacing`
            for left in folder.parent.glob(f".{folder.name}.{pattern}"):
                shutil.rmtree(left)
        yield


def link(existing: Path, name: Path) -> bool:
    """A second name for a file that nobody writes to again; a copy, and False, where the file system has no such thing,
    or no more of them for this file.
    """
    try:
        os.link(existing, name)
    except OSError:
        shutil.copy2(existing, name)
        return False
    return True
