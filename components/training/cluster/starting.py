"""Ray itself: a cluster that is joined, or one of our own, which is started here, watched, and ended."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError

from components.release import cloned
from components.training.jobs.job import TrainingError

CONNECT_SECONDS = 10.0  # a head that lives answers in milliseconds, on a crowded machine in seconds
MEGABYTE = 1024**2
DAEMONS = ("gcs_server", "raylet")  # without one of them nothing of Ray works, and it does not start them again
# After a minute without its gcs_server Ray would end our own process without a word; it is watched here instead.
PATIENCE = {"gcs_rpc_server_reconnect_timeout_s": 7 * 24 * 3600}
# Ray would run its workers behind everything else of the session (nice 15): whoever trains beside other work would wait
# for all of that.
NO_LESS = {"worker_niceness": 0}
_temporary: list[Path] = []  # Ray's folder for sockets and logs, where we started it
_daemons: dict[str, psutil.Process] = {}  # likewise


class RayLostError(ConnectionError):
    """The Ray that this process has started has died; what was trained is in the checkpoints."""


def start() -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray on this machine; nothing where it runs already."""
    if ray.is_initialized():
        if not died():
            return
        stop()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _join(address, quiet)
        return
    # Sockets' paths must be short, so this is not in the project. Only what is streamed travels through the object
    # store, some blocks of 8 MB at a time (components.data.reading.windows).
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    _temporary.append(folder)
    with _handled_here(), _without_what_lies_here(folder):
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=256 * MEGABYTE,
            _temp_dir=str(folder),
            _system_config=PATIENCE | NO_LESS,
            **quiet,
        )
    _daemons.update((each.name(), each) for each in psutil.Process().children(recursive=True) if each.name() in DAEMONS)


@contextmanager
def _handled_here() -> Iterator[None]:
    """Ray takes SIGTERM over as it starts, and ends the process without a word: it is given back after the block.

    One that came meanwhile is for whoever handled it before.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:
        if callable(handler):
            handler(signal.SIGTERM, None)
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def _without_what_lies_here(folder: Path) -> Iterator[None]:
    """Ray's workers import what lies in the working directory before all else, so for the block that is `folder`.

    Installed code is not to be hidden by a folder that is called as ours are; that of a clone may lie nowhere else.
    """
    with contextlib.chdir(Path.cwd() if cloned() else folder):
        yield


def check_alive() -> None:
    """Raise RayLostError where the Ray that was started here has died."""
    if dead := died():
        raise RayLostError(
            f"Ray on this machine has died ({', '.join(dead)}), for want of memory most likely; start again to go on "
            "from the last epoch"
        )


def died() -> list[str]:
    """Which of Ray's own processes have ended, of those that were started here: what asks them waits for long."""
    return [name for name, each in _daemons.items() if not each.is_running() or each.status() == psutil.STATUS_ZOMBIE]


def _join(address: str, quiet: dict[str, Any]) -> None:
    """Become a driver of a cluster. ConnectionError where nothing answers, TrainingError where we are not let in."""
    if address == "auto":
        raise TrainingError(
            "RAY_ADDRESS=auto would take whatever Ray cluster is found on this machine, somebody else's too: name its "
            "head, `export RAY_ADDRESS=HOST:6379`, or `unset RAY_ADDRESS` to use this machine alone"
        )
    if "://" in address:
        raise TrainingError(
            f"RAY_ADDRESS={address} is that of a Ray Client, which training cannot use: give the head's own address, "
            "`export RAY_ADDRESS=HOST:6379`"
        )
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        try:  # Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            raise ConnectionError(
                f"Ray at {address} does not answer: {error}; start its head, correct RAY_ADDRESS, or unset it to use "
                "this machine alone"
            ) from error
    try:
        with _handled_here(), tempfile.TemporaryDirectory() as folder, _without_what_lies_here(Path(folder)):
            ray.init(address=address, **quiet)
    except (ConnectionError, AuthenticationError) as error:
        raise TrainingError(
            f"Ray at {address} answers and does not let us in ({str(error).splitlines()[0]}): set RAY_AUTH_MODE=token, "
            "and RAY_AUTH_TOKEN to what its head was started with"
        ) from error


def stop() -> None:
    """Leave Ray; where `start` started it, it ends, and its sockets and logs are removed."""
    ray.shutdown()
    _daemons.clear()
    while _temporary:
        shutil.rmtree(_temporary.pop(), ignore_errors=True)
