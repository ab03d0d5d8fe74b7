"""Which lines run now, by their leases: what they may be using stays."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass

import psutil

from flows.project import Project


@dataclass(frozen=True)
class Living:
    """A line that runs, or that has to be taken for one that does."""

    id: str
    said: str  # why it counts as running
    since: float  # seconds since 1970


def living(project: Project) -> list[Living]:
    """Lines whose process is there. One of another machine, and one whose lease cannot be read, count as running."""
    found = []
    for path in sorted(project.leases.glob("*.json")):
        try:
            since = path.stat().st_ctime
            content = json.loads(path.read_text(encoding="utf-8"))
            pid, started, host = int(content["pid"]), float(content["started"]), str(content["host"])
        except FileNotFoundError:
            continue  # its line has just ended
        except (ValueError, KeyError, TypeError):
            found.append(Living(path.stem, f"{path} cannot be read; remove it if no line runs", 0.0))
            continue
        if host != socket.gethostname():
            found.append(Living(path.stem, f"a line on {host} (process {pid}, {path})", min(since, started)))
        elif _is_there(pid, started):
            found.append(Living(path.stem, f"process {pid}", min(since, started)))
    return found


def dead(project: Project) -> set[str]:
    """Leases of this machine's lines that have no process any more, though nobody has closed their runs."""
    alive = {each.id for each in living(project)}
    return {path.stem for path in project.leases.glob("*.json")} - alive


def _is_there(pid: int, started: float) -> bool:
    """Numbers of processes are given out again, so the time at which it was started counts too."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
