"""The parts of infra/servers.py: ports, secrets, processes and back-ups, on files and processes of their own."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.machine import backups, engines, processes
from infra.machine import home as homes


@pytest.fixture
def home(tmp_path: Path) -> homes.Home:
    return homes.opened(tmp_path / "home", tmp_path)


def sleeper(home: homes.Home, code: str = "pass", ready: bool = True, **more: Any) -> processes.Server:
    """A server that answers at once, and starts a process in a session of its own."""
    child = "import subprocess, sys, time; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    command = [sys.executable, "-c", f"{child}; {code}; time.sleep(600)"]
    return processes.Server("sleeper", command, dict(os.environ), lambda _: ready, **more)


def below(process: psutil.Process) -> list[psutil.Process]:
    limit = time.monotonic() + 60
    while not process.children() and time.monotonic() < limit:
        time.sleep(0.05)
    return [process, *process.children(recursive=True)]


def test_secrets_are_drawn_once_and_are_the_owner_s_alone(home: homes.Home) -> None:
    path = home.folder / "secrets.json"

    again = homes.existing(home.folder)
    homes.renew(home)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert again.secrets == home.secrets
    assert len(set(home.secrets.values())) == len(homes.SECRETS)
    assert not set(home.secrets.values()) & set(homes.existing(home.folder).secrets.values())


def test_a_secret_that_others_can_read_is_refused(home: homes.Home) -> None:
    (home.folder / "secrets.json").chmod(0o644)

    with pytest.raises(homes.ServersError, match="owner alone"):
        homes.existing(home.folder)


def test_ports_are_checked_kept_and_taken_ones_named(home: homes.Home) -> None:
    with pytest.raises(homes.ServersError, match=r"received 'mlfow=1'\n.*received 'mlflow=70000'"):
        homes.parse_ports(["mlfow=1", "mlflow=70000"])
    with socket.socket() as taken:
        taken.bind((homes.LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        homes.opened(home.folder, ports={"mlflow": port})
        known = homes.existing(home.folder)
        assert known.ports["mlflow"] == port
        with pytest.raises(homes.ServersError, match=rf"port {port} .* taken .* --port mlflow=NUMBER"):
            processes.bring_up(known, sleeper(known, ports=[port]))
    assert homes.is_free(port)


@pytest.mark.parametrize("kept", ["postgres/notes.txt", "logs.txt", ".hidden", "s3/1.png"])
def test_a_folder_of_somebody_elses_does_not_become_a_home(kept: str, tmp_path: Path) -> None:
    folder = tmp_path / "projects"
    (folder / kept).parent.mkdir(parents=True)
    (folder / kept).write_text("mine", encoding="utf-8")
    mode = folder.stat().st_mode
    with pytest.raises(homes.ServersError, match="expected the home of servers, or a folder that is empty"):
        homes.opened(folder, tmp_path)
    assert (folder / kept).read_text(encoding="utf-8") == "mine" and folder.stat().st_mode == mode
    (folder / kept).unlink()
    shutil.rmtree(folder)
    for cut_short in ("logs", "run"):
        (folder / cut_short).mkdir(parents=True)
    homes.opened(folder, tmp_path)
    homes.opened(folder, tmp_path)


def test_a_server_is_started_once_and_goes_with_all_that_it_started(home: homes.Home) -> None:
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        assert processes.bring_up(home, sleeper(home))
        assert not processes.bring_up(home, sleeper(home))
        process = processes.found(home, "sleeper")
        assert process is not None
        family = below(process)

        assert processes.take_down(home, "sleeper", signal.SIGTERM)

        assert len(family) == 2
        assert [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
        assert not processes.take_down(home, "sleeper", signal.SIGTERM)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_start_that_was_cut_short_is_found_and_so_is_what_a_killed_server_left(home: homes.Home) -> None:
    processes.bring_up(home, sleeper(home))
    noted = processes.found(home, "sleeper")
    assert noted is not None
    child = below(noted)[1]
    home.note("sleeper").unlink()
    process = processes.found(home, "sleeper")
    assert process == noted

    process.kill()
    process.wait()
    assert processes.found(home, "sleeper") is None
    assert child.is_running()
    assert processes.bring_up(home, sleeper(home))

    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    processes.take_down(home, "sleeper", signal.SIGTERM)


def test_a_server_that_ends_or_never_answers_is_named_with_its_log(
    home: homes.Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(homes.ServersError, match=r"sleeper ended while it started; .*sleeper.log:\nno room left"):
        processes.bring_up(home, sleeper(home, "print('no room left'); sys.exit(3)", ready=False))
    monkeypatch.setattr(processes, "READY_SECONDS", 0.5)
    with pytest.raises(homes.ServersError, match=r"did not answer within .*sleeper.log"):
        processes.bring_up(home, sleeper(home, ready=False))
    processes.take_down(home, "sleeper", signal.SIGTERM)


def test_a_server_that_may_try_again_is_started_again(home: homes.Home, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    places = f"from pathlib import Path; first, second = Path({str(first)!r}), Path({str(second)!r})"
    server = sleeper(home, f"{places}; second.touch() if first.exists() else (first.touch(), sys.exit(3))", tries=2)

    assert processes.bring_up(home, replace(server, ready=lambda _: second.exists()))

    process = processes.found(home, "sleeper")
    assert process is not None
    assert len(processes._family(home, "sleeper")) == 2  # nothing of the first try
    processes.take_down(home, "sleeper", signal.SIGTERM)


def test_a_backup_that_is_not_as_it_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(homes.ServersError, match="cut short"):
        backups.check(tmp_path)
    for name in ("changed", "missing", "same"):
        (tmp_path / name).write_text(name)
    known = {name: backups._known(tmp_path / name) for name in ("changed", "missing", "same")}
    (tmp_path / backups.MANIFEST).write_text(json.dumps({"files": known}))
    assert backups.check(tmp_path)["files"] == known

    (tmp_path / "missing").unlink()
    (tmp_path / "changed").write_text("hacked.")
    (tmp_path / "foreign").touch()

    with pytest.raises(homes.ServersError) as caught:
        backups.check(tmp_path)
    said = str(caught.value).splitlines()[1:]
    assert [line.strip() for line in said] == [
        "missing is missing",
        "foreign is not of this backup",
        "changed has changed",
    ]


def test_ray_stays_on_the_loopback_unless_an_address_is_named(tmp_path: Path) -> None:
    home = homes.opened(tmp_path / "home", tmp_path)
    switch = engines.RAY_STAYS.items()
    assert engines.variables(home)["RAY_ADDRESS"] == f"127.0.0.1:{home.ports['ray']}"
    assert switch <= engines.variables(home).items() and switch <= engines.ray_head(home).environment.items()
    for wrong in ("0.0.0.0", "::", "here", "10.0.0"):  # noqa: S104
        with pytest.raises(homes.ServersError, match=r"--ray-address: expected an address of this machine"):
            homes.opened(home.folder, ray_address=wrong)

    homes.opened(home.folder, ray_address="10.0.0.5")
    named = homes.existing(home.folder)
    assert engines.variables(named)["RAY_ADDRESS"] == f"10.0.0.5:{home.ports['ray']}"
    assert not switch & (engines.variables(named).items() | engines.ray_node(named, "ray-node-1").environment.items())
    assert "10.0.0.5" in engines.ray_head(named).command

    assert homes.opened(home.folder, ray_address="::1").ray_address == "127.0.0.1"


def test_addresses_of_a_proxy_are_checked_and_kept(tmp_path: Path) -> None:
    wrong = ["ray=https://a.example", "mlflow=a.example", "prefect=https://a.example/x", "mlflow=https://*"]
    with pytest.raises(homes.ServersError) as caught:
        homes.parse_addresses(["mlflow=https://a.example", *wrong])
    said = str(caught.value).splitlines()
    assert [f"received {text!r}" in line for text, line in zip(wrong, said, strict=True)] == [True] * len(wrong)

    given = homes.parse_addresses(["mlflow=https://A.example:8443", "mlflow=https://b.example"])
    homes.opened(tmp_path / "home", tmp_path, addresses=given)
    known = homes.existing(tmp_path / "home")
    assert known.addresses == {"mlflow": ["https://a.example:8443", "https://b.example"]}
    assert homes.opened(known.folder, addresses=homes.parse_addresses(["mlflow="])).addresses == {}


PAGES = ("mlflow", "prefect")


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[homes.Home]:
    """MLflow and Prefect as they are started beside PostgreSQL, on files: whom they let in is the same."""
    ports = {}
    for name in PAGES:
        with socket.socket() as probe:
            probe.bind((homes.LOOPBACK, 0))
            ports[name] = probe.getsockname()[1]
    shown = {name: [f"https://{name}.example.org"] for name in PAGES}
    home = homes.opened(tmp_path / "home", tmp_path, ports, addresses=shown)
    database = f"sqlite:///{tmp_path}/accounts.db"
    settings = f"database_uri = {database}\nadmin_username = admin\ndefault_permission = READ\n"
    settings += "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    homes.write_private(home.private / "mlflow-auth.ini", f"[mlflow]\n{settings}")
    files = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{tmp_path}/prefect.db",
    }
    try:
        for name in PAGES:
            server = engines.KINDS[name].server(home)
            processes.bring_up(home, replace(server, environment={**server.environment, **files}, needs=()))
        yield home
    finally:
        for name in PAGES:
            processes.take_down(home, name, engines.KINDS[name].server(home).stop_signal)


def answer(home: homes.Home, name: str, path: str, account: str = "", **headers: str) -> tuple[int, dict[str, str]]:
    """Status and headers of what a server says; with `account` and the headers."""
    connection = http.client.HTTPConnection(homes.LOOPBACK, home.ports[name], timeout=60)
    body = headers.pop("body", None)
    connection.putrequest("POST" if body else "GET", path, skip_host=True)
    sent = {"Host": f"{homes.LOOPBACK}:{home.ports[name]}", "Content-Type": "application/json"}
    sent |= {key.replace("_", "-"): value for key, value in headers.items()}
    sent |= {"Authorization": f"Basic {base64.b64encode(account.encode()).decode()}"} if account else {}
    sent |= {"Content-Length": str(len(body))} if body else {}
    for key, value in sent.items():
        connection.putheader(key, value)
    connection.endheaders(body.encode() if body else None)
    found = connection.getresponse()
    found.read()
    connection.close()
    return found.status, {key.lower(): value for key, value in found.getheaders()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_page_of_others_reaches_mlflow_and_prefect_also_with_the_account_that_a_browser_sends(
    pages: homes.Home,
) -> None:
    accounts = {
        "mlflow": f"admin:{pages.secrets['MLFLOW_ADMIN_PASSWORD']}",
        "prefect": f"convoy:{pages.secrets['PREFECT_PASSWORD']}",
    }
    asks = {
        "mlflow": ("/api/2.0/mlflow/experiments/create", '{"name": "%s"}'),
        "prefect": ("/api/flows/", '{"name": "%s"}'),
    }
    for name, (path, body) in asks.items():
        own, port = accounts[name], pages.ports[name]
        # a program needs the account, and has to call the server by its name
        assert answer(pages, name, path, body=body % "a")[0] == 401
        assert answer(pages, name, path, own, body=body % "a")[0] in (200, 201)
        assert answer(pages, name, path, own, body=body % "b", Host=f"evil.example:{port}")[0] == 421
        # a page of others has it from the browser, and is refused: from afar, and from another server of this machine
        for origin in ("http://evil.example", "http://127.0.0.1:8888", "http://localhost:3000", "null"):
            assert answer(pages, name, path, own, body=body % "b", Origin=origin)[0] == 403, origin
        # its own pages, and those that a proxy shows, are let in, and nobody frames them
        shown = f"https://{name}.example.org"
        assert answer(pages, name, path, own, body=body % "c", Origin=f"http://127.0.0.1:{port}")[0] in (200, 201)
        told = answer(pages, name, path, own, body=body % "d", Origin=shown, Host=shown.removeprefix("https://"))
        assert told[0] in (200, 201)
        status, headers = answer(pages, name, "/", own)
        assert (status, headers["x-frame-options"]) == (200, "DENY")
        assert headers["content-security-policy"].endswith("frame-ancestors 'none'")


def test_rays_folder_has_a_name_that_nobody_could_have_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = homes.opened(tmp_path / "home", tmp_path)
    seen = set()
    for _ in range(2):
        engines.prepare_ray(home)
        (folder,) = tmp_path.glob("convoy-ray-*")  # the one before is gone
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and str(folder) in engines.ray_head(home).command
        seen.add(folder)
    engines.tidy_ray(home)
    assert len(seen) == 2 and not any(folder.exists() for folder in seen)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_cluster_of_two_nodes_listens_on_the_loopback_alone(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind((homes.LOOPBACK, 0))
        port = probe.getsockname()[1]
    home = homes.opened(tmp_path / "home", tmp_path, {"ray": port})
    names = ["ray-head", "ray-node-1"]
    engines.prepare_ray(home)
    try:
        found: dict[str, set[str]] = {}
        for name in names:  # each answers when a driver has met it
            assert processes.bring_up(home, engines.KINDS[name].server(home))
            started = processes.found(home, name)
            assert started is not None
            for each in (started, *started.children(recursive=True)):
                for one in each.net_connections("inet"):
                    if one.status == psutil.CONN_LISTEN:
                        found.setdefault(name, set()).add(one.laddr.ip.removeprefix("::ffff:"))
        assert found == {name: {homes.LOOPBACK} for name in names}
    finally:
        for name in reversed(names):
            processes.take_down(home, name, engines.KINDS[name].server(home).stop_signal)
        engines.tidy_ray(home)
