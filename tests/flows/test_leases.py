"""Leases are believed as far as they can be: rubbish, copies, other machines, processes that are gone."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from components import processes
from flows.base.project import Project
from flows.processes import family, leases
from flows.processes.leases import Lease

DEAD = 2**22 + 1  # no process has this number


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    for folder in (project.leases, project.locks, project.logs, project.work):
        folder.mkdir(parents=True)
    return project


def lease(project: Project, silent: float = 0.0, **values: object) -> Lease:
    """One that was touched so many seconds ago; by default of this very process."""
    made = Lease(project.leases / "someone.json")
    mine = {"pid": os.getpid(), "started": psutil.Process().create_time(), "host": socket.gethostname()}
    made.note(**{**mine, "root": str(project.root), "beats": True, **values})
    then = time.time() - silent
    os.utime(made.path, (then, then))
    return made


def test_one_that_is_held_beats_and_goes_at_the_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    with leases.leased(project) as held:
        before = held.path.stat().st_mtime_ns
        time.sleep(0.3)
        assert held.path.stat().st_mtime_ns > before
        assert leases.living(project) == {held.id}
    assert leases.held(project) == []


@pytest.mark.parametrize(
    ("values", "silent", "lives"),
    [
        ({}, 3600.0, True),  # of this machine: its process says it, not the clock
        ({"pid": DEAD}, 0.0, False),
        ({"started": 1.0}, 0.0, False),  # the number was given out again, by a note that knows the clock alone
        ({"boot": "another 1"}, 0.0, False),  # the same, whatever the clock says
        ({"open": True}, 0.0, False),
        ({"host": "elsewhere"}, 10.0, True),
        ({"host": "elsewhere"}, 600.0, False),
        ({"host": "elsewhere", "beats": False}, 600.0, True),  # written by an older version, which did not touch it
        ({"root": "/another/place"}, 600.0, False),  # came with a copy of the project
        ({"root": "/another/place"}, 1.0, True),  # the same files, seen at another mount point
    ],
)
def test_who_lives(project: Project, values: dict[str, object], silent: float, lives: bool) -> None:
    found = lease(project, silent, **values)

    assert (found.id in leases.living(project)) is lives


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"pid": 1', "\x00\x01", '{"pid": "x", "started": 1, "host": "h"}']
)
def test_what_is_no_lease_is_put_aside_and_told_once(project: Project, content: str) -> None:
    (project.leases / "broken.json").write_text(content, encoding="utf-8")

    told = leases.settle(project)

    assert len(told) == 1
    assert "broken.json is no lease: it was put aside as broken.json.damaged-" in told[0]
    assert leases.settle(project) == []
    (kept,) = project.leases.iterdir()
    assert kept.read_text(encoding="utf-8") == content


def test_a_folder_in_the_place_of_a_lease_is_put_aside(project: Project) -> None:
    (project.leases / "folder.json").mkdir()

    assert len(leases.settle(project)) == 1
    assert leases.held(project) == []


def test_what_a_killed_command_left_outside_is_removed(project: Project, tmp_path: Path) -> None:
    scratch = tmp_path / "convoy-left"
    scratch.mkdir()
    (scratch / family.NAMED).write_text("0" * 32, encoding="utf-8")
    lease(project, pid=DEAD, family="0" * 32, scratch=str(scratch), command="convoy digits")

    assert leases.settle(project) == []

    assert not scratch.exists()
    assert leases.held(project) == []


@pytest.mark.parametrize("name", ["thesis", "convoy-thesis", "convoy-projects", "convoy-1"])
def test_a_folder_that_is_none_of_ours_is_never_removed(project: Project, tmp_path: Path, name: str) -> None:
    mine = tmp_path / name
    mine.mkdir()
    lease(project, pid=DEAD, family="0" * 32, scratch=str(mine), command="convoy digits")

    leases.settle(project)

    assert mine.exists()


def test_a_copy_leaves_alone_what_belongs_to_its_original(project: Project, tmp_path: Path) -> None:
    scratch = tmp_path / "convoy-original"
    scratch.mkdir()
    with family.gathered() as original:
        (scratch / family.NAMED).write_text(original.mark, encoding="utf-8")
        environment = {**os.environ, **original.environment}
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], env=environment)
        lease(project, 600.0, root="/the/original", family=original.mark, scratch=str(scratch), command="convoy digits")

        leases.settle(project)

        assert worker.poll() is None
        assert scratch.exists()
        assert leases.held(project) == []
    worker.wait()


def test_a_worker_that_is_ended_before_it_has_closed_its_run_is_waited_for(project: Project) -> None:
    """Its command was killed a moment ago: the worker closes what it has open, or dies of the reaper, and is late."""
    with family.gathered() as killed:
        late = "import time; time.sleep(1.5)"
        worker = subprocess.Popen([sys.executable, "-c", late], env={**os.environ, **killed.environment})
        lease(project, pid=DEAD, worker=worker.pid, family=killed.mark, command="convoy digits")
        with leases.leased(project) as own:
            pass
        own.note(**processes.noted(psutil.Process(worker.pid)), root=str(project.root))
        assert leases.abandoned(project) == []

        leases.settle(project)

        assert worker.poll() == 0
    assert leases.held(project) == []


def test_where_prefect_is_not_to_be_asked_what_it_knows_of_is_left_to_the_next_start(project: Project) -> None:
    theirs = lease(project, pid=DEAD, flow_run="00000000-0000-0000-0000-000000000000")
    theirs.path.rename(project.leases / "theirs.json")
    lease(project, pid=DEAD)
    assert not leases.tidy(project)

    leases.settle(project, asking=False)

    assert [each.id for each in leases.held(project)] == ["theirs"]
    assert not leases.tidy(project)


def test_that_of_a_flow_run_stays_until_prefect_has_heard_of_its_end(project: Project) -> None:
    with leases.leased(project, flow_run="00000000-0000-0000-0000-000000000000") as ended:
        pass
    # Killed now, its flow run is still to be closed; to everybody else it is over, and well.
    assert [each.id for each in leases.held(project)] == [ended.id]
    assert (leases.living(project), leases.dead(project), leases.abandoned(project)) == (set(), set(), [])
    ended.note(pid=DEAD)
    assert [each.id for each in leases.abandoned(project)] == [ended.id]

    leases.release()

    assert leases.held(project) == []


def test_a_project_that_can_only_be_read_can_be_asked(project: Project) -> None:
    found = lease(project, host="elsewhere")
    project.leases.chmod(0o500)
    try:
        assert leases.living(project) == {found.id}
    finally:
        project.leases.chmod(0o700)
    assert json.loads(found.path.read_text())["host"] == "elsewhere"
