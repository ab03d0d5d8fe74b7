"""MLflow's store, without MLflow: whether it is there, is MLflow's, is of this version, and takes what is written.

Importing MLflow costs more than a second, so a database is opened as SQLite, and a server is asked over HTTP.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from components import texts
from components.secrecy import scrub
from flows.base.project import Project
from flows.preflight.finding import ANSWER_SECONDS, Finding, size

CHECK = "tracking store"
SMALL = 64 * 2**20  # bytes: SQLite reads a database of this size through in 0.3 s
LOCKED_SECONDS = 1.0  # a writer holds SQLite for milliseconds
_REVISION = re.compile(r"^(?P<name>revision|down_revision)\b[^=]*=\s*(?P<value>.+)$", re.MULTILINE)


def tracking(project: Project) -> Finding:
    """Where runs and models are remembered: MLFLOW_TRACKING_URI, or the project's own database."""
    address = os.environ.get("MLFLOW_TRACKING_URI")
    if not address:
        return database(project.state / "mlflow.db")
    parsed = urllib.parse.urlsplit(address)
    if parsed.scheme in ("http", "https"):
        return server(address)
    if parsed.scheme == "sqlite":
        return database(_sqlite_path(address))
    if parsed.hostname:
        return _elsewhere(address, parsed)
    way = "unset MLFLOW_TRACKING_URI for the project's own database, or name sqlite:///FILE or http(s)://HOST"
    return Finding("error", CHECK, f"MLFLOW_TRACKING_URI={scrub(address)}: no store that Convoy knows", way)


def database(file: Path) -> Finding:
    """A file of SQLite's that MLflow keeps: opened as such, for writing, with a schema that is known here."""
    if not file.exists():
        return Finding("ok", CHECK, f"{file}, made by the first run")
    here = texts.shell(str(file))
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True, timeout=LOCKED_SECONDS)) as base:
            return _mlflows(file, base) or _damaged(file, base) or _writable(file, base)
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return Finding(
                "warning", CHECK, f"{file} is locked by another process", f"wait for it; `fuser -v {here}` shows it"
            )
        way = f"`sudo chown {os.getuid()} {here}`, or set MLFLOW_TRACKING_URI to a file of your own"
        return Finding("error", CHECK, f"{file}: expected a database that can be written: {error}", way)
    except sqlite3.DatabaseError as error:
        return Finding("error", CHECK, f"{file}: expected a database of SQLite's: {error}", _put_back(file))


def _mlflows(file: Path, base: sqlite3.Connection) -> Finding | None:
    """What is to be said where the tables are not those of the MLflow that is installed."""
    tables = {row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return Finding("ok", CHECK, f"{file}, empty: the first run makes its tables")
    if not {"alembic_version", "experiments", "runs"} <= tables:
        found = f"{file}: expected MLflow's tables, found {', '.join(sorted(tables)[:4])}"
        return Finding("error", CHECK, found, "name another file in MLFLOW_TRACKING_URI, or move this one away")
    known, head = _revisions()
    there = str(base.execute("SELECT version_num FROM alembic_version").fetchone()[0])
    if not known or there == head:
        return None
    if there in known:
        way = f"back the file up, then `mlflow db upgrade {texts.shell(f'sqlite:///{file.resolve()}')}`"
        return Finding("error", CHECK, f"{file} was made by an earlier MLflow (schema {there}, here {head})", way)
    way = "install the MLflow that made it, or name another store in MLFLOW_TRACKING_URI"
    return Finding("error", CHECK, f"{file} was made by a later MLflow (schema {there}, here {head})", way)


def _damaged(file: Path, base: sqlite3.Connection) -> Finding | None:
    if file.stat().st_size > SMALL:
        return None  # `convoy doctor --store` takes its time
    wrong = base.execute("PRAGMA quick_check(1)").fetchone()[0]
    return None if wrong == "ok" else Finding("error", CHECK, f"{file} is damaged: {wrong}", _put_back(file))


def _writable(file: Path, base: sqlite3.Connection) -> Finding:
    base.execute("BEGIN IMMEDIATE")  # as whoever writes does; read-only files and locks show here
    base.execute("ROLLBACK")
    runs = base.execute("SELECT count(*) FROM runs").fetchone()[0]
    return Finding("ok", CHECK, f"{file}, {size(file.stat().st_size)}, {runs:,} runs, writable")


def _put_back(file: Path) -> str:
    here = texts.shell(str(file))
    return f"restore it from a back-up, or `mv {here} {here}.damaged`: what it remembers is lost then"


def server(address: str) -> Finding:
    """A server of MLflow's: that it answers, and whether it lets this account in."""
    public = scrub(address.rstrip("/"))
    unset = "start the server, correct MLFLOW_TRACKING_URI, or unset it to use the project's own database"
    parsed = urllib.parse.urlsplit(address.rstrip("/"))
    bare = parsed._replace(netloc=parsed.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(f"{bare}/api/2.0/mlflow/experiments/search?max_results=1")  # noqa: S310
    name, word = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if parsed.username and not name:
        name, word = urllib.parse.unquote(parsed.username), urllib.parse.unquote(parsed.password or "")
    if name:
        account = base64.b64encode(f"{name}:{word or ''}".encode()).decode()
        request.add_header("Authorization", f"Basic {account}")
    elif token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS):  # noqa: S310 — http(s), see `tracking`
            return Finding("ok", CHECK, f"{public} answers" + (f" and lets {name} in" if name else ""))
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            given = f"the account {name} is not let in" if name else "it asks for an account"
            way = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of that server"
            return Finding("error", CHECK, f"{public}: {given} (HTTP {error.code})", way)
        return Finding("error", CHECK, f"{public} answers with HTTP {error.code}: is it MLflow's?", unset)
    except (OSError, ValueError) as error:
        reason = scrub(str(getattr(error, "reason", error)))
        return Finding("error", CHECK, f"{public} does not answer: {reason}", unset)


def _elsewhere(address: str, parsed: urllib.parse.SplitResult) -> Finding:
    """A database server: whether its port answers; what it thinks of the account it says itself."""
    public = scrub(address)
    ports = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
    port = parsed.port or ports.get(parsed.scheme.partition("+")[0])
    if port is None:
        return Finding("ok", CHECK, f"{public}, which is not asked here")
    try:
        socket.create_connection((str(parsed.hostname), port), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        way = "start that database, correct MLFLOW_TRACKING_URI, or unset it to use the project's own"
        return Finding("error", CHECK, f"{public} does not answer: {error}", way)
    return Finding("ok", CHECK, f"{public} answers")


def _sqlite_path(address: str) -> Path:
    """`sqlite:///FILE` is relative to the current folder, `sqlite:////FILE` is not."""
    return Path(urllib.parse.unquote(address.partition(":///")[2].partition("?")[0]))


def _revisions() -> tuple[set[str], str]:
    """All schemas that the installed MLflow knows, and the newest: that which none follows. Read from its files."""
    spec = find_spec("mlflow")
    if spec is None or spec.origin is None:
        return set(), ""
    known: set[str] = set()
    followed: set[str] = set()
    for file in (Path(spec.origin).parent / "store" / "db_migrations" / "versions").glob("*.py"):
        for line in _REVISION.finditer(file.read_text(encoding="utf-8")):
            values = set(re.findall(r"[\"']([0-9a-z_]+)[\"']", line["value"]))
            if line["name"] == "revision":
                known |= values
            else:
                followed |= values
    heads = known - followed
    return (known, next(iter(heads))) if len(heads) == 1 else (set(), "")
