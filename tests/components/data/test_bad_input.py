"""Malformed input of every kind: a defined error that names the file, nothing half-written, an exit code that says so.

Each case is a function that spoils a good source. The stages are run as DVC runs them, in order, until one refuses.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from components.config import ConfigurationError
from components.data import places
from components.data.errors import DataError
from components.data.sources.places import archive
from components.data.stages import stages
from tests.components.data.sources import source_builders as good

ROOT = Path(__file__).parents[3]
Entry = dict[str, Any]
IMAGE = {"height": 10, "width": 12, "channels": 3}


@dataclass(frozen=True)
class Case:
    """One thing that is wrong: how to make it, which stage refuses it, and what it says (a regular expression)."""

    name: str
    spoil: Callable[[Path], Entry]
    stage: str
    says: str


# -- folders ---------------------------------------------------------------------------------------------------------


def _pictures(base: Path, each: int = 20, under: str = "") -> Entry:
    for number in range(2 * each):
        good.save(
            base / under / good.LABELS[number % 2] / f"{number:03d}.png", number + 1000 * len(under), label=number % 2
        )
    return {"source": {"kind": "folder", "path": str(base)}}


def _with_file(name: str, content: bytes) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        entry = _pictures(base)
        (base / name).write_bytes(content)
        return entry

    return spoil


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


NOISE = Image.fromarray(good.pixels(77))
JPEG = _encoded(NOISE, "JPEG")
PNG = _encoded(NOISE, "PNG")
# A header that asks for ten gigabytes of pixels, in seventy bytes.
BOMB = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0" * 100))
    + _chunk(b"IEND", b"")
)


def _loose(base: Path) -> Entry:
    entry = _pictures(base)
    shutil.copy(base / "cat" / "000.png", base / "loose.png")
    return entry


def _link_out(base: Path) -> Entry:
    entry = _pictures(base)
    (base.parent / "secret.png").write_bytes(PNG)
    (base / "cat" / "link.png").symlink_to(base.parent / "secret.png")
    return entry


def _link_loop(base: Path) -> Entry:
    entry = _pictures(base)
    (base / "cat" / "again").symlink_to(base)
    return entry


def _link_to_itself(base: Path) -> Entry:
    entry = _pictures(base)
    (base / "cat" / "loop.png").symlink_to(base / "cat" / "loop.png")
    return entry


def _pipe(base: Path) -> Entry:
    entry = _pictures(base)
    os.mkfifo(base / "cat" / "pipe.png")
    return entry


def _folder_named_as_a_picture(base: Path) -> Entry:
    entry = _pictures(base)
    (base / "cat" / "album.png").mkdir()
    return entry


def _not_utf8(base: Path) -> Entry:
    entry = _pictures(base)
    Path(os.fsdecode(os.fsencode(base / "cat") + b"/caf\xe9.png")).write_bytes(PNG)
    return entry


def _empty_class(base: Path) -> Entry:
    entry = _pictures(base)
    (base / "ufo").mkdir()
    return entry


def _one_of_a_class(base: Path) -> Entry:
    entry = _pictures(base)
    good.save(base / "ufo" / "only.png", 999)
    return entry


def _absent(base: Path) -> Entry:
    return {"source": {"kind": "folder", "path": str(base / "nowhere")}}


def _empty(base: Path) -> Entry:
    base.mkdir()
    return {"source": {"kind": "folder", "path": str(base)}}


def _other_size(base: Path) -> Entry:
    entry = _pictures(base)
    good.save(base / "cat" / "large.png", 7, size=(31, 17))
    return entry


def _transparent(base: Path) -> Entry:
    entry = _pictures(base)
    NOISE.convert("RGBA").save(base / "cat" / "glass.png")
    return entry


def _in_two_splits(base: Path) -> Entry:
    _pictures(base, under="train")
    entry = _pictures(base, under="test")
    shutil.copy(base / "train" / "cat" / "000.png", base / "test" / "cat" / "copy.png")
    return entry


def _class_without_test(base: Path) -> Entry:
    entry = _pictures(base, under="train")
    for number in range(20):
        good.save(base / "test" / "cat" / f"{number}.png", number + 500)
    return entry


def _undeclared_class(base: Path) -> Entry:
    return {**_pictures(base), "classes": ["cat"]}


# -- manifests -------------------------------------------------------------------------------------------------------


def _manifest(lines: Callable[[list[str]], list[str]], **source: Any) -> Callable[[Path], Entry]:
    """A good manifest of forty pictures, its lines (the heading first) changed."""

    def spoil(base: Path) -> Entry:
        base.mkdir()
        table = ["path,target,split,group_site,taken"]
        for number in range(40):
            good.save(base / f"{number:02d}.png", number, label=number % 2)
            split = ("train", "train", "validation", "test")[number // 2 % 4]
            table.append(
                f"{number:02d}.png,{good.LABELS[number % 2]},{split},site-{number % 3},2024-01-{number % 28 + 1:02d}"
            )
        (base / "manifest.csv").write_text("\n".join(lines(table)) + "\n", encoding="utf-8")
        return {"source": {"kind": "manifest", "path": str(base / "manifest.csv"), **source}}

    return spoil


def _row(number: int, text: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [*lines[:number], text, *lines[number + 1 :]]


def _binary_manifest(base: Path) -> Entry:
    base.mkdir()
    (base / "manifest.csv").write_bytes(bytes(range(128, 256)) * 4)
    return {"source": {"kind": "manifest", "path": str(base / "manifest.csv")}}


def _torn_parquet(base: Path) -> Entry:
    base.mkdir()
    (base / "manifest.parquet").write_bytes(b"PAR1 and nothing after it")
    return {"source": {"kind": "manifest", "path": str(base / "manifest.parquet")}}


def _wrong_checksum(base: Path) -> Entry:
    entry = _manifest(lambda lines: lines)(base)
    entry["source"]["sha256"] = "0" * 64
    return entry


def _wrong_checksum_inside(base: Path) -> Entry:
    entry = _pictures(base)
    (base / "SHA256SUMS").write_text(f"{'0' * 64}  cat/000.png\n", encoding="utf-8")
    entry["source"]["checksums"] = "SHA256SUMS"
    return entry


# -- archives --------------------------------------------------------------------------------------------------------


def _zip(name: str, content: bytes, packing: int = zipfile.ZIP_STORED) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        base.mkdir()
        with zipfile.ZipFile(base / "images.zip", "w", packing) as archive:
            archive.writestr("cat/0.png", PNG)
            archive.writestr(name, content)
        return {"source": {"kind": "folder", "path": str(base / "images.zip")}}

    return spoil


def _torn_zip(base: Path) -> Entry:
    entry = _zip("dog/0.png", PNG)(base)
    path = base / "images.zip"
    path.write_bytes(path.read_bytes()[:-30])
    return entry


def _tar(member: tarfile.TarInfo) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        base.mkdir()
        with tarfile.open(base / "images.tar.gz", "w:gz") as archive:
            archive.addfile(member)
        return {"source": {"kind": "folder", "path": str(base / "images.tar.gz")}}

    return spoil


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


# -- annotations and arrays --------------------------------------------------------------------------------------------


def _coco(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        content = good.coco_content(base)
        change(content)
        (base / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
        return {"source": {"kind": "coco", "path": str(base)}}

    return spoil


def _coco_text(text: str) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        good.write_coco(base)
        (base / "annotations.json").write_text(text, encoding="utf-8")
        return {"source": {"kind": "coco", "path": str(base)}}

    return spoil


def _coco_without_a_file(base: Path) -> Entry:
    source = good.write_coco(base)
    (base / "images" / "003.png").unlink()
    return {"source": source}


def _voc(text: str) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        source = good.write_voc(base)
        (base / "Annotations" / "2007_000002.xml").write_text(text, encoding="utf-8")
        return {"source": source}

    return spoil


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><annotation>&c;</annotation>'
)


def _idx(name: str, content: bytes) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        source = good.write_idx(base)
        (base / name).write_bytes(content)
        return {"source": source}

    return spoil


def _arrays(**changed: Any) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        base.mkdir()
        for name, array in {**good.arrays_content(), **changed}.items():
            np.save(base / f"{name}.npy", array, allow_pickle=True)
        return {"source": {"kind": "arrays", "path": str(base)}}

    return spoil


def _not_a_hugging_face_data_set(base: Path) -> Entry:
    base.mkdir()
    (base / "readme.txt").write_text("nothing here", encoding="utf-8")
    return {"source": {"kind": "huggingface", "path": str(base)}}


def _masks(mask: np.ndarray) -> Callable[[Path], Entry]:
    """Forty pictures with a mask each, one of them another's."""

    def spoil(base: Path) -> Entry:
        base.mkdir()
        lines = ["path,mask"]
        for number in range(40):
            good.save(base / f"{number:02d}.png", number)
            fine = np.zeros((10, 12), np.uint8)
            fine[:4] = number % 2 + 1
            Image.fromarray(mask if number == 9 else fine).save(base / f"{number:02d}-mask.png")
            lines.append(f"{number:02d}.png,{number:02d}-mask.png")
        (base / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")
        names = ["background", "cat", "dog"]
        source = {"kind": "manifest", "path": str(base / "manifest.csv"), "mask": "mask", "names": names}
        return {"task": "segmentation", "source": source}

    return spoil


def _expectations(text: str | None) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        if text is not None:
            (base.parent / "own.yaml").write_text(text, encoding="utf-8")
        return {**_pictures(base), "checks": {"expectations": "own.yaml"}}

    return spoil


def _verdicts(text: str) -> Callable[[Path], Entry]:
    def spoil(base: Path) -> Entry:
        (base.parent / "reviewed.csv").write_text(text, encoding="utf-8")
        return {**_pictures(base), "checks": {"outliers": "review", "reviewed": "reviewed.csv"}}

    return spoil


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Change `a.0.b` in COCO's content."""

    def change(content: Any) -> None:
        *way, last = path.split(".")
        for part in way:
            content = content[int(part) if part.isdigit() else part]
        content[last] = value

    return change


CASES = [
    Case("a truncated JPEG", _with_file("cat/torn.jpg", JPEG[: len(JPEG) // 2]), "validate", r"cat/torn.jpg"),
    Case("a truncated PNG", _with_file("cat/torn.png", PNG[: len(PNG) // 2]), "validate", r"decoded.*cat/torn.png"),
    Case("an empty file", _with_file("cat/empty.png", b""), "validate", r"decoded.*cat/empty.png"),
    Case("text that is named as a picture", _with_file("cat/text.png", b"hello"), "validate", r"decoded.*cat/text.png"),
    Case("a decompression bomb", _with_file("cat/bomb.png", BOMB), "validate", r"decoded.*cat/bomb.png"),
    Case("another size", _other_size, "validate", r"12 pixels wide.*image\.fit.*cat/large.png"),
    Case("transparency", _transparent, "validate", r"mode RGB.*cat/glass.png"),
    Case("a picture in two splits", _in_two_splits, "validate", r"in two splits.*(train/cat/000|test/cat/copy).png"),
    Case("a class without a test sample", _class_without_test, "validate", r"every class.*test/dog \(0\)"),
    Case("a class of one sample", _one_of_a_class, "validate", r"every class is in every split.*ufo"),
    Case("a class without a sample", _empty_class, "validate", r"every class is in every split.*ufo"),
    Case("a class that is not declared", _undeclared_class, "validate", r"known classes.*dog/"),
    Case(
        "text among pictures",
        _with_file("cat/notes.txt", b"x"),
        "watch",
        r"received 1 of another kind: cat/notes.txt is text",
    ),
    Case("a picture beside the classes", _loose, "watch", r"loose.png: expected images inside a folder"),
    Case("a link out of the folder", _link_out, "watch", r"cat/link.png: .*received a link to"),
    Case("a link to the folder above", _link_loop, "watch", r"cat/again"),
    Case("a link to itself", _link_to_itself, "watch", r"cat/loop.png"),
    Case("a pipe", _pipe, "watch", r"received 1 of another kind: cat/pipe.png is a pipe"),
    Case("a folder named as a picture", _folder_named_as_a_picture, "watch", r"cat/album.png: expected only images"),
    Case("a name that is not UTF-8", _not_utf8, "watch", r"expected names in UTF-8, received 'caf"),
    Case("a folder that is not there", _absent, "watch", r"nowhere"),
    Case("an empty folder", _empty, "watch", r"expected one folder per class"),
    Case(
        "no column of targets",
        _manifest(lambda lines: [line.replace("target", "label") for line in lines]),
        "watch",
        r"manifest.csv.*target",
    ),
    Case(
        "a picture that is not there", _manifest(_row(3, "gone.png,cat,train,site-1,2024-01-01")), "watch", r"gone.png"
    ),
    Case(
        "a path out of the root",
        _manifest(_row(3, "../secret.png,cat,train,site-1,2024-01-01")),
        "watch",
        r"\.\./secret.png",
    ),
    Case(
        "an absolute path", _manifest(_row(3, "/etc/hostname,cat,train,site-1,2024-01-01")), "watch", r"/etc/hostname"
    ),
    Case("an id twice", _manifest(_row(3, "00.png,cat,train,site-1,2024-01-01")), "watch", r"00.png"),
    Case(
        "no target in a row",
        _manifest(_row(3, "02.png,,train,site-1,2024-01-01")),
        "watch",
        r"manifest.csv.*(row|line) \d+",
    ),
    Case("an unknown split", _manifest(_row(3, "02.png,cat,holdout,site-1,2024-01-01")), "watch", r"holdout"),
    Case(
        "a row that is too long",
        _manifest(_row(3, "02.png,cat,train,site-1,2024-01-01,more")),
        "watch",
        r"manifest.csv",
    ),
    Case("no group in a row", _manifest(_row(3, "02.png,cat,train,,2024-01-01")), "validate", r"group_site.*02.png"),
    Case(
        "a time that is none",
        _manifest(_row(3, "02.png,cat,train,site-1,yesterday"), time="taken"),
        "watch",
        r"yesterday",
    ),
    Case("a manifest without rows", _manifest(lambda lines: lines[:1]), "watch|ingest", r"none|no rows|expected"),
    Case("a manifest of bytes", _binary_manifest, "watch", r"manifest.csv"),
    Case("a torn Parquet file", _torn_parquet, "watch", r"manifest.parquet"),
    Case("a wrong checksum", _wrong_checksum, "watch", r"manifest.csv.*expected.*0000.*received"),
    Case("a wrong checksum in a folder", _wrong_checksum_inside, "watch", r"cat/000.png.*expected.*0000.*received"),
    Case("a zip with ../", _zip("../evil.png", PNG), "watch", r"images.zip.*\.\./evil.png"),
    Case("a zip with an absolute name", _zip("/etc/evil.png", PNG), "watch", r"images.zip.*/etc/evil.png"),
    Case(
        "a zip bomb", _zip("dog/0.png", b"\0" * 2**24, zipfile.ZIP_DEFLATED), "watch", r"images.zip: expected at most"
    ),
    Case("a torn zip", _torn_zip, "watch", r"images.zip"),
    Case(
        "a tar with a link out",
        _tar(_member("cat/0.png", tarfile.SYMTYPE, "/etc/passwd")),
        "watch",
        r"images.tar.gz.*cat/0.png",
    ),
    Case("a tar with a device", _tar(_member("cat/0.png", tarfile.CHRTYPE)), "watch", r"images.tar.gz.*cat/0.png"),
    Case(
        "a box outside its image",
        _coco(_set("annotations.1.bbox", [35, 25, 30, 30])),
        "watch",
        r"annotations.json.*inside their pictures.*101",
    ),
    Case("a box without an area", _coco(_set("annotations.1.bbox", [3, 4, 0, 9])), "watch", r"annotations.json.*101"),
    Case("an unknown category", _coco(_set("annotations.1.category_id", 99)), "watch", r"101.*category_id 99"),
    Case("an object of no image", _coco(_set("annotations.1.image_id", 5)), "watch", r"101.*image_id 5"),
    Case("an image that is not there", _coco_without_a_file, "watch", r"003.png"),
    Case("JSON that is none", _coco_text("{"), "watch", r"annotations.json: expected COCO's JSON"),
    Case("JSON of something else", _coco_text('{"images": 3}'), "watch", r"annotations.json: expected COCO's JSON"),
    Case("XML that is none", _voc("<annotation>"), "watch", r"2007_000002.xml"),
    Case("XML with entities", _voc(LAUGHS), "watch", r"2007_000002.xml"),
    Case(
        "a torn idx file", _idx("t10k-images-idx3-ubyte", b"\0\0\x08\x03\0\0\0\x06"), "watch", r"t10k-images-idx3-ubyte"
    ),
    Case("no idx file", _idx("t10k-images-idx3-ubyte", b"hello world"), "watch", r"t10k-images-idx3-ubyte.*idx"),
    Case("too few labels", _idx("t10k-labels-idx1-ubyte", good.idx_bytes(np.zeros(3, np.uint8))), "watch", r"labels"),
    Case("pickled labels", _arrays(labels=np.array([{"cat": 1}] * 12, dtype=object)), "watch", r"labels.npy"),
    Case("pictures as floats", _arrays(images=np.zeros((12, 10, 12, 3))), "watch", r"images.npy: expected uint8"),
    Case("more labels than pictures", _arrays(labels=np.zeros(13, int)), "watch", r"labels.npy.*12.*13"),
    Case("no Hugging Face data set", _not_a_hugging_face_data_set, "watch", r"save_to_disk"),
    Case("a mask of another size", _masks(np.ones((5, 5), np.uint8)), "watch", r"09-mask.png is 5×5, 09.png 12×10"),
    Case("a mask with an unknown class", _masks(np.full((10, 12), 77, np.uint8)), "watch|validate", r"09(-mask)?.png"),
    Case("expectations that are not there", _expectations(None), "watch", r"checks.expectations.*own.yaml"),
    Case(
        "expectations that are none", _expectations("- {kind: ExpectMiracles}"), "validate", r"own.yaml|ExpectMiracles"
    ),
    Case(
        "a verdict on nothing", _verdicts("id,verdict\nghost.png,keep\n"), "inspect", r"reviewed.csv, line 2.*ghost.png"
    ),
    Case(
        "a verdict that is none",
        _verdicts("id,verdict\ncat/000.png,maybe\n"),
        "inspect",
        r"reviewed.csv, line 2.*maybe",
    ),
]


def _project(root: Path, spoil: Callable[[Path], Entry]) -> None:
    entry = {"task": "classification", "image": IMAGE, **spoil(root / "source")}
    (root / "params.yaml").write_text(yaml.safe_dump({"datasets": {"mine": entry}}), encoding="utf-8")


def _refusal(root: Path) -> tuple[str, str]:
    """The stage that refuses, and what it says."""
    for stage in stages.STAGES:
        try:
            stages.run(stage, "mine", root)
        except (DataError, ConfigurationError) as error:
            return stage, str(error)
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_is_malformed_is_refused_by_name_and_leaves_nothing_half_written(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "HARMLESS", 2**20)  # a bomb that is quick to make
    _project(tmp_path, case.spoil)
    stage, said = _refusal(tmp_path)
    assert stage in case.stage.split("|"), said
    assert re.search(case.says, said, flags=re.DOTALL), said
    data = tmp_path / places.KEPT
    hidden = (
        [path for path in data.rglob("*") if path.name.startswith(".") and path.suffix != ".lock"]
        if data.exists()
        else []
    )
    assert hidden == []
    output = {stage: places.FOLDERS[stage] for stage in ("ingest", "inspect", "prepare")}.get(stage)
    assert output is None or not (data / output / "mine").exists()


def test_there_are_at_least_forty_cases_and_no_two_alike() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("name", ["a zip with ../", "an id twice"])
def test_the_exit_code_and_the_error_stream_say_so(name: str, tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case.name == name)
    _project(tmp_path, case.spoil)
    for stage in stages.STAGES:
        command = [sys.executable, "-m", "components.data.stages", stage, "mine"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            break
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert (tmp_path / ".convoy" / "data" / "mine.error").read_text(encoding="utf-8").startswith(f"{stage} mine: ")


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    _project(tmp_path, _pictures)
    secret = tmp_path / "source" / "cat" / "000.png"
    secret.chmod(0)
    if os.geteuid() == 0:  # who may read everything: let the file go between the look and the reading
        secret.unlink()
        secret.symlink_to(tmp_path / "source" / "cat" / "gone.png")
    stage, said = "", ""
    try:
        for stage in stages.STAGES:
            stages.run(stage, "mine", tmp_path)
    except (DataError, OSError) as error:
        said = str(error)
    finally:
        if not secret.is_symlink():
            secret.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert stage in ("watch", "ingest")
    assert "000.png" in said


# -- what only looks bad ----------------------------------------------------------------------------------------------


def _unicode_names(base: Path) -> Entry:
    _pictures(base)
    for label in good.LABELS:
        (base / label).rename(base / f"{label}-猫 é🙂")
    return {"source": {"kind": "folder", "path": str(base)}}


def _very_long_names(base: Path) -> Entry:
    entry = _pictures(base)
    good.save(base / "cat" / f"{'x' * 251}.png", 78)
    return entry


def _hidden_files(base: Path) -> Entry:
    entry = _pictures(base)
    (base / "cat" / ".DS_Store").write_bytes(b"x")
    (base / "Thumbs.db").write_bytes(b"x")
    return entry


def _spaces_and_commas(base: Path) -> Entry:
    base.mkdir()
    lines = ["path,target"]
    for number in range(40):
        good.save(base / f"a, b {number}.png", number, label=number % 2)
        lines.append(f'"a, b {number}.png","{good.LABELS[number % 2]}, ""tame"""')
    (base / "manifest.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    return {"source": {"kind": "manifest", "path": str(base / "manifest.csv")}}


@pytest.mark.parametrize("odd", [_unicode_names, _very_long_names, _hidden_files, _spaces_and_commas])
def test_what_only_looks_odd_goes_through(odd: Callable[[Path], Entry], tmp_path: Path) -> None:
    _project(tmp_path, odd)
    for stage in stages.STAGES:
        stages.run(stage, "mine", tmp_path)
    assert (tmp_path / ".convoy" / "data" / "validated" / "mine" / "validation.json").is_file()
