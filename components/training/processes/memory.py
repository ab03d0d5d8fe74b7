"""How much memory there is, and how much of it is free: the machine's, or what a control group leaves of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")

# Of each version of control groups: the limit, the use, and of the use the page cache that is given up when asked for.
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def memory(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Bytes that this process can have at most."""
    limits = [limit for limit, _ in _limited(groups, membership)]
    return min([psutil.virtual_memory().total, *limits])


def free_memory(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Bytes that this process can still have, without anything being pushed out but the page cache."""
    rooms = [limit - used for limit, used in _limited(groups, membership)]
    return max(0, min([psutil.virtual_memory().available, *rooms]))


def _limited(groups: Path, membership: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of the process's control groups, the innermost to the outermost; none where there are none."""
    for line in membership.read_text(encoding="utf-8").splitlines() if membership.is_file() else []:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            top, (limit, usage, cached) = groups, _VERSION_2
        elif "memory" in controllers.split(","):
            top, (limit, usage, cached) = groups / "memory", _VERSION_1
        else:
            continue
        inner = top / place.strip("/")
        for group in (inner, *inner.parents):
            # Inside a container the outer groups, and sometimes its own name, are not to be seen.
            if group.is_relative_to(top) and (most := _number(group / limit)) is not None:
                yield most, (_number(group / usage) or 0) - _statistic(group / "memory.stat", cached)


def _number(file: Path) -> int | None:
    text = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
    return int(text) if text.isdigit() else None  # else "max": no limit


def _statistic(file: Path, name: str) -> int:
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
