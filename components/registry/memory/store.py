"""MLflow's store: where it is, whether it answers, and what its errors mean."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import requests
from filelock import FileLock, Timeout
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from components.registry.memory import database
from components.secrecy import scrub

PROBE_SECONDS = 10.0  # a healthy server answers /health in milliseconds, on a crowded machine in seconds
LOCK_SECONDS = 120.0  # creating MLflow's tables takes about 10 s on a slow disk

NOT_FOUND = 404

ADVICE = {  # by MLflow's code of the error; where none of these fits, the address is what is doubted
    "RESOURCE_DOES_NOT_EXIST": "It was deleted, or belongs to another store.",
    "UNAUTHENTICATED": "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to an account of that server.",
    "PERMISSION_DENIED": "Ask who manages that experiment or model to let this account in (docs/operations.md).",
}


class TrackingError(RuntimeError):
    """MLflow could not be asked or told; says which address, what was attempted and what to do."""


class MissingError(TrackingError):
    """MLflow answers, and what was asked for is not there."""


@contextmanager
def explained(uri: str, doing: str) -> Iterator[None]:
    """Turn what MLflow, HTTP and SQL raise into a TrackingError that says what to do."""
    try:
        yield
    except (MlflowException, requests.exceptions.RequestException, SQLAlchemyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        code = error.error_code if isinstance(error, MlflowException) else ""
        advice = database.advice(uri, reason) or ADVICE.get(code) or _advice(uri)
        answer = error.response if isinstance(error, requests.exceptions.RequestException) else None
        gone = code == "RESOURCE_DOES_NOT_EXIST" or (answer is not None and answer.status_code == NOT_FOUND)
        kind = MissingError if gone else TrackingError
        raise kind(f"MLflow at {scrub(uri)}: {doing} failed: {scrub(reason.rstrip('.'))}. {advice}") from error


def every(page: Callable[[str | None], Any]) -> list[Any]:
    """The entries of every page of one of MLflow's lists; `page` is given the token of the page."""
    found: list[Any] = []
    token: str | None = None
    while True:
        entries = page(token)
        found += list(entries)
        token = entries.token
        if not token:
            return found


def local_uri(root: Path) -> str:
    """The project's own MLflow database."""
    return f"sqlite:///{(root / '.convoy' / 'mlflow.db').resolve()}"


def local_path(uri: str) -> Path | None:
    """The path of a `file:` address or bare path; None for anything that must be downloaded."""
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(url2pathname(parsed.path))
    return Path(uri) if not parsed.scheme else None


@contextmanager
def creation_lock(root: Path, uri: str) -> Iterator[None]:
    if is_server(uri):
        yield
        return
    path = root / ".convoy" / "locks" / "mlflow-database.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout as error:
        raise TrackingError(
            f"{path}: another process has held the lock on MLflow's database for {LOCK_SECONDS:.0f} s; "
            "end it, or wait for it, and start again"
        ) from error
    try:
        yield
    finally:
        lock.release()


def probe(uri: str) -> None:
    """One quick question to the server, so that a dead one is an error now and not after many retries."""
    address = f"{uri.rstrip('/')}/health"
    try:
        with urllib.request.urlopen(address, timeout=PROBE_SECONDS):  # noqa: S310 — http(s) only, see is_server
            return
    except urllib.error.HTTPError as error:
        if error.code < 500:
            return  # alive: a proxy may keep /health to itself
        reason: object = f"HTTP {error.code}"
    except (urllib.error.URLError, TimeoutError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
    raise TrackingError(f"MLflow at {scrub(uri)} does not answer: {reason}. {_advice(uri)}")


def is_server(uri: str) -> bool:
    return urlparse(uri).scheme in {"http", "https"}


def _advice(uri: str) -> str:
    if is_server(uri):
        return "Start the server, correct MLFLOW_TRACKING_URI, or unset it to use the project's own database."
    return "Check that the database in MLFLOW_TRACKING_URI (by default .convoy/mlflow.db) exists and can be written."
