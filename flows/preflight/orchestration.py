"""Prefect, without Prefect: the server that is named, or the file of the one that a run starts for itself."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from components import texts
from components.secrecy import scrub
from flows.base.project import Project
from flows.preflight.finding import Finding, size
from flows.preflight.store import LOCKED_SECONDS, SMALL
from flows.processes.prefect_server import StartupError, let_in

CHECK = "Prefect"


def prefect(project: Project) -> Finding:
    """Whether a named server answers and lets us in; else whether the project's own database is one of SQLite's."""
    address = os.environ.get("PREFECT_API_URL")
    if not address:
        return _database(project)
    try:
        let_in(address)
    except StartupError as error:
        said, _, way = scrub(str(error)).partition("; ")
        return Finding("error", CHECK, said, way)
    except ValueError as error:
        said = f"PREFECT_API_URL={scrub(address)}: {error}"
        return Finding("error", CHECK, said, "set PREFECT_API_URL to http://HOST:4200/api, or unset it")
    return Finding("ok", CHECK, f"{scrub(address)} answers and lets us in")


def _database(project: Project) -> Finding:
    file = project.prefect_home / "prefect.db"
    if not file.exists():
        return Finding("ok", CHECK, "a temporary server, for as long as a run lasts")
    here = texts.shell(str(file))
    # Of flow runs' history nothing is needed to go on: the steps are MLflow's to remember.
    way = f"`mv {here} {here}.damaged; rm -f {here}-wal {here}-shm`: Prefect's web UI forgets earlier flow runs"
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=LOCKED_SECONDS)) as base:
            base.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if file.stat().st_size <= SMALL and (wrong := base.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                return Finding("error", CHECK, f"{file} is damaged: {wrong}", way)
            base.execute("BEGIN IMMEDIATE")  # a file that can only be read shows here
            base.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            owner = f"`sudo chown {os.getuid()} {here}`"
            return Finding("error", CHECK, f"{file}: expected a database that can be written: {error}", owner)
    except sqlite3.DatabaseError as error:
        return Finding("error", CHECK, f"{file}: expected a database of SQLite's: {error}", way)
    return Finding("ok", CHECK, f"a temporary server over {file}, {size(file.stat().st_size)}")
