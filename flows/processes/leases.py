"""What is under way, and what was left open by those who did not live to close it.

Whoever runs a line holds a lease, a small file that names its process and what it has open, touched every few seconds.
A start settles what was left by runs whose process is gone: their runs in MLflow, their flow runs in Prefect, the
processes of their family, their temporary folder.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from components import processes
from components.files import writing
from flows.base.project import Project
from flows.processes import family
from flows.schedules import notifications

BEAT_SECONDS = 5.0  # between two touches of a lease
SILENCE_SECONDS = 95.0  # after so long without one, a line of another machine is gone; as `zombies.SILENCE`
ELSEWHERE_SECONDS = 30.0  # the same for one that sees the project at another place
KNOWN = {"pid": int, "started": float, "host": str}  # what every lease says


@dataclass
class Lease:
    """What one pipeline run, or command, has open; written at every change, removed at its end."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)

    def note(self, **values: Any) -> None:
        """Add to the lease, in one write."""
        self.content.update(values)
        with writing(self.path) as temporary:
            temporary.write_text(json.dumps(self.content), encoding="utf-8")

    @property
    def id(self) -> str:
        return self.path.stem

    def leave_open(self) -> None:
        """Keep the lease beyond its line, which could not close everything: the next start does."""
        self.note(open=True)


@contextmanager
def leased(project: Project, **values: Any) -> Iterator[Lease]:
    """A lease for this process; it goes when the block ends, and stays behind when the process is killed.

    It also stays where the pipeline left something open (`Lease.leave_open`). `values` are noted in it.
    """
    lease = Lease(project.leases / f"{uuid.uuid4().hex}.json")
    lease.note(
        **processes.noted(psutil.Process()), host=socket.gethostname(), root=str(project.root), beats=True, **values
    )
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(lease.path, over), name="lease", daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        over.set()
        beating.join()
        if lease.content.get("flow_run") and not lease.content.get("open"):
            # Prefect hears of the end only now: until it has, a kill would leave the flow run open for ever.
            lease.note(closed=True)
            _closed.append(lease.path)
        elif not lease.content.get("open"):
            lease.path.unlink(missing_ok=True)


_closed: list[Path] = []  # leases of flow runs that ended in this process


@atexit.register
def release() -> None:
    """Give up the leases of flow runs that have ended, in Prefect too."""
    while _closed:
        _closed.pop().unlink(missing_ok=True)


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        with suppress(OSError):  # a disk that is full or away: it is tried again
            os.utime(path)


def held(project: Project) -> list[Lease]:
    """The leases that there are; a file that is none is put aside, and `settle` says so."""
    found = []
    for path in sorted(project.leases.glob("*.json")):
        lease = _read(path)
        if lease is not None:
            found.append(lease)
    return found


def living(project: Project) -> set[str]:
    """Identities of the leases whose line is under way, as far as can be seen from here without asking a server."""
    return {lease.id for lease in _unclosed(project) if not lease.content.get("open") and not _gone(project, lease)}


def dead(project: Project) -> set[str]:
    """Those of runs that are over, though nobody has closed their runs; likewise without asking a server."""
    return {lease.id for lease in _unclosed(project)} - living(project)


def _unclosed(project: Project) -> list[Lease]:
    return [lease for lease in held(project) if not lease.content.get("closed")]


def tidy(project: Project) -> bool:
    """Whether `settle` would find nothing, as far as it can be seen from here without asking a server."""
    return not _rubbish(project) and not any(
        lease.content.get("open") or _gone(project, lease) or _is_closing(project, lease) for lease in held(project)
    )


def abandoned(project: Project, *, asking: bool = True) -> list[Lease]:
    """Leases of runs that have ended without closing everything.

    Of this machine: those whose process is gone. Of others, which share the project's folder: those that are silent,
    and those whose flow run Prefect knows to be over (`zombies` sees to it that it does). Without `asking` Prefect,
    only those that it does not know of.
    """
    return [
        lease
        for lease in held(project)
        if (asking or lease.content.get("flow_run") is None)
        and (lease.content.get("open") or _gone(project, lease) or (_elsewhere(lease) and _is_over(lease)))
    ]


def settle(project: Project, *, asking: bool = True) -> list[str]:
    """Close everything that killed runs left open; returns a sentence for each.

    MLflow runs become KILLED, flow and task runs Crashed, so no page shows a dead run as running; people are told.
    A killed command's worker that is about to close what it has open is waited for: it may not live to do it. Needs
    PREFECT_API_URL; without `asking` Prefect, only those are closed that it does not know of.
    """
    told = []
    with FileLock(project.locks / "settle.lock"):  # two starts at once: each lease is settled by one of them
        told += [f"{path} is no lease: it was put aside as {_put_aside(path).name}" for path in _rubbish(project)]
        while left := _left(project, asking):
            told += _closed_up(project, left)
    return told


def _left(project: Project, asking: bool) -> list[Lease]:
    """What is abandoned, or will be in seconds; none where there is nothing of either."""
    while True:
        closing = any(_is_closing(project, lease) for lease in held(project))  # asked first: it may end meanwhile
        if (left := abandoned(project, asking=asking)) or not closing:
            return left
        time.sleep(0.1)


