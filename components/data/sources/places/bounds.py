"""Limits of what comes over a network: no more bytes than were stated, none that the disk has no room for, and a pace.

A body without end would fill the disk, and one that trickles would take a day. Who fetches counts what comes; what is
over a limit is a DataError that says which, and nothing is blamed that is not at fault.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from components.data.errors import DataError

RESERVE = 2**30  # bytes of the disk that stay free, at most
SHARE = 0.05  # of the disk that stays free, where that is less
PACE = 1024.0  # bytes a second that are the least, of all files together
WINDOW = 30.0  # seconds over which the pace is taken
LOOK_SECONDS = 0.2  # between two looks at the disk: at a gigabyte a second less than the reserve goes by


class OverLimitError(DataError):
    """What comes is too much, or too slow."""


class Traffic:
    """What one fetch brings, all its files together; `count` is called as bytes come, from any thread.

    `folder` is where they are written; None: nowhere, and no disk is looked at.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._began = self._looked = time.monotonic()
        self._bytes = 0  # since the window began
        self._stopped: str | None = None  # a body that goes on beside one that was refused ends as well

    def count(self, name: str, received: int, total: int, expected: int | None) -> None:
        """`received` more bytes of a file, `total` by now, of which `expected` were stated; raises OverLimitError."""
        self._bytes += received
        now = time.monotonic()
        if self._stopped is None and expected is not None and total > expected:
            self._stopped = f"{name}: expected {expected} bytes, as the server said, received more of them"
        if self._stopped is None and self._folder is not None and now - self._looked >= LOOK_SECONDS:
            self._looked = now
            if room(self._folder) <= 0:
                self._stopped = f"{name}: expected a file that the disk has room for, received so much that it is full"
        if self._stopped is None and now - self._began >= WINDOW:
            if self._bytes < PACE * (now - self._began):
                pace = self._bytes / (now - self._began)
                self._stopped = f"{name}: expected {PACE:.0f} bytes a second or more, received {pace:.1f}"
            self._began, self._bytes = now, 0
        if self._stopped is not None:
            raise OverLimitError(f"{self._stopped}; fetch it by other means, and name that file or folder")


def room(folder: Path) -> int:
    """Bytes that may be written below `folder` before the disk is too full; negative where it is already."""
    usage = shutil.disk_usage(folder)
    return int(usage.free - min(RESERVE, SHARE * usage.total))


def check_room(address: str, needed: int, folder: Path) -> None:
    """Raises DataError where what is stated to come has no room."""
    spare = room(folder)
    if needed > spare:
        raise DataError(
            f"{address}: expected room for its {needed / 1e9:.1f} GB, received {max(spare, 0) / 1e9:.1f} GB to spare "
            f"at {folder}; make room there, or name a smaller part of it"
        )
