"""How much memory there is: the machine's, or what a control group leaves of it."""

from __future__ import annotations

from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def memory(groups: Path = _GROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Bytes that this process can have at most."""
    return min([psutil.virtual_memory().total, *_limits(groups, membership)])


def _limits(groups: Path, membership: Path) -> list[int]:
    """Of the process's control groups, the innermost to the outermost; none where there are no control groups."""
    found: list[int] = []
    for line in membership.read_text(encoding="utf-8").splitlines() if membership.is_file() else []:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            top, name = groups, "memory.max"  # version 2
        elif "memory" in controllers.split(","):
            top, name = groups / "memory", "memory.limit_in_bytes"  # version 1
        else:
            continue
        inner = top / place.strip("/")
        for group in (inner, *inner.parents):
            limit = group / name
            # Inside a container the outer groups, and sometimes its own name, are not to be seen.
            if group.is_relative_to(top) and limit.is_file() and (text := limit.read_text().strip()).isdigit():
                found.append(int(text))
    return found
