"""Downloads against a real server on loopback: good, missing, truncated, wrong, oversized, absent."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.data.errors import DataError
from components.data.sources import fashion_mnist
from components.data.sources.places import download
from components.data.sources.places.download import Expected, fetch

CONTENT = {"first-idx": b"pixels " * 5000, "second-idx": b"labels " * 300}
FILES = {name: Expected(hashlib.sha256(value).hexdigest(), len(value)) for name, value in CONTENT.items()}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name, value in CONTENT.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(value))
    return folder


@pytest.fixture
def server(shelf: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(shelf))) as service:
        threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}"
        service.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_server_is_asked_once_and_its_files_are_kept(tmp_path: Path, shelf: Path, server: str) -> None:
    kept = tmp_path / "kept"
    assert fetch(FILES, kept, [download.mirror(server)], "") == CONTENT
    for path in shelf.iterdir():
        path.unlink()
    assert fetch(FILES, kept, [download.mirror(server)], "") == CONTENT


@pytest.mark.parametrize("form", ["folder", "file address", "unpacked"])
def test_a_folder_is_a_mirror(tmp_path: Path, shelf: Path, form: str) -> None:
    if form == "unpacked":
        for path in list(shelf.iterdir()):
            (shelf / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
            path.unlink()
    place = download.mirror(shelf.as_uri() if form == "file address" else str(shelf))
    assert fetch(FILES, tmp_path / "kept", [place], "") == CONTENT


@pytest.mark.parametrize("damage", ["truncated", "wrong", "empty", "not gzip", "too long"])
def test_a_damaged_file_is_refused_by_digest_and_the_next_place_is_asked(
    tmp_path: Path, shelf: Path, server: str, damage: str
) -> None:
    # given a mirror whose second file is damaged
    bad = tmp_path / "bad"
    bad.mkdir()
    packed = {name: gzip.compress(value) for name, value in CONTENT.items()}
    packed["second-idx"] = {
        "truncated": packed["second-idx"][:-20],
        "wrong": gzip.compress(CONTENT["second-idx"].replace(b"l", b"L")),
        "empty": b"",
        "not gzip": b"<html>404</html>",
        "too long": gzip.compress(CONTENT["second-idx"] + b"\0" * 50_000_000),
    }[damage]
    for name, value in packed.items():
        (bad / f"{name}.gz").write_bytes(value)
    # when nobody else has it, then the error has the file's name, both digests and what to do
    with pytest.raises(DataError) as caught:
        fetch(FILES, tmp_path / "kept", [download.mirror(str(bad))], "`convoy run --recipe digits` needs no download.")
    message = str(caught.value)
    assert "second-idx: expected SHA-256 " + FILES["second-idx"].sha256 in message
    assert ", received " in message
    assert str(bad) in message
    assert "convoy run --recipe digits" in message
    assert not (tmp_path / "kept" / "second-idx.gz").exists()
    # when the next place has it, it is taken from there
    assert fetch(FILES, tmp_path / "kept", [download.mirror(str(bad)), download.mirror(server)], "") == CONTENT


def test_a_damaged_file_in_the_data_folder_is_replaced(tmp_path: Path, shelf: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "first-idx.gz").write_bytes(gzip.compress(CONTENT["first-idx"])[:50])
    assert fetch(FILES, kept, [download.mirror(str(shelf))], "") == CONTENT
    assert gzip.decompress((kept / "first-idx.gz").read_bytes()) == CONTENT["first-idx"]


def test_files_may_come_from_several_places(tmp_path: Path, shelf: Path, server: str) -> None:
    half = tmp_path / "half"
    half.mkdir()
    (shelf / "first-idx.gz").rename(half / "first-idx.gz")
    assert fetch(FILES, tmp_path / "kept", [download.mirror(str(half)), download.mirror(server)], "") == CONTENT


def test_every_place_that_failed_is_listed_with_its_reason(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        places = [download.mirror(str(tmp_path / "nowhere")), download.mirror(address)]
        with pytest.raises(DataError) as caught:
            fetch(FILES, tmp_path / "kept", places, "do this")
    lines = str(caught.value).splitlines()
    assert [line for line in lines if "no such folder" in line and "nowhere" in line]
    assert [line for line in lines if address in line and "no connection" in line]
    assert lines[-1] == "do this"


def test_a_place_that_never_answers_costs_one_short_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: time.sleep(30))  # a name server that is silent
    started = time.monotonic()
    with pytest.raises(DataError, match=r"no answer in 0\.3 s"):
        fetch(FILES, tmp_path / "kept", [download.mirror("http://silent.invalid")], "")
    assert time.monotonic() - started < 2


def test_an_address_of_another_scheme_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(DataError, match="ftp://"):
        download.mirror("ftp://somewhere/files")


def test_fashion_mnist_asks_the_users_mirror_first_and_the_package_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_MIRROR", "/from/the/environment")
    source = fashion_mnist.FashionMnistSource(kind="fashion-mnist", mirror="https://mine.example/files")
    names = [place.name for place in fashion_mnist.places(source)]
    assert names[:2] == ["https://mine.example/files", "/from/the/environment"]
    assert names[2:4] == list(fashion_mnist.PUBLIC)
    assert names[-1] == "Debian package dataset-fashion-mnist"


def test_fashion_mnist_reads_the_files_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given four small files of the same form
    contents = {
        "train-images-idx3-ubyte": b"\0\0\x08\x03" + bytes([0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(range(12)),
        "train-labels-idx1-ubyte": b"\0\0\x08\x01" + bytes([0, 0, 0, 3, 9, 1, 0]),
        "t10k-images-idx3-ubyte": b"\0\0\x08\x03" + bytes([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(4),
        "t10k-labels-idx1-ubyte": b"\0\0\x08\x01" + bytes([0, 0, 0, 1, 5]),
    }
    files = {name: Expected(hashlib.sha256(value).hexdigest(), len(value)) for name, value in contents.items()}
    monkeypatch.setattr(fashion_mnist, "FILES", files)
    folder = tmp_path / fashion_mnist.FOLDER
    folder.mkdir(parents=True)
    for name, value in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(value))
    # when
    data = fashion_mnist.read(fashion_mnist.FashionMnistSource(kind="fashion-mnist"), tmp_path)
    train, test = list(data.tables)
    # then
    assert train.column("target").to_pylist() == [9, 1, 0]
    assert set(train.column("published").to_pylist()) == {"train"}
    assert test.column("id").to_pylist() == ["test-00000"]


@pytest.mark.parametrize("content", [b"", b"\0\0\x09\x01\0\0\0\0", b"\0\0\x08\x01\0\0\0\x05ab"])
def test_a_malformed_idx_file_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(DataError, match="labels-idx"):
        fashion_mnist.parse_idx("labels-idx", content)
