"""Archives: every form unpacks to the same files, and what could do harm is refused before anything is left behind."""

from __future__ import annotations

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import textwrap
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.data.errors import DataError
from components.data.sources.places import archive, place
from tests.components.data.sources.source_builders import parse, read, write_folder

ROOT = Path(__file__).parents[4]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def _local(path: Path, project: Path, **keys: object) -> Path:
    return place.local(parse({"kind": "folder", "path": str(path), **keys}), project)


def _nothing_left(project: Path, outside: Path) -> bool:
    """Nothing unpacked, nothing beside it, nothing outside."""
    unpacked = project / ".convoy" / "data" / "downloads" / "unpacked"
    left = [path.name for path in unpacked.iterdir()] if unpacked.exists() else []
    return all(name.endswith(".lock") for name in left) and not (outside / "evil.png").exists()


@pytest.mark.parametrize(
    ("form", "suffix"), [("zip", "zip"), ("tar", "tar"), ("gztar", "tar.gz"), ("bztar", "tar.bz2"), ("xztar", "tar.xz")]
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_every_form_reads_as_the_folder_itself(
    tmp_path: Path, project: Path, form: str, suffix: str, wrapped: bool
) -> None:
    plain = read(write_folder(tmp_path / "plain" / "animals"))
    shutil.make_archive(
        str(tmp_path / "packed"), form, tmp_path / "plain" if wrapped else tmp_path / "plain" / "animals"
    )
    data, rows = read({"kind": "folder", "path": str(tmp_path / f"packed.{suffix}")}, project)
    assert (data.classes, rows) == (plain[0].classes, plain[1])


def test_an_archive_is_unpacked_once_for_its_content(tmp_path: Path, project: Path) -> None:
    write_folder(tmp_path / "plain")
    path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "plain"))
    first = _local(path, project)
    before = first.stat().st_mtime_ns, first.stat().st_ino
    copy = shutil.copy(path, tmp_path / "copy.zip")
    assert _local(Path(copy), project) == first
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == before
    assert first.name == place.file_digest(path)


def test_two_at_once_unpack_once(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "plain")
    path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "plain"))
    calls: list[Path] = []
    original = archive.unpack

    def slow(path: Path, folder: Path) -> None:
        calls.append(path)
        time.sleep(0.3)
        original(path, folder)

    monkeypatch.setattr(archive, "unpack", slow)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: _local(path, project), range(2)))
    assert found[0] == found[1] and len(calls) == 1


# -- what is refused -------------------------------------------------------------------------------------------------


