"""Who else may reach what a line and `convoy ui` start: nobody from outside of the machine, and no page of others."""

from __future__ import annotations

import http.client
import ipaddress
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.base.project import Project
from flows.processes.prefect_server import account, free_port
from tests.flows import endings
from tests.flows.endings import LIMIT, Terminal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Temporary files at a name that leaves room for Ray's sockets."""
    path = Path(tempfile.mkdtemp(prefix="c", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def listening(root: Path) -> dict[str, set[str]]:
    """Addresses at which processes of the project wait for connections, by the process's name."""
    found: dict[str, set[str]] = {}
    for process in endings.processes(root):
        try:
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN or (each.type.name == "SOCK_DGRAM" and not each.raddr):
                    found.setdefault(process.name(), set()).add(each.laddr.ip)
        except psutil.Error:
            continue
    return found


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def asked(port: int, path: str, body: str | None = None, **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer; a header `Host` is sent as it is given."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET" if body is None else "POST", path, skip_host=True)
    for name, value in (
        {"Host": f"127.0.0.1:{port}"} | {name.replace("_", "-"): v for name, v in headers.items()}
    ).items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(None if body is None else body.encode())
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def test_a_line_listens_on_the_loopback_alone_from_its_start_to_its_end(tmp_path: Path, scratch: Path) -> None:
    # given
    root = endings.short_project(tmp_path / "project")
    terminal = Terminal(root, scratch)
    # when
    seen: dict[str, set[str]] = {}
    limit = time.monotonic() + LIMIT
    while terminal.process.poll() is None and time.monotonic() < limit:
        for name, addresses in listening(root).items():
            seen.setdefault(name, set()).update(addresses)
        time.sleep(0.2)
    # then: Prefect's server, and Ray with its workers
    assert terminal.process.returncode == 0, terminal.text
    assert {"gcs_server", "raylet"} <= set(seen), seen
    assert any(name.startswith("ray::") for name in seen), seen
    outside = {name: addresses for name, addresses in seen.items() if not all(map(is_loopback, addresses))}
    assert outside == {}


def test_no_page_of_others_reaches_the_pages_servers(tmp_path: Path, scratch: Path) -> None:
    # given
    root = endings.short_project(tmp_path / "project")
    ports = {name: free_port() for name in ("port", "mlflow-port", "prefect-port", "evidently-port")}
    options = [word for name, port in ports.items() for word in (f"--{name}", str(port))]
    terminal = Terminal(root, scratch, ("ui", *options))
    asks = {
        "port": ("/", None),
        "mlflow-port": ("/api/2.0/mlflow/experiments/create", '{"name": "of a stranger"}'),
        "prefect-port": ("/api/flows/", '{"name": "of a stranger"}'),
        "evidently-port": ("/api/projects", '{"name": "of a stranger"}'),
    }
    try:
        terminal.wait_for("Ctrl-C ends them.")
        json_ = {"Content_Type": "application/json"}
        # when / then: by a name of their own that points here, from a page of theirs, and in a frame of theirs
        for name, (path, body) in asks.items():
            port = ports[name]
            assert asked(port, path, body, Host=f"evil.example:{port}", **json_)[0] in (403, 421), name
            status, headers = asked(port, path, body, Origin="http://evil.example", **json_)
            assert status in (403, 421) or body is None, name
            assert headers.get("access-control-allow-origin") in (None, f"http://127.0.0.1:{port}"), name
            status, headers = asked(port, "/")
            assert (status, headers.get("x-frame-options")) == (200, "DENY"), name
        # and a program of this machine needs Prefect's account, and a token against forged requests
        port = ports["prefect-port"]
        assert asked(port, "/api/flows/filter", "{}", **json_)[0] in (401, 403)
        own = account(Project(root))
        assert own.split(":")[1] not in terminal.text
        assert "account" in terminal.text  # but where it is
        assert (root / ".convoy" / "prefect" / "account").stat().st_mode & 0o077 == 0
        assert all(is_loopback(each) for places in listening(root).values() for each in places)
    finally:
        terminal.press_ctrl_c()
        assert terminal.wait(20) is not None, terminal.text
    # and the log of the servers does not have it
    for log in (root / ".convoy" / "logs").glob("*.log"):
        assert own.split(":")[1] not in log.read_text(encoding="utf-8", errors="replace")
