"""What runs now, and how far it is: by the leases of those at work, their journals, and MLflow.

Only what lives is told: a run of which MLflow still says that it runs, and whose process is gone, is none.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.registry import lines as known
from components.registry.lines import Line
from components.registry.memory.tracking import Tracking
from flows.base.project import Project
from flows.pages import status
from flows.processes import journal, leases
from flows.processes.leases import Lease
from flows.run.order import NAMES

TAIL = 64 * 1024  # bytes at the end of a journal that are read: hundreds of records


@dataclass(frozen=True)
class UnderWay:
    """Something that runs, and what is known of how far it is."""

    what: str  # the command, or the pipeline's run
    model: str | None
    since: float  # seconds since 1970
    line: Line | None = None  # its run in MLflow, once there is one
    step: str | None = None
    number: int | None = None  # of the step, from 1 on; None of what is no step of the pipeline
    doing: str = ""  # what of the step, where it tells
    done: int = 0
    total: int = 0  # 0 where it does not tell how far it is
    note: str = ""

    @property
    def of(self) -> int:
        """How many steps there are."""
        return len(NAMES)


def now(project: Project, store: Tracking) -> list[UnderWay]:
    """Everything that runs, of this project's commands and of all runs in its store; the longest first."""
    running = [line for line in status.truly(project, store, known.running(store)) if line.status == "RUNNING"]
    steps = known.steps_under_way(store) if running else {}
    alive = leases.living(project)
    held = [lease for lease in leases.held(project) if lease.id in alive]
    opened = {line.lease: line for line in running if line.lease}
    workers = {lease.content["pid"]: opened[lease.id] for lease in held if lease.id in opened}
    commands = [lease for lease in held if lease.content.get("command")]
    found = [_of_command(lease, workers.get(lease.content.get("worker"))) for lease in commands]
    told = {each.line.id for each in found if each.line is not None}
    found = [_with_step(each, steps) for each in found]
    found += [
        _with_step(UnderWay(f"pipeline · {line.recipe}", line.model, line.started, line), steps)
        for line in running
        if line.id not in told
    ]
    return sorted(found, key=lambda each: each.since)


def _of_command(lease: Lease, line: Line | None) -> UnderWay:
    """A command that was started here, by what it has told so far."""
    content = lease.content
    records = _tail(Path(str(content["log"])).with_suffix(journal.SUFFIX)) if content.get("log") else []
    since = line.started if line is not None else float(content["started"])
    found = UnderWay(str(content["command"]), line.model if line is not None else None, since, line)
    for record in records:
        found = _told(found, record)
    return found


def _told(found: UnderWay, record: Mapping[str, Any]) -> UnderWay:
    kind = record.get("kind")
    if kind == "started":
        return _at(found, str(record.get("step")))
    if kind == "advanced":
        done, total = int(record.get("done", 0)), int(record.get("total", 0))
        return replace(
            found, doing=str(record.get("what", "")), done=done, total=total, note=str(record.get("note", ""))
        )
    return found


def _at(found: UnderWay, step: str) -> UnderWay:
    number = NAMES.index(step) + 1 if step in NAMES else None
    return replace(found, step=step, number=number, doing="", done=0, total=0, note="")


def _with_step(found: UnderWay, steps: Mapping[str, str]) -> UnderWay:
    """With the step that MLflow has as running, where no journal says it: of a run that was scheduled, or elsewhere."""
    step = steps.get(found.line.id) if found.line is not None else None
    return found if found.step is not None or step is None else _at(found, step)


def _tail(path: Path) -> Sequence[Mapping[str, Any]]:
    """The last records of a journal; none where there is none yet, or it cannot be read."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return []
    return [record for line in lines if (record := journal.parsed(line)) is not None]