def _tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _info(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def _zip(path: Path, *members: tuple[zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for info, content in members:
            file.writestr(info, content)
    return path


def _zip_link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


def _zip_pipe(name: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFIFO | 0o644) << 16
    return info, b""


EVIL: dict[str, Callable[[Path], Path]] = {
    "tar, name above": lambda at: _tar(at / "a.tar", (_info("../evil.png"), b"x")),
    "tar, name inside that climbs": lambda at: _tar(at / "a.tar", (_info("a/../../evil.png"), b"x")),
    "tar, absolute name": lambda at: _tar(at / "a.tar", (_info(str(at / "evil.png")), b"x")),
    "tar, link above": lambda at: _tar(at / "a.tar", (_info("link.png", tarfile.SYMTYPE, "../../secret"), b"")),
    "tar, absolute link": lambda at: _tar(at / "a.tar", (_info("link.png", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "tar, hard link above": lambda at: _tar(at / "a.tar", (_info("link.png", tarfile.LNKTYPE, "../../secret"), b"")),
    "tar, name through a link": lambda at: _tar(
        at / "a.tar", (_info("d", tarfile.SYMTYPE, ".."), b""), (_info("d/evil.png"), b"x")
    ),
    "tar, device": lambda at: _tar(at / "a.tar", (_info("null", tarfile.CHRTYPE), b"")),
    "tar, pipe": lambda at: _tar(at / "a.tar", (_info("pipe", tarfile.FIFOTYPE), b"")),
    "zip, name above": lambda at: _zip(at / "a.zip", (zipfile.ZipInfo("../evil.png"), b"x")),
    "zip, name above for Windows": lambda at: _zip(at / "a.zip", (zipfile.ZipInfo("..\\evil.png"), b"x")),
    "zip, absolute name": lambda at: _zip(at / "a.zip", (zipfile.ZipInfo(str(at / "evil.png")), b"x")),
    "zip, link above": lambda at: _zip(at / "a.zip", _zip_link("link.png", "../../secret")),
    "zip, absolute link": lambda at: _zip(at / "a.zip", _zip_link("link.png", "/etc/passwd")),
    "zip, name through a link": lambda at: _zip(
        at / "a.zip",
        _zip_link("d", "/etc"),
        (zipfile.ZipInfo("d/evil.png"), b"x"),
    ),
    "zip, pipe": lambda at: _zip(at / "a.zip", _zip_pipe("pipe")),
}


@pytest.mark.parametrize("kind", EVIL)
def test_what_could_lead_out_of_the_folder_is_refused_and_nothing_is_left(
    tmp_path: Path, project: Path, kind: str
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    path = EVIL[kind](tmp_path)
    with pytest.raises(DataError) as caught:
        _local(path, project)
    assert str(path) in str(caught.value)
    assert _nothing_left(project, tmp_path)


def test_links_within_an_archive_become_files(tmp_path: Path, project: Path) -> None:
    path = _tar(
        tmp_path / "a.tar",
        (_info("cat/soft.png", tarfile.SYMTYPE, "../dog/one.png"), b""),
        (_info("dog/one.png"), b"content"),
        (_info("cat/hard.png", tarfile.LNKTYPE, "dog/one.png"), b""),
        (_info("cat/again.png", tarfile.SYMTYPE, "soft.png"), b""),
    )
    folder = _local(path, project)
    assert not any(item.is_symlink() for item in folder.rglob("*"))
    assert {item.name: item.read_bytes() for item in folder.rglob("*.png")} == dict.fromkeys(
        ("soft.png", "hard.png", "again.png", "one.png"), b"content"
    )


def test_links_in_a_circle_are_refused(tmp_path: Path, project: Path) -> None:
    path = _tar(
        tmp_path / "a.tar",
        (_info("one.png", tarfile.SYMTYPE, "two.png"), b""),
        (_info("two.png", tarfile.SYMTYPE, "one.png"), b""),
        (_info("three.png"), b"x"),
    )
    with pytest.raises(DataError, match="expected a link to a file in the archive"):
        _local(path, project)


@pytest.mark.parametrize("form", ["zip", "tar.gz", "tar.xz", "header"])
def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    # given little that becomes much (the limit is lowered, so that the test writes megabytes instead of gigabytes)
    monkeypatch.setattr(archive, "HARMLESS", 10 * 2**20)
    zeros = bytes(40 * 2**20)
    if form == "zip":
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("zero.png", zeros)
    else:
        # A header that asks for 40 MB, and is read whole by tarfile before it says anything.
        info = _info("zero.png")
        if form == "header":
            info.pax_headers = {"comment": zeros.decode()}
        path = tmp_path / f"a.{'tar.gz' if form == 'header' else form}"
        with tarfile.open(path, "w:xz" if form == "tar.xz" else "w:gz", format=tarfile.PAX_FORMAT) as tar:
            info.size = 0 if form == "header" else len(zeros)
            tar.addfile(info, io.BytesIO(b"" if form == "header" else zeros))
    assert path.stat().st_size < 100_000
    # when it is read, then it is refused by name and nothing is left of it
    with pytest.raises(DataError, match=r"header of|times its size") as caught:
        _local(path, project)
    assert str(path) in str(caught.value)
    assert _nothing_left(project, tmp_path)


def test_an_honest_archive_may_shrink_much_as_long_as_it_is_small(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "masks.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("mask.png", bytes(20 * 2**20))
    assert 20 * 2**20 / path.stat().st_size > archive.RATIO
    assert (_local(path, project) / "mask.png").stat().st_size == 20 * 2**20


def test_too_many_entries_are_refused(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ENTRIES", 5)
    path = _tar(tmp_path / "a.tar", *[(_info(f"{number}.png"), b"") for number in range(6)])
    with pytest.raises(DataError, match="at most 5 entries"):
        _local(path, project)
    assert _nothing_left(project, tmp_path)


def test_more_than_the_disk_holds_is_refused(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _tar(tmp_path / "a.tar", (_info("one.png"), bytes(5000)))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4000))
    with pytest.raises(DataError, match="4,000 bytes that are free"):
        _local(path, project)


@pytest.mark.parametrize(
    "damage",
    [
        "zip cut",
        "tar.gz cut",
        "tar.bz2 cut",
        "tar.xz cut",
        "tar cut",
        "flipped",
        "no archive",
        "empty",
        "password",
        "twice",
        "file and folder",
    ],
)
def test_a_damaged_archive_is_refused_by_name(tmp_path: Path, project: Path, damage: str) -> None:
    form = damage.split(maxsplit=1)[0] if damage.endswith("cut") else "zip"
    path = tmp_path / f"a.{form}"
    content = os.urandom(30_000)
    if form == "zip":
        _zip(path, (zipfile.ZipInfo("one.png"), content))
    else:
        with tarfile.open(path, f"w:{form.removeprefix('tar').removeprefix('.')}") as tar:
            info = _info("one.png")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    whole = path.read_bytes()
    if damage.endswith("cut"):
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "flipped":
        path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    elif damage == "no archive":
        path.write_bytes(b"<html>404</html>")
    elif damage == "empty":
        _zip(path)
    elif damage == "password":
        # both flags that say so: in the entry itself and in the directory at the end
        marked = bytearray(whole)
        marked[6] |= 1
        marked[whole.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(bytes(marked))
    elif damage == "twice":
        path = _tar(tmp_path / "a.tar", (_info("one.png"), b"x"), (_info("one.png"), b"y"))
    else:
        path = _tar(tmp_path / "a.tar", (_info("one"), b"x"), (_info("one/two.png"), b"y"))
    with pytest.raises(DataError, match="expected") as caught:
        _local(path, project)
    assert str(path) in str(caught.value)
    assert _nothing_left(project, tmp_path)


def test_what_macos_adds_is_no_class(tmp_path: Path, project: Path) -> None:
    base = tmp_path / "plain"
    write_folder(base)
    (base / "__MACOSX" / "cat").mkdir(parents=True)
    (base / "__MACOSX" / "cat" / "._00.png").write_bytes(b"x")
    path = shutil.make_archive(str(tmp_path / "a"), "zip", base)
    assert read({"kind": "folder", "path": path}, project)[0].classes == ("cat", "dog")


def test_a_killed_unpacking_leaves_nothing_that_is_used(tmp_path: Path, project: Path) -> None:
    # given a process that is killed while it unpacks
    base = tmp_path / "plain" / "cat"
    base.mkdir(parents=True)
    for number in range(3000):
        (base / f"{number:04d}.png").write_bytes(os.urandom(2000))
    path = Path(shutil.make_archive(str(tmp_path / "a"), "gztar", tmp_path / "plain"))
    script = f"""
        from pathlib import Path
        from components.data.sources.places import archive
        from components.data.sources.places import place
        path = Path({str(path)!r})
        archive.unpacked(path, Path({str(project)!r}), place.file_digest(path))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT)
    unpacked = project / ".convoy" / "data" / "downloads" / "unpacked"
    deadline = time.monotonic() + 60
    while not any(unpacked.glob(".*/cat/0100.png")) and not any(unpacked.glob(".*/cat/??00.png")):
        assert time.monotonic() < deadline and process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [item.name for item in unpacked.iterdir() if not item.name.startswith(".")] == []
    # when the archive is read again, then all of it is there and the rest is gone
    folder = archive.unpacked(path, project, place.file_digest(path))
    assert len(list(folder.rglob("*.png"))) == 3000
    assert [item.name for item in unpacked.iterdir() if item.is_dir()] == [folder.name]
