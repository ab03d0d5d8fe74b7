"""The loopback: that it can be used, by name, without a proxy between, and which ports of the pages are taken."""

from __future__ import annotations

import socket
import urllib.request

from flows.base.project import EVIDENTLY_PORT, INDEX_PORT, LOOPBACK, MLFLOW_PORT, PREFECT_PORT
from flows.preflight.finding import ANSWER_SECONDS, Finding

PORTS = {"index": INDEX_PORT, "Prefect": PREFECT_PORT, "MLflow": MLFLOW_PORT, "Evidently": EVIDENTLY_PORT}


def loopback() -> Finding:
    """A server on a port of the loopback, and a client that reaches it: every engine needs that."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname()[:2], timeout=ANSWER_SECONDS).close()
    except OSError as error:
        way = "let this user open ports on the loopback; in a container that has none up: `ip link set lo up`"
        return Finding("error", "loopback", f"{LOOPBACK}: no server could be reached on it: {error}", way)
    try:
        known = {str(entry[4][0]) for entry in socket.getaddrinfo("localhost", None)}
    except OSError as error:
        return _no_name(f"localhost is not known: {error}")
    if not any(address.startswith("127.") or address == "::1" for address in known):
        return _no_name(f"localhost is {', '.join(sorted(known))}")
    return Finding("ok", "loopback", f"{LOOPBACK} answers, and localhost is {', '.join(sorted(known))}")


def proxy() -> Finding:
    """Whether what is asked on the loopback would go to a proxy, after `prepare_environment` has had its say."""
    proxies = {
        kind: place for kind, place in urllib.request.getproxies_environment().items() if kind in ("http", "all")
    }
    if not proxies:
        return Finding("ok", "proxy", "none for http")
    past = [name for name in (LOOPBACK, "localhost") if not urllib.request.proxy_bypass(name)]
    if not past:
        return Finding("ok", "proxy", "one is set, and the loopback is not behind it")
    found = f"HTTP_PROXY is set, and {' and '.join(past)} would be asked through it"
    return Finding("error", "proxy", found, '`export NO_PROXY="127.0.0.1,localhost,::1${NO_PROXY:+,$NO_PROXY}"`')


def ports() -> Finding:
    """A note: only `convoy ui` and `convoy schedule` need these, and both take others."""
    taken = [f"{port} ({name})" for name, port in PORTS.items() if _is_taken(port)]
    found = f"in use: {', '.join(taken)}" if taken else f"{', '.join(map(str, sorted(PORTS.values())))} are free"
    return Finding("ok", "ports of the web UIs", found)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _no_name(found: str) -> Finding:
    return Finding(
        "warning", "loopback", f"{LOOPBACK} answers, but {found}", "put a line 127.0.0.1 localhost into /etc/hosts"
    )
