"""How much room files take on the disk, and when they were last used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = 512  # bytes: the unit of `st_blocks`, whatever the file system's own is


@dataclass(frozen=True)
class Use:
    """`size` in bytes on the disk, `files` in number, `used`: when one was last written or read, seconds since 1970."""

    size: int
    files: int
    used: float


def use(*places: Path) -> Use:
    """Of files and everything below folders; what has several names counts once, and what vanishes meanwhile not."""
    seen: set[tuple[int, int]] = set()
    size, files, used = 0, 0, 0.0
    for state, is_folder in _states(list(places)):
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        size += state.st_blocks * BLOCK
        # A folder's own time of reading changes whenever somebody lists it, as this does.
        used = max(used, state.st_mtime, 0.0 if is_folder else state.st_atime)
        files += not is_folder
    return Use(size, files, used)


def _states(places: list[Path]) -> Iterator[tuple[os.stat_result, bool]]:
    while places:
        place = places.pop()
        try:
            state = place.lstat()
            is_folder = place.is_dir() and not place.is_symlink()
            yield state, is_folder
            if is_folder:
                with os.scandir(place) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            places.append(Path(entry.path))
                        else:
                            yield entry.stat(follow_symlinks=False), False
        except FileNotFoundError:
            continue
