"""The temporary Prefect server: looked after, started again, and never in the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from flows.base.project import Project
from flows.processes import family, prefect_server
from flows.processes.prefect_server import Temporary, answers, database, unreadable


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    project = Project(tmp_path)
    for folder in (project.locks, project.logs, project.prefect_home):
        folder.mkdir(parents=True)
    monkeypatch.setenv("PREFECT_HOME", str(project.prefect_home))
    for variable in ("PREFECT_API_URL", "PREFECT_API_DATABASE_CONNECTION_URL"):
        monkeypatch.delenv(variable, raising=False)
    return project


def until_it_answers(server: Temporary) -> list[str]:
    told = []
    while not server.ready:
        if (sentence := server.poll()) is not None:
            told.append(sentence)
        time.sleep(0.1)
    return told


@pytest.mark.slow  # two starts of a real server
def test_a_damaged_database_is_put_aside_and_a_server_that_dies_is_started_again(project: Project) -> None:
    database(project).write_bytes(b"this was a database once" * 1000)
    with family.gathered() as own:
        server = Temporary(project, own.environment)
        try:
            # When it is started on rubbish, then the rubbish is kept beside a new one.
            (told,) = until_it_answers(server)
            assert "is damaged (file is not a database)" in told
            (kept,) = project.prefect_home.glob("prefect.db.damaged-*")
            assert kept.read_bytes().startswith(b"this was a database once")
            # It is out of reach of the terminal's signals.
            assert server.pid is not None
            assert os.getpgid(server.pid) != os.getpgid(0)

            # When it is killed, then it comes again at the same address.
            psutil.Process(server.pid).kill()
            time.sleep(0.2)
            assert "was ended by signal 9; it is started again" in str(server.poll())
            assert not answers(server.url)
            assert until_it_answers(server) == []
            assert answers(server.url)
        finally:
            server.stop()
        assert not answers(server.url)


def test_one_that_cannot_live_is_given_up_with_its_last_words(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given: an interpreter that ends at once, with a word.
    program = project.root / "python"
    program.write_text("#!/bin/sh\necho no room left >&2\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr(prefect_server.sys, "executable", str(program))
    server = Temporary(project, {})

    told = []
    with pytest.raises(prefect_server.StartupError) as failed:
        for _ in range(100):
            told.append(server.poll())
            time.sleep(0.05)
    server.stop()

    assert "ended with 7, and so did each before it (4 in all)" in str(failed.value)
    assert "no room left" in str(failed.value)
    assert sum(sentence is not None for sentence in told) == 3


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, None), (b"", None), (b"rubbish" * 1000, "file is not a database"), ("folder", "no file")],
)
def test_what_sqlite_cannot_read_is_known_before_a_server_tries(
    project: Project, content: bytes | str | None, why: str | None
) -> None:
    if content == "folder":
        database(project).mkdir()
    elif isinstance(content, bytes):
        database(project).write_bytes(content)

    found = unreadable(database(project))

    assert found is None if why is None else why in str(found)


def test_two_servers_are_not_started_on_one_database_at_once(project: Project) -> None:
    held = prefect_server.database_lock(project)
    with held:
        server = Temporary(project, {})
        assert server.poll() is None
        assert server.pid is None  # it waits, and nobody waits for it
    server.stop()
