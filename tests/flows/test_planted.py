"""Secrets are planted wherever a user may put them; a line runs and one fails: they are found nowhere else."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
import yaml

from flows.processes.prefect_server import free_port
from tests.flows import endings, planting
from tests.flows.conftest import ROOT
from tests.flows.endings import Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SECONDS = 600.0  # for a line, or for a server to start, beside other work


@pytest.fixture
def folder() -> Iterator[Path]:
    """For everything; at a name that leaves room for Ray's sockets."""
    path = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes notifications, and refuses them with an answer that repeats the address."""

    paths: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.paths.append(self.path)
        self.send_response(500)
        self.end_headers()
        self.wfile.write(f"no such hook: {self.path}".encode())

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiver() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@contextmanager
def running(command: list[str], folder: Path, health: str, **variables: str) -> Iterator[None]:
    """A server whose store and log are in the folder, from its first answer to the end of the block."""
    folder.mkdir(parents=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=clean | variables, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    family: list[psutil.Process] = []
    try:
        limit = time.monotonic() + SECONDS
        while not answers(health):
            assert process.poll() is None and time.monotonic() < limit, (folder / "server.log").read_text()
            time.sleep(0.5)
        yield
    finally:
        with_children = psutil.Process(process.pid) if process.poll() is None else None
        family = [*with_children.children(recursive=True), with_children] if with_children else []
        process.send_signal(signal.SIGTERM)
        psutil.wait_procs(family, timeout=20)
        for each in family:
            if each.is_running():
                each.kill()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):  # noqa: S310 — loopback
            return True
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def servers(folder: Path, planted: planting.Planted, mlflow: int, prefect: int) -> Iterator[None]:
    """MLflow with accounts, and Prefect with one: as a team runs them."""
    account = folder.parent / "mlflow-auth.ini"  # where the operator wrote the password
    account.write_text(
        "[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///accounts.db\nadmin_username = ada\n"
        f"admin_password = {planting.secret(planted, 'mlflow').replace('%', '%%')}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1"]
    command += ["--port", str(mlflow), "--backend-store-uri", "sqlite:///mlflow.db", "--artifacts-destination", "files"]
    with (
        running(
            command,
            folder / "mlflow",
            f"http://127.0.0.1:{mlflow}/health",
            MLFLOW_AUTH_CONFIG_PATH=str(account),
            MLFLOW_FLASK_SERVER_SECRET_KEY=planted.word("form key"),
            MLFLOW_AUTH_ADMIN_PASSWORD=planting.secret(planted, "mlflow"),
        ),
        running(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(prefect)],
            folder / "prefect",
            f"http://127.0.0.1:{prefect}/api/health",
            PREFECT_HOME=str(folder / "prefect"),
            PREFECT_SERVER_API_AUTH_STRING=f"grace:{planting.secret(planted, 'prefect')}",
            PREFECT_API_AUTH_STRING=f"grace:{planting.secret(planted, 'prefect')}",
        ),
    ):
        yield


def project(folder: Path) -> Path:
    """A short line of the user's own network, in a project with its code, so that what is the user's is called."""
    root = endings.short_project(folder / "project")
    shutil.copytree(ROOT / "flows", root / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "infra", root / "infra", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "components" / "models" / "families" / "talkative.py").write_text(planting.FAMILY, encoding="utf-8")
    recipe = root / "recipes" / "digits.yaml"
    told = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    told["line"]["members"]["networks"] = [{"name": "talkative"}]
    recipe.write_text(yaml.safe_dump(told), encoding="utf-8")
    return root


def test_planted_secrets_are_found_nowhere_but_where_the_user_wrote_them(folder: Path) -> None:
    # given secrets in variables, files and servers' accounts
    planted, root, stores = planting.Planted(), project(folder), folder / "stores"
    mlflow, prefect = free_port(), free_port()
    spoken: list[str] = []
    lines: set[str] = set()
    with receiver() as webhook, servers(stores, planted, mlflow, prefect):
        told = planting.variables(planted, webhook, f"127.0.0.1:{mlflow}", f"127.0.0.1:{prefect}")
        told |= {
            "HOME": str(folder / "home"),
            "PYTHONPATH": str(root),
            "XDG_CACHE_HOME": str(folder / "home" / "cache"),
        }
        (folder / "home").mkdir()
        own = planting.in_files(planted, root)

        def convoy(*arguments: str, code: int = 0) -> str:
            terminal = Terminal(root, folder / "scratch", arguments, told, root)
            limit = time.monotonic() + SECONDS
            while terminal.process.poll() is None and time.monotonic() < limit:
                lines.update(command_lines(root))
                time.sleep(0.5)
            assert terminal.wait(1) == code, f"{arguments}: {terminal.text[-3000:]}"
            spoken.append(terminal.text)
            return terminal.text

        # when a line fails in words that have all of them, and its notice is refused
        (root / "fails").touch()
        convoy("run", "-r", "digits", code=1)
        assert any(planted.found(path.encode()) for path in Receiver.paths)  # it was told, at the address itself
        # and the same line comes to its end, and everything is asked about it
        (root / "fails").unlink()
        assert "is staging" in convoy("run", "-r", "digits")
        for command in (
            ("status",), ("status", "--json"), ("runs",), ("compare", "last", "last"), ("ledger", "digits"),
            ("doctor",), ("notifications",), ("notifications", "--test"), ("logs",), ("run", "-r", "digits", "--plan"),
            ("export", "digits@staging", "-o", str(folder / "exported")), ("data", "list"),
            ("clean", "--dry-run"),
        ):  # fmt: skip
            # In a narrow terminal, where long words are broken over lines.
            terminal = Terminal(root, folder / "scratch", command, told | {"COLUMNS": "40"}, root)
            assert terminal.wait(SECONDS) is not None and "Traceback" not in terminal.text, terminal.text
            spoken.append(f"{command}: {''.join(terminal.text.split())}")
        pages = [asked(f"http://127.0.0.1:{mlflow}{path}", f"ada:{planting.secret(planted, 'mlflow')}") for path in (
            "/api/2.0/mlflow/registered-models/get?name=digits",
            "/api/2.0/mlflow/model-versions/get?name=digits&version=1",
        )]  # fmt: skip
    # then no terminal, command line, page or file has any
    kept = [root, stores, folder / "scratch", folder / "home", folder / "exported"]
    files = planted.below(kept, spared=[*own, root / "components" / "models" / "families" / "talkative.py"])
    seen = {text: names for text in spoken if (names := planted.found(text.encode()))}
    told_everybody = {line[:200]: names for line in lines if (names := planted.found(line.encode()))}
    assert files == {}
    assert seen == {}
    assert told_everybody == {}
    assert not planted.found("".join(pages).encode()) and "digits" in pages[0]
    # and they were looked for where they had been, and spoken of
    log = "".join(path.read_text(encoding="utf-8") for path in sorted((root / ".convoy" / "logs").glob("*.log")))
    for words in ("printed: ", "printed to the standard error: ", "logged: ", "warned: ", "was raised"):
        assert words in log, words
    assert "thereceiveranswered500" in "".join((log + "".join(spoken)).split())


def command_lines(root: Path) -> Iterator[str]:
    """Of the project's processes: every user of the machine can read them."""
    for process in endings.processes(root):
        try:
            yield " ".join(process.cmdline())
        except psutil.Error:
            continue


def asked(address: str, account: str) -> str:
    request = urllib.request.Request(address)  # noqa: S310 — loopback
    request.add_header("Authorization", f"Basic {base64.b64encode(account.encode()).decode()}")
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 — loopback
        return str(answer.read().decode())