def _closed_up(project: Project, left: list[Lease]) -> list[str]:
    told = []
    for lease in left:
        mine = _of_this_place(project, lease)  # else its processes and its flow run are those of the original
        if mine:
            _end_family(lease)
        runs = close_runs(project, lease)
        flow_run = lease.content.get("flow_run")
        news = mine and (bool(runs) if flow_run is None else _crash_flow_run(flow_run))
        shutil.rmtree(project.work / f"data-{lease.id}", ignore_errors=True)
        lease.path.unlink(missing_ok=True)
        if lease.content.get("experiment") is None:
            continue  # a command's own: its line has another
        if lease.content.get("closed") and not news:
            continue
        what = f"closed {len(runs)} runs that were left open by a run that was killed (process {lease.content['pid']})"
        if news:
            notifications.tell(project, "failure", f"a run of {lease.content['experiment']} was killed", what)
        told.append(what)
    return told


def _read(path: Path) -> Lease | None:
    """The lease; None for one that has just ended, and for what is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    if not all(isinstance(content.get(key), (int, float) if kind is float else kind) for key, kind in KNOWN.items()):
        return None
    return Lease(path, content)


def _rubbish(project: Project) -> list[Path]:
    return [path for path in sorted(project.leases.glob("*.json")) if path.exists() and _read(path) is None]


def _put_aside(path: Path) -> Path:
    """Out of the way, under a name that is not looked at, and never lost."""
    place = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:4]}")
    with suppress(FileNotFoundError):
        path.rename(place)
    return place


def _gone(project: Project, lease: Lease) -> bool:
    """Whether it can be seen from here that nobody holds the lease any more."""
    silent = _silence(lease)
    if not _of_this_place(project, lease):
        # A copy has the leases of its original, a mount those of its other side.
        return silent is None or silent > ELSEWHERE_SECONDS
    if not _elsewhere(lease):
        return not _works(lease) and not _closing(lease, silent)
    return bool(lease.content.get("beats")) and silent is not None and silent > SILENCE_SECONDS


def _of_this_place(project: Project, lease: Lease) -> bool:
    return bool(lease.content.get("root", str(project.root)) == str(project.root))


def _works(lease: Lease) -> bool:
    """Whether the process that holds it, of this machine, lives."""
    return processes.alive(lease.content)


def _is_closing(project: Project, lease: Lease) -> bool:
    """Whether its command was killed, and the worker has yet to end."""
    if not _of_this_place(project, lease) or _elsewhere(lease) or _works(lease):
        return False
    return _closing(lease, _silence(lease))


def _closing(lease: Lease, silent: float | None) -> bool:
    """Whether the worker of a command that was killed is about to close what it has open."""
    worker, mark = lease.content.get("worker"), lease.content.get("family")
    if worker is None or silent is None or silent > BEAT_SECONDS + family.CLOSING_SECONDS:
        return False
    return any(member.pid == worker for member in family.members(str(mark)))


def _elsewhere(lease: Lease) -> bool:
    return bool(lease.content["host"] != socket.gethostname())


def _silence(lease: Lease) -> float | None:
    """Seconds since a lease was touched, by the clock of the file system that it lies on; None where it is gone."""
    now = lease.path.with_name(f".now.{uuid.uuid4().hex[:8]}")
    try:
        now.touch()
        try:
            return now.stat().st_mtime - lease.path.stat().st_mtime
        finally:
            now.unlink(missing_ok=True)
    except FileNotFoundError:
        return None
    except OSError:  # a project that can only be read
        return time.time() - lease.path.stat().st_mtime


def _is_over(lease: Lease) -> bool:
    """Whether Prefect has a run's flow run as final; one that it does not know may be another server's."""
    flow_run = lease.content.get("flow_run")
    if flow_run is None:
        return False
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(uuid.UUID(flow_run)).state
        except ObjectNotFound:
            return False
    return state is not None and state.is_final()


def _end_family(lease: Lease) -> None:
    """What a killed command has started, where its reaper was killed too."""
    mark, scratch = lease.content.get("family"), lease.content.get("scratch")
    if not mark or _elsewhere(lease):
        return
    own = Path(scratch) if scratch and family.is_of(Path(scratch), mark) else None
    family.end(mark, own)
    if own is not None:
        shutil.rmtree(own, ignore_errors=True)


def close_runs(project: Project, lease: Lease) -> list[str]:
    """Close what is left open in MLflow of a lease's line that was ended: its runs, and decisions half carried out."""
    from components.registry import decisions
    from components.registry.memory import tracking

    experiment = lease.content.get("experiment")
    if experiment is None:
        return []
    connection = tracking.connect(project.root)
    if experiment not in connection.experiments():
        return []  # it was deleted, and its runs with it: nothing of them is open
    connection = connection.within(experiment)
    decisions.settle(connection, experiment)
    # `convoy.line`: as an earlier release has tagged what it was killed in.
    left = [run for tag in ("convoy.lease", "convoy.line") for run in connection.runs_left_running({tag: lease.id})]
    for run_id in left:
        connection.finish(run_id, "KILLED")
    return left


def _crash_flow_run(flow_run: str) -> bool:
    """End the run in Prefect; whether that is news."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.client.schemas.objects import State
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        identifier = uuid.UUID(flow_run)
        try:
            known = client.read_flow_run(identifier)
        except ObjectNotFound:
            return False  # another server, or its database was deleted
        gone: State[None] = Crashed(message="The process was killed.")
        for task_run in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[identifier]))):
            if task_run.state is None or not task_run.state.is_final():
                client.set_task_run_state(task_run.id, gone, force=True)
        if known.state is not None and known.state.is_final():
            return False
        client.set_flow_run_state(identifier, gone, force=True)
        return True
