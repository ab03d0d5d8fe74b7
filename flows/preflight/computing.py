"""Ray, without Ray: whether RAY_ADDRESS names a cluster that can be joined, or one can be started here."""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
from pathlib import Path

import psutil

from flows.preflight.finding import ANSWER_SECONDS, Finding

CHECK = "Ray"
SOCKET_PATH = 107  # bytes that Linux has for a socket's path
# What Ray puts below the folder that `components.training.cluster.fitting` makes for it.
LONGEST = "convoy-ray-abcdefgh/session_2026-01-31_12-00-00_000000_4194304/sockets/plasma_store"
_HEAD = re.compile(r"--gcs-address=([\w.:\[\]-]+)$")


def ray() -> Finding:
    """Where training will run."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address in ("", "local"):
        return _started_here()
    if address == "auto":
        return _found_here()
    if address.startswith("ray://"):
        host = address.removeprefix("ray://").rpartition(":")[0] or address.removeprefix("ray://")
        found = f"RAY_ADDRESS={address} is a Ray Client's, which training cannot use: give the head's own address"
        return Finding("error", CHECK, found, f"`export RAY_ADDRESS={host}:6379`")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        found = f"RAY_ADDRESS={address}: expected HOST:PORT, or nothing"
        return Finding("error", CHECK, found, "give the head as HOST:6379, or `unset RAY_ADDRESS` to use this machine")
    return _joined(address, host.strip("[]"), int(port))


def _started_here() -> Finding:
    """Ray's sockets lie in the temporary folder, and the kernel bounds the length of their paths."""
    folder = Path(tempfile.gettempdir())
    length = len(os.fsencode(folder / LONGEST))
    if sys.platform == "linux" and length > SOCKET_PATH:
        found = f"its sockets' paths below {folder} would have {length} bytes, and {SOCKET_PATH} are possible"
        return Finding("error", CHECK, found, "`export TMPDIR=/tmp`, or another short path")
    return Finding("ok", CHECK, f"started on this machine for training, its sockets below {folder}")


def _found_here() -> Finding:
    """`auto` is whatever Ray finds among the processes of this machine, whoever has started it: that is not joined."""
    address = _running_head()
    if address is None:
        found = "RAY_ADDRESS=auto, and no Ray cluster runs on this machine"
        way = "start one with `ray start --head` and name it as HOST:6379, or `unset RAY_ADDRESS` to use this machine"
        return Finding("error", CHECK, found, way)
    found = f"RAY_ADDRESS=auto would join whatever Ray runs on this machine, here the one at {address}"
    return Finding("error", CHECK, found, f"`export RAY_ADDRESS={address}` where it is yours, or `unset RAY_ADDRESS`")


def _running_head() -> str | None:
    """The address that some Ray process of this machine was started with."""
    for process in psutil.process_iter(["cmdline"]):
        for argument in process.info["cmdline"] or ():
            if found := _HEAD.match(argument):
                return found[1]
    return None


def _joined(address: str, host: str, port: int) -> Finding:
    try:
        socket.create_connection((host, port), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        way = f"start it there (`ray start --head --port={port}`), correct RAY_ADDRESS, or `unset RAY_ADDRESS`"
        return Finding("error", CHECK, f"nothing answers at {address}: {error}", way)
    if os.environ.get("RAY_AUTH_MODE") != "token":
        return Finding(
            "ok", CHECK, f"{address} answers; a head that asks for a token wants RAY_AUTH_MODE=token here too"
        )
    places = (os.environ.get("RAY_AUTH_TOKEN"), os.environ.get("RAY_AUTH_TOKEN_PATH"))
    if any(places) or (Path("~/.ray/auth_token").expanduser()).is_file():
        return Finding("ok", CHECK, f"{address} answers; a token is set for it")
    way = "set RAY_AUTH_TOKEN to what the head was started with"
    return Finding("warning", CHECK, f"{address} answers; RAY_AUTH_MODE=token, and no token is set", way)
