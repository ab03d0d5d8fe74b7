"""Notices arrive at receivers that listen here, by the real blocks, and their addresses are never repeated."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.base.project import Project
from flows.schedules import notifications
from flows.schedules.deployments import FILE

SECRET = "T0PSECRET99"  # noqa: S105 — it is none


class Receiver(HTTPServer):
    """Keeps what is posted to it, and answers with `code`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.code = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, json.loads(body)))
        self.send_response(self.server.code)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: object) -> None:
        pass


class Mailbox(socketserver.TCPServer):
    """As much of SMTP as it takes to be handed a letter."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Letterbox)
        self.letters: list[str] = []
        self.recipients: list[str] = []


class _Letterbox(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            word = line.decode().strip()
            if word.upper().startswith("RCPT"):
                self.server.recipients.append(word)
            if word.upper() == "DATA":
                self.wfile.write(b"354 go on\r\n")
                letter = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                self.server.letters.append("".join(letter))
            if word.upper() == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 ok\r\n")


@contextmanager
def listening(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening(Receiver()) as server:
        yield server


def project_with(tmp_path: Path, *channels: dict[str, Any]) -> Project:
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump({"notifications": list(channels)}), encoding="utf-8")
    return Project(tmp_path)


WEBHOOK = {"kind": "webhook", "address": "TEST_WEBHOOK_URL"}


@pytest.mark.parametrize("occasion", ["failure", "gates-failed", "approval", "rollback"])
def test_each_occasion_reaches_a_webhook_with_subject_and_body(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, occasion: Any
) -> None:
    monkeypatch.setenv("TEST_WEBHOOK_URL", f"{receiver.url}/{SECRET}")
    said = notifications.tell(project_with(tmp_path, WEBHOOK), occasion, "digits 3", 'a "quoted" reason\nof two lines')
    assert said == {"webhook (TEST_WEBHOOK_URL)": "sent"}
    content = {"subject": "digits 3", "body": 'a "quoted" reason\nof two lines', "occasion": occasion}
    assert receiver.received == [(f"/{SECRET}", content)]


def test_a_channel_hears_only_of_what_it_asked_for_and_a_silent_one_of_nothing(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_WEBHOOK_URL", receiver.url)
    monkeypatch.delenv("TEST_UNSET_URL", raising=False)
    unset = {"kind": "slack", "address": "TEST_UNSET_URL"}
    project = project_with(tmp_path, {**WEBHOOK, "of": ["rollback"]}, unset)
    assert notifications.tell(project, "failure", "a", "b") == {}
    assert notifications.tell(project, "rollback", "a", "b") == {"webhook (TEST_WEBHOOK_URL)": "sent"}
    assert len(receiver.received) == 1


@pytest.mark.parametrize("code", [403, 500])
def test_a_receiver_that_refuses_fails_nothing_and_the_address_is_not_repeated(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    receiver.code = code
    monkeypatch.setenv("TEST_WEBHOOK_URL", f"{receiver.url}/{SECRET}")
    with caplog.at_level(logging.DEBUG):
        said = notifications.tell(project_with(tmp_path, WEBHOOK), "failure", "a", "b")
    assert said == {"webhook (TEST_WEBHOOK_URL)": f"the receiver answered {code}"}
    warned = [record.getMessage() for record in caplog.records if record.name == notifications.log.name]
    assert len(warned) == 1 and SECRET not in warned[0]


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("webhook", f"http://127.0.0.1:9/{SECRET}"),
        ("webhook", f"{SECRET}-is-no-address"),
        ("slack", f"https://hooks.slack.com/services/{SECRET}"),
        ("email", f"mailto://127.0.0.1:9/?from=me@example.org&to=you@example.org&user=me&pass={SECRET}"),
    ],
)
def test_nobody_there_or_a_wrong_address_fails_nothing_and_is_said_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, address: str
) -> None:
    monkeypatch.setenv("TEST_URL", address)
    project = project_with(tmp_path, {"kind": kind, "address": "TEST_URL"})
    (said,) = notifications.tell(project, "failure", "a", "b").values()
    assert said != "sent" and said and SECRET not in said


def test_slack_is_posted_its_own_form(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.slack import NotifySlack

    # The plugin knows one host; the form, the path and the request are its own.
    monkeypatch.setattr(NotifySlack, "webhook_url", f"{receiver.url}/services")
    monkeypatch.setenv(
        "TEST_SLACK_URL", "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    )
    project = project_with(tmp_path, {"kind": "slack", "address": "TEST_SLACK_URL"})
    hostile = "for two people <!channel> <@U1> <http://x.example|here> \x1b[31m"
    assert notifications.tell(project, "approval", "digits 3 waits", hostile) == {"slack (TEST_SLACK_URL)": "sent"}
    ((path, content),) = receiver.received
    said = json.dumps(content)
    assert "<" not in said and ">" not in said and "\\u001b" not in said
    assert path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert "digits 3 waits" in json.dumps(content) and "for two people" in json.dumps(content)


def test_an_email_is_handed_over_by_smtp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(Mailbox()) as mailbox:
        port = mailbox.server_address[1]
        monkeypatch.setenv("TEST_EMAIL_URL", f"mailto://127.0.0.1:{port}/?from=line@example.org&to=team@example.org")
        project = project_with(tmp_path, {"kind": "email", "address": "TEST_EMAIL_URL"})
        said = notifications.tell(project, "rollback", "digits is version 2 again", "it was slow")
    assert said == {"email (TEST_EMAIL_URL)": "sent"}
    assert "team@example.org" in mailbox.recipients[0]
    assert "Subject: digits is version 2 again" in mailbox.letters[0]


def test_a_project_without_the_file_tells_nobody(tmp_path: Path) -> None:
    assert notifications.tell(Project(tmp_path), "failure", "a", "b") == {}
