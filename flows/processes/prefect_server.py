"""Prefect's servers: whether one answers and lets us in, and the temporary one that lives and dies with a command.

The temporary server is looked after (`Temporary.poll`): one that has died is started again at the same address, where
the flow that talks to it finds it. It keeps nothing that a run needs, so a damaged database of it is put aside.
"""

from __future__ import annotations

import base64
import http.client
import os
import re
import secrets
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from components import own_files
from components.release import CODE
from flows.base.project import LOOPBACK, Project
from flows.processes import guard

ACCOUNT = "account"  # in Prefect's part of the state, for its owner alone to read
SERVER_SECONDS = 120.0  # 8–15 s with two free cores, most of it imports; a busy machine needs several times that
STARTS = 4  # so often the temporary one is started in all: what ends at each start will not live longer at the fifth
DATABASE_TROUBLE = (
    "not a database",
    "malformed",
    "DatabaseError",
    "OperationalError",
    "Can't locate revision",
    "CommandError",
)


class StartupError(RuntimeError):
    """A server could not be started or asked; says what was tried and what to do."""


def let_in(api_url: str) -> None:
    """Return where the Prefect server at this address answers and takes us for who we are; else StartupError."""
    if not answers(api_url):
        raise StartupError(
            f"Prefect at {api_url} does not answer; start the server, correct PREFECT_API_URL, or unset it to use a"
            " temporary one"
        )
    account, key = os.environ.get("PREFECT_API_AUTH_STRING"), os.environ.get("PREFECT_API_KEY")
    request = urllib.request.Request(f"{api_url}/admin/version")  # noqa: S310 — http(s), from Prefect's settings
    if account:
        request.add_header("Authorization", f"Basic {base64.b64encode(account.encode()).decode()}")
    elif key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=10):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        if error.code not in (401, 403):
            return  # not every server has that page; what it thinks of us it will say itself
        given = "what PREFECT_API_AUTH_STRING says is not its" if account else "it asks for a"
        raise StartupError(
            f"Prefect at {api_url} does not let us in: {given} USER:PASSWORD; set PREFECT_API_AUTH_STRING to it"
        ) from error
    except OSError as error:
        raise StartupError(f"Prefect at {api_url} has stopped answering: {error}; start the command again") from error


def answers(api_url: str) -> bool:
    """Whether a Prefect server answers at this address."""
    try:
        with urllib.request.urlopen(f"{api_url}/health", timeout=2):  # noqa: S310 — http(s), from Prefect's settings
            return True
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError):
        return False  # HTTPException: an address that is none


@contextmanager
def asked_for(api_url: str, project: Project) -> Iterator[None]:
    """This process, and what it starts, talk to the project's own server at this address for the block."""
    own = known_by(project, api_url)
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    _heed()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _heed()


def known_by(project: Project, api_url: str) -> dict[str, str]:
    """What a program's environment must say to be let into the project's own server."""
    return {"PREFECT_API_URL": api_url, "PREFECT_API_AUTH_STRING": account(project)}


def account(project: Project) -> str:
    """USER:PASSWORD of the project's own servers, drawn once: other users of the machine do not know it."""
    path = project.prefect_home / ACCOUNT
    with FileLock(project.locks / "prefect-account.lock"):
        found = (own_files.text(path) or "").strip()
        if not re.fullmatch(r"convoy:\w{20,}", found):
            if path.is_dir():
                own_files.remove(path)
            found = f"convoy:{secrets.token_hex(16)}"
            _write_private(path, found)
    return found


def _write_private(path: Path, text: str) -> None:
    """Readable for its owner alone, from the first byte on."""
    place, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(place, "w", encoding="utf-8") as file:
        file.write(text)
    Path(temporary).replace(path)


def command(port: int) -> list[str]:
    """How a server of the project's own is started."""
    program = [sys.executable, "-m", "uvicorn", "--factory", "flows.processes.guard:prefect", "--app-dir", str(CODE)]
    return [*program, "--lifespan", "on", "--log-level", "error", "--host", LOOPBACK, "--port", str(port)]


def settings(project: Project, port: int) -> dict[str, str]:
    """What the server's environment must say: whom it lets in, and from which pages."""
    url = f"http://{LOOPBACK}:{port}"
    return {
        guard.PORT: str(port),
        "PREFECT_SERVER_API_AUTH_STRING": account(project),
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"{url},http://localhost:{port}",
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",  # else its pages ask port 4200, whatever port they are on
        **known_by(project, f"{url}/api"),
    }


