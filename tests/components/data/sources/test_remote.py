"""Sources at URLs, against real servers on loopback: HTTP as Python serves it, and S3's API as moto does."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh
import boto3
import pytest
from moto.server import ThreadedMotoServer

from components.data.errors import DataError
from components.data.sources import registry
from components.data.sources.places import place, remote
from tests.components.data.sources.source_builders import EACH, parse, read, save, write_coco, write_folder

ROOT = Path(__file__).parents[4]
SECRET = "s3cr3t-signature"  # noqa: S105


class _Server(ThreadingHTTPServer):
    """Files of a folder; remembers what was asked for."""

    folder: Path
    gets: list[str]
    plain = False  # without a time of change, as some programs serve


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, **keys: Any) -> None:
        super().__init__(*arguments, **keys)

    def do_GET(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.gets.append(self.path)
        super().do_GET()

    def send_header(self, keyword: str, value: str) -> None:
        assert isinstance(self.server, _Server)
        if not (self.server.plain and keyword == "Last-Modified"):
            super().send_header(keyword, value)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[_Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    with _Server(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as service:
        service.folder, service.gets = folder, []
        threading.Thread(target=service.serve_forever, args=(0.02,), daemon=True).start()
        yield service
        service.shutdown()


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of a real S3 API, its address in the environment as a user has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        service = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        service.start()
        host, port = service.get_host_and_port()
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        yield client
        service.stop()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def _packed(server: _Server, base: Path, name: str = "animals") -> Path:
    return Path(shutil.make_archive(str(server.folder / name), "zip", base))


def _url(server: _Server, name: str) -> str:
    return f"http://127.0.0.1:{server.server_port}/{name}"


def _bucket(s3: Any, name: str, base: Path, prefix: str = "set") -> dict[str, Any]:
    """Puts a folder into a bucket; gives the keys that a `source:` needs to read it."""
    s3.create_bucket(Bucket=name)
    for path in sorted(base.rglob("*")):
        if path.is_file():
            s3.put_object(Bucket=name, Key=f"{prefix}/{path.relative_to(base).as_posix()}", Body=path.read_bytes())
    return {"path": f"s3://{name}/{prefix}", "options": {"endpoint_url": s3.meta.endpoint_url}}


# -- HTTP ------------------------------------------------------------------------------------------------------------


def test_an_archive_at_a_url_reads_as_the_folder_itself(tmp_path: Path, project: Path, server: _Server) -> None:
    plain = read(write_folder(tmp_path / "plain"))
    _packed(server, tmp_path / "plain")
    data, rows = read({"kind": "folder", "path": _url(server, "animals.zip")}, project)
    assert (data.classes, rows) == (plain[0].classes, plain[1])


def test_what_is_unchanged_is_not_downloaded_again_and_what_changed_is(
    tmp_path: Path, project: Path, server: _Server
) -> None:
    base = tmp_path / "plain"
    write_folder(base)
    path = _packed(server, base)
    source = {"kind": "folder", "path": _url(server, "animals.zip")}
    before = registry.listing(parse(source), project)
    assert len(read(source, project)[1]) == 2 * EACH
    assert registry.listing(parse(source), project) == before
    read(source, project)
    assert server.gets == ["/animals.zip"]
    # when the archive changes (in the next second: that is as exact as HTTP's times are)
    save(base / "cat" / "new.png", 99)
    _packed(server, base)
    os.utime(path, (time.time() + 2, time.time() + 2))
    # then its listing does, and it is fetched again
    assert registry.listing(parse(source), project) != before
    assert len(read(source, project)[1]) == 2 * EACH + 1
    assert server.gets == ["/animals.zip"] * 2


def test_a_server_that_says_nothing_of_changes_is_asked_each_time(
    tmp_path: Path, project: Path, server: _Server
) -> None:
    write_folder(tmp_path / "plain")
    _packed(server, tmp_path / "plain")
    server.plain = True
    source = {"kind": "folder", "path": _url(server, "animals.zip")}
    assert registry.listing(parse(source), project) != registry.listing(parse(source), project)
    assert read(source, project)[1] == read(source, project)[1]
    assert len(server.gets) == 2


def test_a_file_known_by_its_digest_needs_no_network_once_it_is_here(
    tmp_path: Path, project: Path, server: _Server
) -> None:
    write_folder(tmp_path / "plain")
    digest = hashlib.sha256(_packed(server, tmp_path / "plain").read_bytes()).hexdigest()
    source = {"kind": "folder", "path": _url(server, "animals.zip"), "sha256": digest}
    assert registry.listing(parse(source), project) == digest
    rows = read(source, project)[1]
    server.shutdown()
    server.server_close()
    assert read(source, project)[1] == rows
    assert registry.listing(parse(source), project) == digest


def test_another_file_than_the_digest_says_is_refused(tmp_path: Path, project: Path, server: _Server) -> None:
    write_folder(tmp_path / "plain")
    received = hashlib.sha256(_packed(server, tmp_path / "plain").read_bytes()).hexdigest()
    with pytest.raises(DataError) as caught:
        read({"kind": "folder", "path": _url(server, "animals.zip"), "sha256": "0" * 64}, project)
    assert all(part in str(caught.value) for part in ("animals.zip", "0" * 64, received))


def test_a_table_at_a_url_reads_images_of_a_local_folder(tmp_path: Path, project: Path, server: _Server) -> None:
    save(tmp_path / "images" / "one.png", 1)
    (server.folder / "table.csv").write_text("path,target\none.png,cat\n")
    source = {"kind": "manifest", "path": _url(server, "table.csv"), "root": str(tmp_path / "images")}
    before = registry.listing(parse(source), project)
    assert [row["id"] for row in read(source, project)[1]] == ["one.png"]
    save(tmp_path / "images" / "one.png", 2)
    assert registry.listing(parse(source), project) != before


def test_an_archive_without_a_suffix_is_told_by_its_content(tmp_path: Path, project: Path, server: _Server) -> None:
    write_folder(tmp_path / "plain")
    _packed(server, tmp_path / "plain").rename(server.folder / "download")
    rows = read({"kind": "folder", "path": _url(server, "download?id=3")}, project)[1]
    assert len(rows) == 2 * EACH


def test_what_does_not_answer_has_no_listing_and_says_so_when_read(project: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen
        source = {"kind": "folder", "path": f"http://127.0.0.1:{silent.getsockname()[1]}/animals.zip"}
        assert registry.listing(parse(source), project) is None
        with pytest.raises(remote.Unreachable, match="check the address, the network"):
            read(source, project)


def test_nobody_waits_long_for_a_silent_server(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "STALL_SECONDS", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # and never answers
        started = time.monotonic()
        source = {"kind": "folder", "path": f"http://127.0.0.1:{silent.getsockname()[1]}/animals.zip"}
        assert registry.listing(parse(source), project) is None
        assert time.monotonic() - started < 10


def test_what_is_not_there_is_named(project: Path, server: _Server) -> None:
    source = {"kind": "folder", "path": _url(server, "nothing.zip")}
    assert registry.listing(parse(source), project) is None
    with pytest.raises(remote.Unreachable, match=r"nothing\.zip: expected a file or folder"):
        read(source, project)


# -- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place_", ["query", "password", "fragment"])
@pytest.mark.parametrize("fault", ["missing", "silent", "not an archive", "digest"])
def test_secrets_of_a_url_are_in_no_message_and_no_file(
    project: Path, server: _Server, place_: str, fault: str
) -> None:
    host = f"127.0.0.1:{server.server_port if fault != 'silent' else 9}"
    file = "absent.zip" if fault == "missing" else "broken.zip"
    (server.folder / "broken.zip").write_bytes(b"no zip")
    path = {
        "query": f"http://{host}/{file}?X-Amz-Signature={SECRET}&Expires=1",
        "password": f"http://someone:{SECRET}@{host}/{file}",
        "fragment": f"http://{host}/{file}#{SECRET}",
    }[place_]
    source = {"kind": "folder", "path": path} | ({"sha256": "0" * 64} if fault == "digest" else {})
    with pytest.raises(DataError) as caught:
        read(source, project)
    assert file in str(caught.value)
    said = ["".join(traceback.format_exception(caught.value))]
    said += [item.read_text(errors="replace") for item in project.rglob("*") if item.is_file()]
    said += [str(item) for item in project.rglob("*")]
    assert not [text for text in said if SECRET in text or "someone" in text]


def test_a_secret_among_the_options_is_refused_and_not_repeated(project: Path) -> None:
    source = {"kind": "folder", "path": "s3://some-bucket/x", "options": {"secret": SECRET, "key": "k"}}
    with pytest.raises(DataError, match=r"source\.options\.key: expected secrets in the environment") as caught:
        read(source, project)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("https://user:pass@host/a.zip?sig=1#x", "https://host/a.zip"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("zip://a/b::https://u:p@host/x.zip?q=1", "zip://a/b::https://host/x.zip"),
        ("ssh://u:p@host/home/a@b.zip", "ssh://host/home/a@b.zip"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, says: str) -> None:
    assert remote.shown(address) == says


# -- S3 --------------------------------------------------------------------------------------------------------------


def test_a_folder_in_s3_reads_as_the_folder_itself(tmp_path: Path, project: Path, s3: Any) -> None:
    plain = read(write_folder(tmp_path / "plain"))
    data, rows = read({"kind": "folder", **_bucket(s3, "folder-bucket", tmp_path / "plain")}, project)
    assert (data.classes, rows) == (plain[0].classes, plain[1])


def test_a_file_in_s3_is_read_with_what_lies_beside_it_in_an_archive(tmp_path: Path, project: Path, s3: Any) -> None:
    plain = read(write_coco(tmp_path / "plain"))
    shutil.make_archive(str(tmp_path / "up" / "cars"), "gztar", tmp_path / "plain")
    keys = _bucket(s3, "archive-bucket", tmp_path / "up")
    rows = read({"kind": "coco", **keys, "path": f"{keys['path']}/cars.tar.gz"}, project)[1]
    assert rows == plain[1]


def test_only_what_changed_in_s3_is_fetched_again(
    tmp_path: Path, project: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    write_folder(tmp_path / "plain")
    source = {"kind": "folder", **_bucket(s3, "changing-bucket", tmp_path / "plain")}
    before = registry.listing(parse(source), project)
    read(source, project)
    assert registry.listing(parse(source), project) == before
    fetched: list[str] = []
    original = s3fs.S3FileSystem._get_file

    async def counted(self: Any, rpath: str, *arguments: Any, **keys: Any) -> Any:
        fetched.append(rpath)
        return await original(self, rpath, *arguments, **keys)

    monkeypatch.setattr(s3fs.S3FileSystem, "_get_file", counted)
    # given one object more, one other and one less
    s3.put_object(Bucket="changing-bucket", Key="set/cat/new.png", Body=save(tmp_path / "new.png", 50).read_bytes())
    s3.put_object(Bucket="changing-bucket", Key="set/cat/00.png", Body=save(tmp_path / "new.png", 51).read_bytes())
    s3.delete_object(Bucket="changing-bucket", Key="set/dog/01.png")
    assert registry.listing(parse(source), project) != before
    rows = {row["id"]: row["image"] for row in read(source, project)[1]}
    assert sorted(fetched) == ["changing-bucket/set/cat/00.png", "changing-bucket/set/cat/new.png"]
    assert "dog/01.png" not in rows and rows["cat/00.png"] == (tmp_path / "new.png").read_bytes()


@pytest.mark.parametrize("key", ["set/../../evil.png", "set/cat/../../../evil.png"])
def test_a_name_in_s3_cannot_lead_out_of_the_folder(tmp_path: Path, project: Path, s3: Any, key: str) -> None:
    bucket = f"evil-bucket-{len(key)}"
    write_folder(tmp_path / "plain")
    source = {"kind": "folder", **_bucket(s3, bucket, tmp_path / "plain")}
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    with pytest.raises(DataError, match="expected names inside the folder"):
        read(source, project)
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.parametrize("what", ["bucket", "prefix"])
def test_what_is_not_in_s3_has_no_listing(tmp_path: Path, project: Path, s3: Any, what: str) -> None:
    write_folder(tmp_path / "plain")
    keys = _bucket(s3, f"absent-{what}", tmp_path / "plain")
    path = "s3://no-such-bucket-here/x" if what == "bucket" else f"{keys['path']}/nothing"
    source = {"kind": "folder", **keys, "path": path}
    assert registry.listing(parse(source), project) is None
    with pytest.raises(remote.Unreachable, match="expected a file or folder"):
        read(source, project)


def test_a_killed_download_goes_on_with_what_has_come(tmp_path: Path, project: Path, s3: Any) -> None:
    # given a process that is killed between two objects
    base = tmp_path / "plain" / "cat"
    for number in range(120):
        save(base / f"{number:03d}.png", number)
    keys = _bucket(s3, "killed-bucket", tmp_path / "plain")
    source = {"kind": "folder", **keys}
    script = f"""
        from pathlib import Path
        from components.config import FolderSource
        from components.data.sources.places import remote
        remote._AT_ONCE = 4
        source = FolderSource(kind="folder", path={keys["path"]!r}, options={keys["options"]!r})
        remote.fetch(source, Path({str(project)!r}))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT)
    downloads = project / ".convoy" / "data" / "downloads"

    def came() -> dict[str, int]:
        return {
            item.name: item.stat().st_ino for item in downloads.glob(".*.partial/*") if not item.name.endswith(".part")
        }

    deadline = time.monotonic() + 60
    while len(came()) < 10:
        assert time.monotonic() < deadline and process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = came()
    assert 10 <= len(kept) < 120
    assert [item for item in downloads.iterdir() if not item.name.startswith(".")] == []
    # when it is read again, then all of it is there, and what had come has not come twice
    assert len(read(source, project)[1]) == 120
    inodes = {item.stat().st_ino for item in downloads.glob("*/content/cat/*.png")}
    assert set(kept.values()) <= inodes
    assert not list(downloads.glob(".*.partial"))


