"""Which process is meant: by its number, and by when it began, since numbers are given out again.

When is told twice. A machine's clock may be set while a process runs (after a laptop has slept, by NTP), and what is
counted from the clock moves with it; what Linux counts from the machine's own start does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

AT_ONCE = 1.0  # seconds between two starts that, by the clock, are one
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_STARTED = 19  # of the fields behind the command in /proc/PID/stat, counted from 0: proc(5)


def noted(process: psutil.Process) -> dict[str, Any]:
    """What to keep of a process, to know it again: `pid`, `started` (seconds since 1970) and `boot`.

    `boot` is the machine's start and the ticks from there; None where it is not Linux, and of a process that has ended.
    """
    return {"pid": process.pid, "started": process.create_time(), "boot": _from_boot(process.pid)}


def found(note: Mapping[str, Any]) -> psutil.Process | None:
    """The process of a note, a zombie among them; None where it has ended. A note without `boot` goes by the clock."""
    pid = int(note["pid"])
    try:
        process = psutil.Process(pid)
        if (boot := note.get("boot")) is not None and (now := _from_boot(pid)) is not None:
            return process if boot == now else None
        return process if abs(process.create_time() - float(note["started"])) < AT_ONCE else None
    except psutil.NoSuchProcess:
        return None


def alive(note: Mapping[str, Any]) -> bool:
    """Whether the process of a note lives, and is no zombie."""
    try:
        process = found(note)
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _from_boot(pid: int) -> str | None:
    try:
        boot = _BOOT.read_text(encoding="ascii").strip()
        about = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return f"{boot} {about.rpartition(')')[2].split()[_STARTED]}"