def _heed() -> None:
    """Prefect reads its variables when it is imported: where it was, it reads them again."""
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def database_lock(project: Project) -> FileLock:
    """Held by whoever starts a server on the project's Prefect database, until it answers."""
    return FileLock(project.locks / "prefect-database.lock", timeout=SERVER_SECONDS)


def free_port() -> int:
    """A port of the loopback that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether nobody listens on a port of the loopback."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


class Temporary:
    """A server of one command's own. Nothing here waits: `poll` does what is to be done now."""

    def __init__(self, project: Project, environment: Mapping[str, str]) -> None:
        self.project, self.environment = project, environment
        self._held = socket.socket()  # until the server takes its port: it may be wanted late, or never
        self._held.bind((LOOPBACK, 0))
        self.port = int(self._held.getsockname()[1])
        self.url = f"http://{LOOPBACK}:{self.port}/api"
        self.log = project.logs / "prefect-server.log"
        self.ready = False
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        # Two servers that make the tables of one new database break each other: held until this one answers.
        self._starting = database_lock(project)
        self._began: float | None = None  # when it was first asked for, then when it was last started
        self._heard = 0  # bytes of the log that an earlier server has written

    @property
    def pid(self) -> int | None:
        """Of the process, where there is one."""
        return None if self._process is None else self._process.pid

    def poll(self) -> str | None:
        """Start the server, see whether it answers, start it again where it has ended; a sentence on what was wrong.

        Raises StartupError where it cannot be kept alive, with its last words.
        """
        if self._process is None:
            return self._start()
        ended = self._process.poll()
        if ended is not None:
            return self._again(ended)
        if not self.ready:
            self.ready = answers(self.url)
            if self.ready:
                self._starting.release()
            elif self._waited() > SERVER_SECONDS:
                raise StartupError(f"{self._name()} did not answer within {SERVER_SECONDS:.0f} s; {self._words()}")
        return None

    def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._held.close()
        self._starting.release()

    def _waited(self) -> float:
        """Seconds since it was asked for, or started."""
        self._began = self._began or time.monotonic()
        return time.monotonic() - self._began

    def _start(self) -> str | None:
        try:
            self._starting.acquire(timeout=0)
        except Timeout:
            if self._waited() > SERVER_SECONDS:
                raise StartupError(
                    f"{self._name()}: another process has been starting one on {self.project.prefect_home} for "
                    f"{SERVER_SECONDS:.0f} s; end it, and start again"
                ) from None
            return None
        told = None
        if (why := unreadable(database(self.project))) is not None:
            told = f"Prefect's database is damaged ({why}): its history of flow runs was put aside as {self._aside()}"
        # Schedules are for servers that stay; Prefect's own temporary server leaves the same services out.
        own = {**settings(self.project, self.port), "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
        known = {**os.environ, **self.environment, **own}
        self._held.close()
        with self.log.open("ab") as output:
            self._heard = output.tell()
            # A session of its own: a Ctrl-C is for the command, which still has things to tell the server.
            self._process = subprocess.Popen(
                command(self.port),
                env=known,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.starts += 1
        self._began = time.monotonic()
        return told

    def _again(self, ended: int) -> str | None:
        how = f"was ended by signal {-ended}" if ended < 0 else f"ended with {ended}"
        words = self._words()
        if self.starts >= STARTS:
            raise StartupError(f"{self._name()} {how}, and so did each before it ({self.starts} in all); {words}")
        told = f"{self._name()} {how}; it is started again"
        if not self.ready and any(trouble in words for trouble in DATABASE_TROUBLE) and self.starts > 1:
            told += f", and what it cannot read was put aside as {self._aside()}"
        self._process, self.ready = None, False
        self._start()
        return told

    def _aside(self) -> str:
        """The database under another name; the file's new one."""
        path = database(self.project)
        kept = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(kept.with_name(kept.name + suffix))
        return str(kept)

    def _name(self) -> str:
        return "Prefect's temporary server"

    def _words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._heard)
            said = log.read().decode("utf-8", errors="replace")
        return f"its log is {self.log}:\n" + "\n".join(said.strip().splitlines()[-5:])


def database(project: Project) -> Path:
    """Prefect's database of this project."""
    return project.prefect_home / "prefect.db"


def unreadable(path: Path) -> str | None:
    """Why SQLite cannot read a database; None where it can, or where there is none."""
    if not path.exists():
        return None
    if not path.is_file():
        return "it is no file"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1.0)) as connection:
            connection.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.OperationalError:
        return None  # locked, or not to be opened by us: whoever needs it will say so
    except sqlite3.DatabaseError as error:
        return str(error)
    return None