def test_a_file_that_went_missing_here_is_fetched_again(tmp_path: Path, project: Path, s3: Any) -> None:
    write_folder(tmp_path / "plain")
    source = {"kind": "folder", **_bucket(s3, "missing-bucket", tmp_path / "plain")}
    rows = read(source, project)[1]
    next(project.glob(".convoy/data/downloads/*/content/cat/00.png")).unlink()
    assert read(source, project)[1] == rows


# -- SSH -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The port of an SSH server that a key opens, and the options that name the key and the server's own."""
    keys = tmp_path / "keys"
    keys.mkdir()
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    user.write_private_key(keys / "id")
    user.write_public_key(keys / "id.pub")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def serve() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=str(keys / "id.pub"), sftp_factory=True
        )

    service = asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
    port = service.get_port()
    (keys / "known").write_text(f"[127.0.0.1]:{port} {host.export_public_key().decode()}")
    yield port, {"client_keys": str(keys / "id"), "known_hosts": str(keys / "known")}
    loop.call_soon_threadsafe(service.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def test_a_folder_over_ssh_reads_as_the_folder_itself(
    tmp_path: Path, project: Path, ssh: tuple[int, dict[str, str]]
) -> None:
    port, options = ssh
    plain = read(write_folder(tmp_path / "plain"))
    source = {"kind": "folder", "path": f"ssh://me@127.0.0.1:{port}{tmp_path}/plain", "options": options}
    before = registry.listing(parse(source), project)
    assert read(source, project)[1] == plain[1]
    assert registry.listing(parse(source), project) == before
    save(tmp_path / "plain" / "cat" / "new.png", 60)
    assert registry.listing(parse(source), project) != before
    assert len(read(source, project)[1]) == len(plain[1]) + 1


def test_a_refused_password_is_not_repeated(project: Path, ssh: tuple[int, dict[str, str]]) -> None:
    port, options = ssh
    source = {
        "kind": "folder",
        "path": f"ssh://me:{SECRET}@127.0.0.1:{port}/x",
        "options": {"known_hosts": options["known_hosts"]},
    }
    with pytest.raises(remote.Unreachable, match=r"ssh://127\.0\.0\.1:.*credentials") as caught:
        read(source, project)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


# -- addresses that cannot be meant ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "package", "says"),
    [
        ("s3://some-bucket/x", "s3fs", "pip install -c requirements.lock -e '.[s3]'"),
        ("ssh://host/x", "sshfs", "pip install -c requirements.lock -e '.[ssh]'"),
        ("gs://some-bucket/x", "gcsfs", "gcsfs"),
    ],
)
def test_a_missing_package_is_named(project: Path, path: str, package: str, says: str) -> None:
    script = f"""
        import sys
        sys.modules[{package!r}] = None  # what `import` takes for not installed
        from pathlib import Path
        from components.config import FolderSource
        from components.data.errors import DataError
        from components.data.sources.places import place
        try:
            place.local(FolderSource(kind="folder", path={path!r}), Path({str(project)!r}))
        except DataError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert says in run.stdout and path in run.stdout


def test_an_unknown_protocol_is_refused_even_when_asked_for_its_listing(project: Path) -> None:
    source = parse({"kind": "folder", "path": "carrier-pigeon://loft/x"})
    for question in (place.local, registry.listing):
        with pytest.raises(DataError, match="expected a path or a URL that fsspec knows"):
            question(source, project)
