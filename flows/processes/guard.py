"""A door before the engines' servers: they answer to their own names, and to their own pages alone.

A page of anybody's, open in the browser of the person at this machine, can reach every port of the loopback: by that
port (the request then names the page's own origin), or by a name of its own that points here (it then names that as
the host). Both are refused before the server hears of them, and no page may frame theirs. What a program sends has no
origin, and passes. `uvicorn --factory flows.processes.guard:prefect` is how they are started (`flows.pages.pages`).
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

PORT = "CONVOY_GUARDED_PORT"  # where the server answers
WORKSPACE = "CONVOY_EVIDENTLY_WORKSPACE"
NAMES = ("127.0.0.1", "localhost", "[::1]")
FRAMES = [(b"x-frame-options", b"DENY"), (b"content-security-policy", b"frame-ancestors 'none'")]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def prefect() -> App:
    """Prefect's API, pages and, unless its variables say otherwise, its scheduler."""
    from prefect.server.api.server import create_app

    return guarded(create_app(), int(os.environ[PORT]))


def evidently() -> App:
    """Evidently's pages over a workspace."""
    from components.data.drift.pages import application

    port = int(os.environ[PORT])
    return guarded(application(os.environ[WORKSPACE], port), port)


def guarded(app: App, port: int) -> App:
    """The application for those who call it by a name of the loopback, at its port, from none but its own pages."""
    hosts = {f"{name}:{port}" for name in NAMES}

    async def door(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await app(scope, receive, send)
            return
        refused = _refused(scope, hosts)
        if refused is None:
            await app(scope, receive, _unframed(send) if scope["type"] == "http" else send)
        elif scope["type"] == "websocket":
            await receive()  # the connection's own beginning
            await send({"type": "websocket.close", "code": 1008, "reason": refused[1]})
        else:
            status, why = refused
            headers = [(b"content-type", b"text/plain; charset=utf-8"), *FRAMES]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": f"{why}\n".encode()})

    return door


def _refused(scope: Message, hosts: set[str]) -> tuple[int, str] | None:
    """Status and reason, where the request is somebody else's."""
    headers: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(bytes(name).lower(), []).append(bytes(value).decode("latin-1").lower())
    named = headers.get(b"host", [])
    if len(named) != 1 or named[0] not in hosts:
        return 421, f"this server answers to {', '.join(sorted(hosts))} only"
    for origin in headers.get(b"origin", []):
        place = urlsplit(origin)
        if place.scheme != "http" or place.netloc not in hosts:
            return 403, "this server answers to its own pages only"
    # Where a browser sends no origin (a link, an image, a form's GET) it says since 2023 whether the page is another's.
    strange = "cross-site" in headers.get(b"sec-fetch-site", []) and "navigate" not in headers.get(
        b"sec-fetch-mode", []
    )
    return (403, "this server answers to its own pages only") if strange else None


def _unframed(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *FRAMES]
        await send(message)

    return sent
