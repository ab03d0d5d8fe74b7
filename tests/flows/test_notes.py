from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.base.project import Project
from flows.processes import notes

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

    # The number is given out again: the process that bears it now began at another time.
    notes.write(note, ours, URL, os.getpid())
    content = json.loads(note.read_text())
    note.write_text(json.dumps({**content, "started": content["started"] - 3600}))
    assert notes.read(note, ours) is None


@pytest.mark.parametrize("content", ["", URL, "{}", "[]", '{"url": "x"', '{"root": 1, "host": 2}', "\x00\xff"])
def test_what_is_no_note_is_none(tmp_path: Path, content: str) -> None:
    ours, note = project(tmp_path)
    note.write_text(content, encoding="latin-1")
    assert notes.read(note, ours) is None
