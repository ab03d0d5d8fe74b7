"""The folder in which one set of servers lives: data, logs, notes of what runs, ports, and the file of secrets."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
SECRETS = (
    "POSTGRES_PASSWORD",
    "MLFLOW_DATABASE_PASSWORD",
    "PREFECT_DATABASE_PASSWORD",
    "S3_ADMIN_SECRET_KEY",
    "S3_MLFLOW_SECRET_KEY",
    "S3_DVC_SECRET_KEY",
    "S3_INTERNAL_KEY",  # SeaweedFS's parts show it to each other
    "MLFLOW_ADMIN_PASSWORD",
    "MLFLOW_LINE_PASSWORD",
    "MLFLOW_FORM_KEY",  # signs the form with which an administrator of MLflow makes users
    "PREFECT_PASSWORD",
    "RAY_AUTH_TOKEN",
)
# The servers' own defaults where people look for them, and beside them where a machine may have one already.
PARTS = ("logs", "run", "private")
PORTS = {
    "postgres": 15432,
    "s3": 8333,
    "s3-grpc": 18333,
    "s3-master": 9333,
    "s3-master-grpc": 19333,
    "s3-volume": 8380,
    "s3-volume-grpc": 18380,
    "s3-filer": 8888,
    "s3-filer-grpc": 18888,
    "mlflow": 5000,
    "prefect": 4200,
    "prefect-worker": 8381,
    "ray": 6379,
}
SHOWN = ("mlflow", "prefect")  # servers with pages
ADDRESS = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")


class ServersError(RuntimeError):
    """The servers could not be brought to where they should be; says what was tried and what to do."""


@dataclass(frozen=True)
class Home:
    """Where one set of servers keeps everything."""

    folder: Path
    project: Path  # whose lines the worker runs
    ports: dict[str, int]
    secrets: dict[str, str] = field(repr=False)
    ray_address: str = LOOPBACK  # of this machine, at which nodes of others find Ray
    addresses: dict[str, list[str]] = field(default_factory=dict)  # by name, at which a proxy shows a server's pages

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def store(self) -> Path:
        return self.folder / "s3"

    @property
    def private(self) -> Path:
        """Files that hold secrets in the form in which a server wants them; for the owner alone."""
        return self.folder / "private"

    def log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def note(self, name: str) -> Path:
        """Which process a server is."""
        return self.folder / "run" / f"{name}.json"

    def url(self, name: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[name]}"


def opened(
    folder: Path,
    project: Path | None = None,
    ports: dict[str, int] | None = None,
    ray_address: str | None = None,
    addresses: dict[str, list[str]] | None = None,
) -> Home:
    """The home in `folder`, made on first use; what is given besides is kept from then on.

    Raises ServersError for a folder that holds anything else, for an address that is none, and for settings that
    differ from what the home was made with while its servers run.
    """
    folder = folder.resolve()
    _check_ours(folder)
    for part in ("", *PARTS):
        (folder / part).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's own user passes through; what is secret below is the owner's alone
    (folder / "private").chmod(0o700)
    (folder / "logs").chmod(0o700)
    settings = folder / "settings.json"
    known: dict[str, Any] = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    of = (project or Path(known.get("project") or Path.cwd())).resolve()
    all_ports: dict[str, int] = {**PORTS, **known.get("ports", {}), **(ports or {})}
    ray = _ip(ray_address or known.get("ray_address", LOOPBACK))
    shown: dict[str, list[str]] = {**known.get("addresses", {}), **(addresses or {})}
    shown = {name: these for name, these in shown.items() if these}
    wanted = {"project": str(of), "ports": all_ports, **({} if ray == LOOPBACK else {"ray_address": ray})}
    wanted |= {"addresses": shown} if shown else {}
    running = sorted(path.stem for path in (folder / "run").glob("*.json"))
    if known and wanted != known and running:
        raise ServersError(
            f"{settings}: expected project, ports and addresses as they are while servers run "
            f"({', '.join(running)}); take them down first"
        )
    if wanted != known:
        write_private(settings, json.dumps(wanted, indent=2))
    return Home(folder, of, all_ports, _secrets(folder), ray, shown)


def _ip(given: str) -> str:
    """An address of this machine, as Ray wants it: not a name, and not that of all its addresses."""
    try:
        found = ipaddress.ip_address(given)
    except ValueError:
        found = None
    if found is None or found.is_unspecified or found.is_multicast:
        raise ServersError(f"--ray-address: expected an address of this machine, as 10.0.0.5, received {given!r}")
    return LOOPBACK if found.is_loopback else str(found)


def _check_ours(folder: Path) -> None:
    """Servers make and remove folders here: what a person has put into one of their own is never among them."""
    if (folder / "settings.json").is_file() or not folder.exists():
        return
    there = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    strange = [name for name in there if name not in PARTS and not name.startswith(".settings.json.")]
    if strange:
        raise ServersError(
            f"{folder}: expected the home of servers, or a folder that is empty or not there yet, found "
            f"{min(strange)}; name another with --home"
        )


def existing(folder: Path) -> Home:
    """The home in `folder`; ServersError where there is none."""
    if not (folder / "settings.json").is_file():
        raise ServersError(f"{folder}: expected the home of servers, found none; `up` makes one, --home names another")
    return opened(folder)


def renew(home: Home) -> None:
    """New secrets, from the next `up` on."""
    write_private(home.folder / "secrets.json", json.dumps(_drawn(), indent=2))


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone can read, in one move."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def is_free(port: int) -> bool:
    """Whether a server could listen on a port of the loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a closed one's port is free
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def parse_ports(given: Iterable[str]) -> dict[str, int]:
    """`NAME=NUMBER` of the command line; ServersError with every mistake."""
    ports, wrong = {}, []
    for text in given:
        name, _, number = text.partition("=")
        if name in PORTS and number.isdecimal() and 0 < int(number) < 2**16:
            ports[name] = int(number)
        else:
            wrong.append(f"--port: expected NAME=NUMBER with a name of {', '.join(PORTS)}, received {text!r}")
    if wrong:
        raise ServersError("\n".join(wrong))
    return ports


def parse_addresses(given: Iterable[str]) -> dict[str, list[str]]:
    """`NAME=https://HOST` of the command line, several of a name; `NAME=` for none. ServersError with every mistake."""
    found: dict[str, list[str]] = {}
    wrong = []
    for text in given:
        name, _, address = text.partition("=")
        these = found.setdefault(name, [])
        if name in SHOWN and (not address or ADDRESS.fullmatch(address)):
            these += [address.lower()] if address else []
        else:
            names = " or ".join(SHOWN)
            wrong.append(f"--address: expected NAME=https://HOST with the name {names}, and no path, received {text!r}")
    if wrong:
        raise ServersError("\n".join(wrong))
    return found


def _secrets(folder: Path) -> dict[str, str]:
    """Made once, kept; a later version's new ones are added."""
    path = folder / "secrets.json"
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if known.keys() != set(SECRETS):
        known = {**_drawn(), **known}
        write_private(path, json.dumps(known, indent=2))
    if path.stat().st_mode & 0o077:
        raise ServersError(f"{path}: expected a file that its owner alone can read; chmod 600 it, and `rotate`")
    return known


def _drawn() -> dict[str, str]:
    return {name: secrets.token_hex(32) for name in SECRETS}
