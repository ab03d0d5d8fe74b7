"""Whether the clock can be right: decisions and runs are ordered by it."""

from __future__ import annotations

import os
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from components.secrecy import scrub
from flows.base.project import Project
from flows.preflight.finding import ANSWER_SECONDS, Finding

CHECK = "clock"
APART_SECONDS = 60.0  # two clocks that are kept by NTP differ by milliseconds
WAY = "set the clock (`timedatectl set-ntp true`): what is decided now would count as decided before"


def clock(project: Project, now: float | None = None) -> Finding:
    """Now is not before what was written last, and not far from what the servers say. `now`: seconds since 1970."""
    here = time.time() if now is None else now
    known = {"the newest run in MLflow": _newest_run(project), "the newest log": _newest_log(project)}
    for what, seen in known.items():
        if seen is not None and here < seen - APART_SECONDS:
            return Finding("warning", CHECK, f"{_said(here)}, and {what} is of {_said(seen)}", WAY)
    for address in filter(None, (os.environ.get("MLFLOW_TRACKING_URI"), os.environ.get("PREFECT_API_URL"))):
        there = _of_server(address) if address.startswith(("http://", "https://")) else None
        if there is not None and abs(here - there) > APART_SECONDS:
            apart = f"{abs(here - there):,.0f} s {'before' if here < there else 'after'}"
            found = f"{_said(here)}, which is {apart} the clock of {scrub(address)}"
            return Finding("warning", CHECK, found, WAY)
    return Finding("ok", CHECK, _said(here))


def _said(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _newest_run(project: Project) -> float | None:
    """When the last run of the project's own database began; None where that cannot be asked: `store` says why."""
    file = project.state / "mlflow.db"
    if os.environ.get("MLFLOW_TRACKING_URI") or not file.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=1)) as base:
            found = base.execute("SELECT max(start_time) FROM runs").fetchone()[0]
    except sqlite3.DatabaseError:
        return None
    return found / 1000 if found else None


def _newest_log(project: Project) -> float | None:
    return max((file.stat().st_mtime for file in project.logs.glob("*.log")), default=None)


def _of_server(address: str) -> float | None:
    """The server's own time, by the header that every answer has; None where nothing answers: others say so."""
    request = urllib.request.Request(address.rpartition("@")[2] if "@" in address else address)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 — http(s), see `clock`
            told = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        told = error.headers.get("Date")
    except (OSError, ValueError):
        return None
    return parsedate_to_datetime(told).timestamp() if told else None
