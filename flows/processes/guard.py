"""A door before the engines' servers: they answer to their own names, and to their own pages alone.

A page of anybody's, open in the browser of the person at this machine, can reach every port of the loopback: by that
port (the request then names the page's own origin), or by a name of its own that points here (it then names that as
the host). A page of another server of this machine is a stranger too. All are refused before the server hears of them,
and no page may frame theirs. What a program sends has no origin, and passes. They are started by `uvicorn --factory
flows.processes.guard:prefect` (`flows.pages.pages`); the first page asks `refused` itself.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

PORT = "CONVOY_GUARDED_PORT"  # where the server answers
ADDRESSES = "CONVOY_GUARDED_ADDRESSES"  # at which a proxy shows it to other machines, as https://mlflow.example.org
STORE, ARTIFACTS = "CONVOY_MLFLOW_STORE", "CONVOY_MLFLOW_ARTIFACTS"  # in variables: an address may have an account
WORKSPACE = "CONVOY_EVIDENTLY_WORKSPACE"
NAMES = ("127.0.0.1", "localhost", "[::1]")
HTTP_PORT = 80  # browsers leave it out of the name
FRAMES = {"X-Frame-Options": "DENY", "Content-Security-Policy": "frame-ancestors 'none'"}
OWN_PAGES = (403, "this server answers to its own pages only")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def prefect() -> App:
    """Prefect's API, pages and, unless its variables say otherwise, its scheduler."""
    from prefect.server.api.server import create_app

    return _guarded(create_app())


def mlflow() -> App:
    """MLflow's API and pages over a store. Its own door lets in the pages of every server of this machine."""
    from components.registry.memory.pages import application

    return _guarded(application(os.environ[STORE], os.environ[ARTIFACTS]))


def mlflow_with_accounts() -> App:
    """The same for several people, each with an account (`infra/servers.py`)."""
    from components.registry.memory.pages import application_with_accounts

    return _guarded(application_with_accounts())


def evidently() -> App:
    """Evidently's pages over a workspace."""
    from components.data.drift.pages import application

    return _guarded(application(os.environ[WORKSPACE], int(os.environ[PORT])))


def _guarded(app: App) -> App:
    return guarded(app, int(os.environ[PORT]), os.environ.get(ADDRESSES, "").split())


def guarded(app: App, port: int, addresses: Sequence[str] = ()) -> App:
    """The application for those who call it by a name of the loopback, at its port, from none but its own pages.

    `addresses` are others by which it may be called, and which its pages then have.
    """
    hosts = own_hosts(port)

    async def door(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        headers = [(bytes(name).decode("latin-1"), bytes(value).decode("latin-1")) for name, value in scope["headers"]]
        no = refused(headers, hosts, addresses)
        if no is None:
            await app(scope, receive, _unframed(send) if scope["type"] == "http" else send)
        elif scope["type"] == "websocket":
            await receive()  # the connection's own beginning
            await send({"type": "websocket.close", "code": 1008, "reason": no[1]})
        else:
            status, why = no
            told = [(b"content-type", b"text/plain; charset=utf-8"), *_FRAMES]
            await send({"type": "http.response.start", "status": status, "headers": told})
            await send({"type": "http.response.body", "body": f"{why}\n".encode()})

    return door


def own_hosts(port: int) -> set[str]:
    """What requests call a server of the loopback at this port."""
    return {f"{name}:{port}" for name in NAMES} | (set(NAMES) if port == HTTP_PORT else set())


def refused(
    headers: Iterable[tuple[str, str]], hosts: set[str], addresses: Sequence[str] = ()
) -> tuple[int, str] | None:
    """Status and reason where a request is somebody else's, by its headers; None where it may pass.

    `addresses` are those of a proxy before the server, with their scheme.
    """
    origins = {f"http://{host}" for host in hosts} | set(addresses)
    hosts = hosts | {urlsplit(address).netloc for address in addresses}
    said: dict[str, list[str]] = {}
    for name, value in headers:
        said.setdefault(name.lower(), []).append(value.lower())
    named = said.get("host", [])
    if len(named) != 1 or named[0] not in hosts:
        return 421, f"this server answers to {', '.join(sorted(hosts))} only"
    for origin in said.get("origin", []):
        if origin not in origins:
            return OWN_PAGES
    # Where a browser sends no origin (an image, a frame, a form's GET) it says since 2023 whether the page is another
    # site's, or another port's. A link that is followed in a window of its own passes.
    strange = {"cross-site", "same-site"} & set(said.get("sec-fetch-site", []))
    followed = said.get("sec-fetch-mode") == ["navigate"] and said.get("sec-fetch-dest") == ["document"]
    return OWN_PAGES if strange and not followed and "origin" not in said else None


_FRAMES = [(name.lower().encode(), value.encode()) for name, value in FRAMES.items()]


def _unframed(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            theirs = [(name, value) for name, value in message.get("headers", []) if name.lower() != b"x-frame-options"]
            message["headers"] = [*theirs, *_FRAMES]
        await send(message)

    return sent
