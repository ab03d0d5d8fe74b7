"""Who may ask the engines' servers: programs of this machine and the servers' own pages, not everybody's pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from flows.processes.guard import guarded, own_hosts

PORT = 4200
OWN = f"127.0.0.1:{PORT}"
FOLLOWED = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]  # a link, in a window of its own


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """The server that is guarded: lets everybody in."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"let in"})


def asked(headers: list[tuple[str, str]], kind: str = "http", addresses: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What comes back for a request with these headers."""
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect" if kind == "websocket" else "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    scope = {"type": kind, "method": "POST", "path": "/", "headers": [(n.encode(), v.encode()) for n, v in headers]}
    asyncio.run(guarded(behind, PORT, addresses)(scope, receive, send))  # type: ignore[arg-type]
    return told


@pytest.mark.parametrize(
    "headers",
    [
        [("host", OWN)],
        [("Host", f"LOCALHOST:{PORT}")],
        [("host", f"[::1]:{PORT}"), ("origin", f"http://[::1]:{PORT}")],
        [("host", OWN), ("origin", f"http://localhost:{PORT}"), ("sec-fetch-site", "cross-site")],
        [("host", OWN), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
        [("host", OWN), ("sec-fetch-site", "same-site"), *FOLLOWED],
        [("host", OWN), ("sec-fetch-site", "cross-site"), *FOLLOWED],
    ],
    ids=["a program", "localhost", "own page", "its other name", "own picture", "a link from beside", "a link"],
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
        # A picture of another server of this machine, and a frame: both come without an origin.
        ([("host", OWN), ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")], 403),
        ([("host", OWN), ("sec-fetch-site", "same-site"), FOLLOWED[0], ("sec-fetch-dest", "iframe")], 403),
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


def test_a_server_may_be_framed_by_nobody_whatever_it_says_itself() -> None:
    async def permissive(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Frame-Options", b"SAMEORIGIN")]})
        await send({"type": "http.response.body", "body": b""})

    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    scope = {"type": "http", "headers": [(b"host", OWN.encode())]}
    asyncio.run(guarded(permissive, PORT)(scope, send, send))  # type: ignore[arg-type]
    named = [value for name, value in told[0]["headers"] if name.lower() == b"x-frame-options"]
    assert named == [b"DENY"]


def test_the_port_that_browsers_leave_out_is_left_out_of_the_name_too() -> None:
    assert "127.0.0.1" in own_hosts(80) and "127.0.0.1" not in own_hosts(PORT)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("mlflow.example.org", "https://mlflow.example.org", 200),
        (OWN, "https://mlflow.example.org", 200),  # a proxy that asks by the server's own name
        (OWN, f"http://{OWN}", 200),
        ("mlflow.example.org", "http://mlflow.example.org", 403),  # without TLS it is another's page
        ("mlflow.example.org", "https://evil.example", 403),
        ("mlflow.example.org:443", "https://mlflow.example.org", 421),
        ("evil.example", "https://evil.example", 421),
    ],
)
def test_a_proxys_address_is_one_of_its_own_and_no_other_is(host: str, origin: str, status: int) -> None:
    headers = [("host", host), ("origin", origin)]
    assert asked(headers, addresses=["https://mlflow.example.org"])[0]["status"] == status
    assert asked(headers)[0]["status"] == (200 if origin == f"http://{OWN}" else 403 if host == OWN else 421)
