"""Who may ask the engines' servers: programs of this machine and the servers' own pages, not everybody's pages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flows.processes.guard import guarded

PORT = 4200
OWN = f"127.0.0.1:{PORT}"


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """The server that is guarded: lets everybody in."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"let in"})


def asked(headers: list[tuple[str, str]], kind: str = "http") -> list[dict[str, Any]]:
    """What comes back for a request with these headers."""
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect" if kind == "websocket" else "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    scope = {"type": kind, "method": "POST", "path": "/", "headers": [(n.encode(), v.encode()) for n, v in headers]}
    asyncio.run(guarded(behind, PORT)(scope, receive, send))  # type: ignore[arg-type]
    return told


@pytest.mark.parametrize(
    "headers",
    [
        [("host", OWN)],
        [("Host", f"LOCALHOST:{PORT}")],
        [("host", f"[::1]:{PORT}"), ("origin", f"http://[::1]:{PORT}")],
        [("host", OWN), ("origin", f"http://localhost:{PORT}"), ("sec-fetch-site", "same-site")],
        [("host", OWN), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],  # a link that is followed
    ],
    ids=["a program", "localhost", "own page", "own page by its other name", "a link"],
)
def test_programs_and_own_pages_are_let_in_and_cannot_be_framed(headers: list[tuple[str, str]]) -> None:
    # when
    start, body = asked(headers)
    # then
    assert (start["status"], body["body"]) == (200, b"let in")
    assert (b"x-frame-options", b"DENY") in start["headers"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 421),
        ([("host", "evil.example")], 421),
        ([("host", f"evil.example:{PORT}")], 421),  # a name of their own that points here
        ([("host", "127.0.0.1")], 421),
        ([("host", "127.0.0.1:4201")], 421),
        ([("host", f"127.0.0.1:{PORT}.evil.example")], 421),
        ([("host", OWN), ("host", "evil.example")], 421),
        ([("host", OWN), ("origin", "http://evil.example")], 403),
        ([("host", OWN), ("origin", "null")], 403),  # a frame without an origin, a file
        ([("host", OWN), ("origin", f"https://{OWN}")], 403),
        ([("host", OWN), ("origin", "http://127.0.0.1:8888")], 403),  # another server of this machine
        ([("host", OWN), ("origin", f"http://{OWN}"), ("origin", "http://evil.example")], 403),
        ([("host", OWN), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], 403),
    ],
)
def test_what_comes_for_another_name_or_from_another_page_is_refused(
    headers: list[tuple[str, str]], status: int
) -> None:
    # when
    start, body = asked(headers)
    socket = asked(headers, "websocket")
    # then
    assert start["status"] == status
    assert b"let in" not in body["body"]
    assert [message["type"] for message in socket] == ["websocket.close"]


def test_a_socket_of_an_own_page_is_let_in() -> None:
    assert asked([("host", OWN), ("origin", f"http://{OWN}")], "websocket") == [{"type": "websocket.accept"}]
