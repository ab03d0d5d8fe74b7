"""Where sources lie: paths, digests of files and folders, and whether anybody has touched them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from components.data.errors import DataError
from components.data.sources import registry
from components.data.sources.places import place
from tests.components.data.sources.source_builders import WRITERS, parse, read, save, write_folder


def _source(path: Path | str, **keys: Any) -> Any:
    return parse({"kind": "folder", "path": str(path), **keys})


def test_a_relative_path_is_the_projects_and_a_file_url_is_a_path(tmp_path: Path) -> None:
    write_folder(tmp_path / "own animals")
    assert place.local(_source("own animals"), tmp_path) == tmp_path / "own animals"
    address = (tmp_path / "own animals").as_uri()
    assert "%20" in address
    assert place.local(_source(address), Path("/nowhere")) == tmp_path / "own animals"


def test_a_path_that_is_not_there_is_named_and_has_no_listing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source\.path: expected a file or folder.*absent"):
        place.local(_source("absent"), tmp_path)
    assert registry.listing(_source("absent"), tmp_path) is None


# -- digests ---------------------------------------------------------------------------------------------------------


def _summed(folder: Path, *options: str) -> Path:
    """A list of all files' digests, by GNU's own program."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    made = subprocess.run(["sha256sum", *options, *names], cwd=folder, capture_output=True, check=True)
    (folder / "SHA256SUMS").write_bytes(made.stdout)
    return folder


@pytest.mark.parametrize("options", [(), ("--binary",)])
def test_the_list_that_sha256sum_writes_is_checked(tmp_path: Path, options: tuple[str, ...]) -> None:
    base = tmp_path / "animals"
    write_folder(base)
    save(base / "cat" / "a name with  spaces.png", 40)
    save(base / "cat" / "back\\slash.png", 41)  # which it escapes
    _summed(base, *options)
    assert place.local(_source(base, checksums="SHA256SUMS"), tmp_path) == base


@pytest.mark.parametrize("damage", ["changed", "missing", "outside", "malformed", "empty", "no list"])
def test_a_file_that_is_not_as_listed_is_named(tmp_path: Path, damage: str) -> None:
    base = tmp_path / "animals"
    write_folder(base)
    sums = _summed(base) / "SHA256SUMS"
    before = hashlib.sha256((base / "dog" / "03.png").read_bytes()).hexdigest()
    if damage == "changed":
        (base / "dog" / "03.png").write_bytes(b"other")
        says = ["dog/03.png", before, hashlib.sha256(b"other").hexdigest()]
    elif damage == "missing":
        (base / "dog" / "03.png").unlink()
        says = ["dog/03.png", "received none"]
    elif damage == "outside":
        (tmp_path / "secret").write_bytes(b"x")
        sums.write_text(f"{'0' * 64}  ../secret\n")
        says = ["../secret", "expected a path below"]
    elif damage == "malformed":
        sums.write_text(sums.read_text() + "what is this\n")
        says = ["line 13", "what is this"]
    elif damage == "empty":
        sums.write_text("\n")
        says = ["empty list"]
    else:
        sums.unlink()
        says = ["source.checksums", "received none"]
    with pytest.raises(DataError) as caught:
        place.local(_source(base, checksums="SHA256SUMS"), tmp_path)
    assert all(part in str(caught.value) for part in says)


def test_a_digest_is_of_a_file_and_never_of_a_folder(tmp_path: Path) -> None:
    write_folder(tmp_path / "animals")
    with pytest.raises(DataError, match=r"source\.sha256: expected a file.*source\.checksums"):
        place.local(_source("animals", sha256="0" * 64), tmp_path)


def test_a_file_is_compared_with_its_digest(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,target\n")
    right = hashlib.sha256(table.read_bytes()).hexdigest()
    keys = {"kind": "manifest", "path": str(table)}
    assert place.local(parse({**keys, "sha256": right}), tmp_path) == table
    with pytest.raises(DataError, match=f"{table}: expected SHA-256 {'1' * 64}.*received {right}"):
        place.local(parse({**keys, "sha256": "1" * 64}), tmp_path)


# -- listings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_a_listing_changes_with_any_image_and_only_then(tmp_path: Path, kind: str) -> None:
    source = parse(WRITERS[kind](tmp_path / "set"))
    before = registry.listing(source, tmp_path)
    assert registry.listing(source, tmp_path) == before is not None
    files = [path for path in (tmp_path / "set").rglob("*") if path.is_file() and path.suffix not in (".txt", ".lock")]
    for path in files:
        known = path.stat()
        os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns + 10**9))
        assert registry.listing(source, tmp_path) != before, path
        os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    assert registry.listing(source, tmp_path) == before


@pytest.mark.parametrize("kind", ["manifest", "coco"])
def test_images_that_lie_elsewhere_are_listed_too(tmp_path: Path, kind: str) -> None:
    source = WRITERS[kind](tmp_path / "set")
    (tmp_path / "set" / "images").rename(tmp_path / "images")
    key = {"root": str(tmp_path)} if kind == "manifest" else {"images": str(tmp_path / "images")}
    assert read({**source, **key})[1]
    before = registry.listing(parse({**source, **key}), tmp_path)
    image = next((tmp_path / "images").iterdir())
    save(image, 77, (20, 20))
    assert registry.listing(parse({**source, **key}), tmp_path) != before


def test_what_is_inside_the_package_has_no_listing(tmp_path: Path) -> None:
    assert registry.listing(parse({"kind": "digits"}), tmp_path) is None


def test_fifty_thousand_files_would_be_listed_in_far_less_than_five_seconds(tmp_path: Path) -> None:
    for label in range(5):
        folder = tmp_path / "set" / f"class-{label:02d}"
        folder.mkdir(parents=True)
        for number in range(1000):
            (folder / f"{number:04d}.png").touch()
    started = time.thread_time()  # of this thread: others of the test run may be at work
    assert registry.listing(_source(tmp_path / "set"), tmp_path) is not None
    assert time.thread_time() - started < 0.25  # a tenth of the files in a twentieth of the time
