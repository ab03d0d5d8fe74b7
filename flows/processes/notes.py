"""A note in the project's state: where one of its servers answers, and which process that is.

A port outlives its server, and a copied project has its original's notes: so a note counts only in the folder that it
was written in, and for as long as that very process lives. Whether the server answers is left to those who ask it.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

import psutil

from components import processes
from components.files import writing
from flows.base.project import Project

PREFECT = "server.url"  # in Prefect's part of the state: the server that stays beyond a line


def write(note: Path, project: Project, url: str, pid: int) -> None:
    """Note that process `pid` of this machine answers at `url` for the project."""
    content = {
        "url": url,
        "root": str(project.root),
        "host": socket.gethostname(),
        **processes.noted(psutil.Process(pid)),
    }
    with writing(note) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def read(note: Path, project: Project) -> str | None:
    """The noted address; None where there is no note, where it is another's, and where its process has ended."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        ours = content["root"] == str(project.root) and content["host"] == socket.gethostname()
        return str(content["url"]) if ours and processes.found(content) is not None else None
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None  # cut short, or of an earlier version, which noted the address alone: as good as none
