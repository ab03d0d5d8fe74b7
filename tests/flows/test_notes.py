from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from flows.base.project import Project
from flows.commands import status_commands
from flows.pages import pages
from flows.processes import notes
from flows.processes.prefect_server import StartupError

URL = "http://127.0.0.1:4200/api"


def project(root: Path) -> tuple[Project, Path]:
    made = Project(root)
    made.prefect_home.mkdir(parents=True)
    return made, made.prefect_home / notes.PREFECT


def test_a_note_holds_for_its_own_project_alone(tmp_path: Path) -> None:
    original, note = project(tmp_path / "original")
    notes.write(note, original, URL, os.getpid())
    assert notes.read(note, original) == URL

    shutil.copytree(original.root, tmp_path / "copy")
    copy = Project(tmp_path / "copy")
    assert notes.read(copy.prefect_home / notes.PREFECT, copy) is None


def test_a_note_holds_for_as_long_as_its_process_lives(tmp_path: Path) -> None:
    ours, note = project(tmp_path)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as server:
        notes.write(note, ours, URL, server.pid)
        assert notes.read(note, ours) == URL
        server.communicate(b"\n")
    assert notes.read(note, ours) is None

    # The number is given out again: the process that bears it now began at another time. So says the clock, where it
    # is all that there is.
    notes.write(note, ours, URL, os.getpid())
    content = json.loads(note.read_text())
    note.write_text(json.dumps({**content, "started": content["started"] - 3600, "boot": None}))
    assert notes.read(note, ours) is None


@pytest.mark.parametrize("content", ["", URL, "{}", "[]", '{"url": "x"', '{"root": 1, "host": 2}', "\x00\xff"])
def test_what_is_no_note_is_none(tmp_path: Path, content: str) -> None:
    ours, note = project(tmp_path)
    note.write_text(content, encoding="latin-1")
    assert notes.read(note, ours) is None


class Healthy(SimpleHTTPRequestHandler):
    """Another project's server, as far as its health says."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def test_a_server_of_another_project_on_the_noted_port_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: ours was on this port once; theirs is there now, and theirs is noted as theirs
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("CONVOY_PREFECT_UI", "")  # which the block sets
    ours, note = project(tmp_path / "ours")
    theirs, their_note = project(tmp_path / "theirs")
    for folder in (ours.logs, ours.locks):
        folder.mkdir(parents=True)
    with HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        port = server.server_port
        url = f"http://127.0.0.1:{port}/api"
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            notes.write(note, ours, url, gone.pid)
        notes.write(their_note, theirs, url, os.getpid())
        # when / then: `status` says nothing of theirs, and no server is taken for ours
        assert status_commands._plans(ours) is None
        with pytest.raises(StartupError, match=f"port {port} of 127.0.0.1 is in use"), ExitStack() as stack:
            stack.enter_context(pages.lasting_prefect_server(ours, port))
        with pages.lasting_prefect_server(theirs, port) as address:
            assert address == url.removesuffix("/api")
        server.shutdown()
