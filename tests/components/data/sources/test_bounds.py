"""Bodies that never end, that trickle, or that no disk has room for: refused, and nothing of them is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.config import FolderSource
from components.data.errors import DataError
from components.data.sources import registry
from components.data.sources.places import bounds, download


class _Endless(BaseHTTPRequestHandler):
    """/endless never ends and says no length; /slow says a length and sends a byte at a time; /huge says a petabyte."""

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        self._head()
        piece, pause = (b"x", 0.05) if "slow" in self.path else (bytes(2**16), 0.001)
        try:
            for _ in range(10_000):
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(pause)
        except OSError:
            pass  # the other side has had enough

    def _head(self) -> None:
        self.send_response(200)
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        if "endless" not in self.path:
            self.send_header("Content-Length", str(10**15 if "huge" in self.path else 10_000))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Endless) as service:
        service.daemon_threads = True
        threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()


def fetched(address: str, project: Path) -> str:
    """What is said when a source at the address is read."""
    with pytest.raises(DataError) as caught:
        registry.read(FolderSource(kind="folder", path=address), project)
    return str(caught.value)


def left(project: Path) -> list[Path]:
    return [path for path in project.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_a_body_without_an_end_is_stopped_before_the_disk_is_full(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a disk that has room for a megabyte
    monkeypatch.setattr(
        bounds, "room", lambda folder: 2**20 - sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    )
    # when
    said = fetched(f"{server}/endless.zip", tmp_path)
    # then
    assert "endless.zip: expected a file that the disk has room for" in said
    assert "check the address" not in said
    assert left(tmp_path) == []


def test_a_body_that_trickles_is_given_up(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    monkeypatch.setattr(bounds, "WINDOW", 0.5)
    # when
    began = time.monotonic()
    said = fetched(f"{server}/slow.zip", tmp_path)
    # then
    assert "slow.zip: expected 1024 bytes a second or more, received " in said
    assert time.monotonic() - began < 10
    assert left(tmp_path) == []


def test_what_has_no_room_is_not_begun(server: str, tmp_path: Path) -> None:
    said = fetched(f"{server}/huge.zip", tmp_path)
    assert "huge.zip: expected room for its 1000000.0 GB, received " in said
    assert left(tmp_path) == []


def test_more_bytes_than_were_stated_are_refused(tmp_path: Path) -> None:
    # given
    traffic = bounds.Traffic(tmp_path)
    traffic.count("a", 10, 10, 10)
    # when / then
    with pytest.raises(bounds.OverLimitError, match=r"a: expected 10 bytes, as the server said, received more"):
        traffic.count("a", 1, 11, 10)
    with pytest.raises(bounds.OverLimitError, match=r"a: expected 10 bytes"):  # and its neighbours stop too
        traffic.count("b", 1, 1, None)


def test_a_mirror_that_trickles_is_left_for_the_next_place(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr(bounds, "WINDOW", 0.5)
    files = {"slow": download.Expected("0" * 64, 10_000)}
    # when / then
    with pytest.raises(DataError, match=r"slow\.gz: expected 1024 bytes a second or more"):
        download.fetch(files, tmp_path / "kept", [download.address(server)], "otherwise")
