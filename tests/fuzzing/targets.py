"""What is fuzzed: each way by which bytes from outside come in, as a function of them, and valid ones to start at.

A target answers for any bytes with a value or with one of our own errors (`OURS`). Its folder is its own and is made
ready once; what it writes there it overwrites the next time.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from components import decoding
from components.config import ConfigurationError, YamlError, read_yaml
from components.config.reading import check
from components.data.checking import detect
from components.data.errors import DataError
from components.data.sources.places import archive
from components.models import word_vectors
from tests.components.data.sources import source_builders as builders

OURS = (DataError, ConfigurationError, YamlError, decoding.UndecodableError)


@dataclass(frozen=True)
class Target:
    """One way in. `ready` puts into the folder what the bytes refer to."""

    run: Callable[[bytes, Path], None]
    seeds: Callable[[], Iterable[bytes]]
    ready: Callable[[Path], object] = lambda _: None


def read(source: dict[str, Any], folder: Path) -> None:
    """A source to its end, through the door that all of them have."""
    builders.read(source, folder)


def packed(save: Callable[[Any], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def split(content: bytes) -> tuple[bytes, bytes]:
    """Two files in one: the length of the first in two bytes, then both."""
    length = int.from_bytes(content[:2], "big")
    return content[2 : 2 + length], content[2 + length :]


# -- archives --------------------------------------------------------------------------------------------------------


def unpack(suffix: str) -> Callable[[bytes, Path], None]:
    def run(content: bytes, folder: Path) -> None:
        path, target = folder / f"archive{suffix}", folder / "unpacked"
        path.write_bytes(content)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        archive.unpack(path, target)
        archive.inner(target)

    return run


def zips() -> Iterable[bytes]:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):

        def save(buffer: Any, method: int = method) -> None:
            with zipfile.ZipFile(buffer, "w", method) as file:
                file.writestr("a/b.png", b"one" * 20)
                file.writestr("a/", b"")
                link = zipfile.ZipInfo("a/c.png")
                link.external_attr = 0o120777 << 16
                file.writestr(link, "b.png")

        yield packed(save)


def tars(mode: str) -> Callable[[], Iterable[bytes]]:
    def seeds() -> Iterable[bytes]:
        for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):

            def save(buffer: Any, form: int = form) -> None:
                with tarfile.open(fileobj=buffer, mode=mode, format=form) as file:  # type: ignore[call-overload]
                    info = tarfile.TarInfo("a/" + ("é" * 60 if form != tarfile.USTAR_FORMAT else "b"))
                    info.size = 5
                    file.addfile(info, io.BytesIO(b"12345"))
                    for kind, name in ((tarfile.SYMTYPE, "a/c"), (tarfile.LNKTYPE, "a/d"), (tarfile.DIRTYPE, "e")):
                        other = tarfile.TarInfo(name)
                        other.type, other.linkname = kind, "b"
                        file.addfile(other)

            yield packed(save)

    return seeds


# -- tables ----------------------------------------------------------------------------------------------------------


def table(suffix: str, **keys: Any) -> Callable[[bytes, Path], None]:
    def run(content: bytes, folder: Path) -> None:
        path = folder / f"table{suffix}"
        path.write_bytes(content)
        read({"kind": "manifest", "path": str(path), **keys}, folder)

    return run


def some_pictures(folder: Path) -> None:
    for number in range(4):
        builders.save(folder / f"{number}.png", number)
        mask = np.arange(120, dtype=np.uint8).reshape(10, 12) % 2
        Image.fromarray(mask).save(folder / f"m{number}.png")


def csvs() -> Iterable[bytes]:
    yield b"path,target,split,group_site,taken\n0.png,cat,train,a,2024-01-01\n1.png,dog,test,,1.5\n"
    yield b'path,target,taken\n"0.png","c\n,at",2024-01-01T10:00+02:00\n1.png,\xc3\xa9,nan\n'
    yield b"path,target,taken\r\n0.png,1,9e300\r\n1.png,2.0,-1\r\n"


def jsons(lines: bool) -> Callable[[], Iterable[bytes]]:
    def seeds() -> Iterable[bytes]:
        rows = [
            {"path": f"{n}.png", "target": "é", "taken": 1.50, "group_a": None, "x": [{"y": 1e3}]} for n in range(3)
        ]
        task = {"data": {"path": "0.png"}, "annotations": [{"result": [{"type": "choices", "from_name": "target"}]}]}
        for each in (rows, [task], [{**rows[0], "taken": float("nan"), "split": "train"}]):
            text = "\n".join(map(json.dumps, each)) if lines else json.dumps(each, ensure_ascii=False)
            yield text.encode()
            yield text.encode("utf-16")

    return seeds


def parquets() -> Iterable[bytes]:
    names, labels = [f"{number}.png" for number in range(4)], ["a", "b", "a", "b"]
    picture = packed(lambda buffer: Image.fromarray(builders.pixels(0)).save(buffer, "PNG"))
    times = pa.array([0, 1, 2, None], pa.date32())
    for columns in (
        {"path": names, "target": labels, "taken": times, "group_x": [1.0, None, 2.0, 3.0]},
        {"path": [picture] * 4, "target": pa.array([0, 1, 0, 1], pa.int8()), "taken": pa.array([1, 2, 3, 4])},
        {"path": pa.array([{"bytes": picture, "path": None}] * 4), "target": labels, "taken": [["a"], [], ["b"], None]},
    ):
        for keys in ({}, {"use_dictionary": False, "data_page_version": "2.0"}, {"compression": "zstd"}):
            yield packed(lambda buffer, c=columns, k=keys: pq.write_table(pa.table(c), buffer, **k))  # type: ignore[misc]
    yield packed(
        lambda buffer: pq.write_table(
            pa.table({"path": names, "target": labels, "taken": labels}),
            buffer,
            use_dictionary=False,
            column_encoding={"path": "DELTA_BYTE_ARRAY", "target": "DELTA_LENGTH_BYTE_ARRAY", "taken": "PLAIN"},
        )
    )


def saved_ready(folder: Path) -> None:
    (folder / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}', encoding="utf-8")
    (folder / "dataset_info.json").write_text('{"features": {"label": {"names": ["a", "b"]}}}', encoding="utf-8")


def saved(content: bytes, folder: Path) -> None:
    """What `save_to_disk` writes, with any bytes as its rows."""
    (folder / "data.arrow").write_bytes(content)
    read({"kind": "huggingface", "path": str(folder)}, folder)


def streams() -> Iterable[bytes]:
    picture = packed(lambda buffer: Image.fromarray(builders.pixels(0)).save(buffer, "PNG"))
    structs = pa.array([{"bytes": picture, "path": None}, {"bytes": None, "path": "x"}])
    for columns in (
        {"image": structs, "label": [0, 1], "group_a": ["x", None]},
        {"image": [picture, picture], "label": pa.array([0, 1], pa.int8()), "group_a": pa.array([1, 2], pa.date32())},
    ):
        table = pa.table(columns)
        for options in ({}, {"compression": "lz4"}):

            def save(buffer: Any, table: pa.Table = table, options: dict[str, str] = options) -> None:
                written = pa.ipc.IpcWriteOptions(**options)
                with pa.ipc.new_stream(buffer, table.schema, options=written) as writer:
                    writer.write_table(table)

            yield packed(save)


# -- annotations -----------------------------------------------------------------------------------------------------


def coco(content: bytes, folder: Path) -> None:
    (folder / "annotations.json").write_bytes(content[1:])
    take = {"take": "masks"} if content[:1] > b"\x80" else {}
    faulty = {"faulty": "skip"} if content[:1] > b"\x40" else {}
    read({"kind": "coco", "path": str(folder), **take, **faulty}, folder)


def cocos() -> Iterable[bytes]:
    things: list[dict[str, Any]] = [
        {"segmentation": [[1, 1, 6, 1, 6, 6, 1, 6]]},
        {"segmentation": {"size": [10, 12], "counts": [60, 60]}},
        {"segmentation": {"size": [10, 12], "counts": "l1l1"}, "iscrowd": 1},
    ]
    annotations = [
        {"id": number, "image_id": 1 + number % 2, "category_id": 1 + number % 2, "bbox": [1, 1, 5, 5], **each}
        for number, each in enumerate(things)
    ]
    content = {
        "images": [{"id": number, "file_name": f"{number}.png", "width": 12, "height": 10} for number in (1, 2)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    for first in (b"\0", b"\x50", b"\x90"):
        yield first + json.dumps(content).encode()


def voc(content: bytes, folder: Path) -> None:
    (folder / "Annotations" / "0.xml").write_bytes(content)
    read({"kind": "voc", "path": str(folder)}, folder)


def voc_ready(folder: Path) -> None:
    (folder / "Annotations").mkdir()
    builders.save(folder / "JPEGImages" / "0.jpg", 0, builders.SCENE)


def vocs() -> Iterable[bytes]:
    yield builders.voc_xml("0", [("cat", (1, 1, 10, 8), 0), ("dog", (15, 5, 40, 30), 1)]).encode()
    yield b'<?xml version="1.0" encoding="latin-1"?><annotation><object><name>\xe9</name></object></annotation>'
    yield b"<!DOCTYPE a [<!ENTITY b 'c'>]><annotation>&b;</annotation>"


def yolo(content: bytes, folder: Path) -> None:
    about, text = split(content)
    (folder / "data.yaml").write_bytes(about)
    (folder / "labels" / "0.txt").write_bytes(text)
    faulty = {"faulty": "skip"} if len(text) % 2 else {}
    read({"kind": "yolo", "path": str(folder), **faulty}, folder)


def yolo_ready(folder: Path) -> None:
    (folder / "labels").mkdir()
    builders.save(folder / "images" / "0.png", 0, builders.SCENE)


def yolos() -> Iterable[bytes]:
    about = (b"names: [a, b]\nnc: 2\n", b"path: .\ntrain: images\nval: images/0.png\nnames: {0: a, 1: b}\n", b"")
    texts = (b"0 0.25 0.5 0.5 0.2\n1 0.9 0.9 0.2 0.2\n", b"1 0.1 0.1 0.5 0.1 0.3 0.4\n", b"\n0 5e-1 .5 1 1 0.75\n")
    for first, second in zip(about, texts, strict=True):
        yield struct.pack(">H", len(first)) + first + second


# -- numbers ---------------------------------------------------------------------------------------------------------


def idx(content: bytes, folder: Path) -> None:
    labels, pictures = split(content)
    (folder / "train-labels-idx1-ubyte").write_bytes(labels)
    (folder / "train-images-idx3-ubyte").write_bytes(pictures)
    read({"kind": "idx", "path": str(folder)}, folder)


def idxs() -> Iterable[bytes]:
    labels = builders.idx_bytes(np.array([0, 1], np.uint8))
    for shape in ((2, 3, 4), (2, 3, 4, 3)):
        pictures = builders.idx_bytes(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape))
        for some in (pictures, gzip.compress(pictures, mtime=0)):
            yield struct.pack(">H", len(labels)) + labels + some


def arrays(content: bytes, folder: Path) -> None:
    labels, pictures = split(content)
    (folder / "labels.npy").write_bytes(labels)
    (folder / "images.npy").write_bytes(pictures)
    read({"kind": "arrays", "path": str(folder)}, folder)


def npys() -> Iterable[bytes]:
    pictures = packed(lambda buffer: np.save(buffer, np.arange(24, dtype=np.uint8).reshape(2, 3, 4)))
    for values in (np.array([0, 1]), np.array(["a", "b"]), np.array([b"a", b"b"]), np.array([[1], [2]], np.int8)):
        labels = packed(lambda buffer, values=values: np.save(buffer, values))  # type: ignore[misc]
        yield struct.pack(">H", len(labels)) + labels + pictures


# -- word vectors ----------------------------------------------------------------------------------------------------

UNITS = ("the", "Rome", "Übung", "don't", "", "12", "unseen")


def vectors(content: bytes, folder: Path) -> None:
    """The vectors of a few words: of a text file, or of an array beside its words."""
    path = folder / "vectors.txt"
    if content[:1] > b"\x80":
        array, words = split(content[1:])
        (folder / "vectors.npy").write_bytes(array)
        path.write_bytes(words)
        path = folder / "vectors.npy"
    else:
        path.write_bytes(content[1:])
    dimension = word_vectors.dimension_of(path)
    found = word_vectors.read(path, UNITS)
    taken = len(found.places)
    assert found.vectors.shape == ((taken, dimension) if taken else (0,)), found.vectors.shape
    assert np.isfinite(found.vectors).all()


def some_vectors() -> Iterable[bytes]:
    lines = "the 1 2 3\nrome -.5 1e-3 6\nÜbung 7 8 9\na b 1 1 1\n".encode()
    for text in (lines, b"4 3\n" + lines, b"\xef\xbb\xbf" + lines.replace(b"\n", b" \r\n")):
        yield b"\0" + text
    words = "the\nrome\nÜbung\n".encode()
    for values in (np.ones((3, 2), np.float32), np.asfortranarray(np.ones((3, 2), np.float16)), np.ones((3, 1), ">f8")):
        array = packed(lambda buffer, values=values: np.save(buffer, values))  # type: ignore[misc]
        yield b"\x90" + struct.pack(">H", len(array)) + array + words


# -- pictures --------------------------------------------------------------------------------------------------------


def picture(content: bytes, folder: Path) -> None:
    for read_as in (decoding.header, decoding.indices, lambda each: decoding.decode(each, frames="first")):
        try:
            read_as(content)
        except decoding.UndecodableError:
            continue
    decoding.read(content, decoding.Form(8, 8, 3, resize=True, range=(0.0, 4000.0)))


def pictures() -> Iterable[bytes]:
    random = np.random.default_rng(0)
    colour = Image.fromarray(random.integers(0, 256, (6, 7, 3)).astype(np.uint8))
    for form in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF"):
        yield packed(lambda buffer, form=form: colour.save(buffer, form))  # type: ignore[misc]
    for mode in ("1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F", "I"):
        odd = (colour.convert("L") if mode in ("LA", "I;16", "F", "I") else colour).convert(mode)
        yield packed(lambda buffer, odd=odd: odd.save(buffer, "TIFF"))  # type: ignore[misc]
    yield packed(lambda buffer: Image.new("LAB", (6, 7)).save(buffer, "TIFF"))
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"):
        some = colour.convert("1") if compression == "group4" else colour
        yield packed(lambda buffer, some=some, c=compression: some.save(buffer, "TIFF", compression=c))  # type: ignore[misc]
    yield packed(lambda buffer: colour.save(buffer, "GIF", save_all=True, append_images=[colour.rotate(90)]))
    yield packed(lambda buffer: colour.convert("P").save(buffer, "PNG", transparency=3))


def exif(content: bytes, folder: Path) -> None:
    """The bytes as the EXIF block of a JPEG, a PNG and a WebP."""
    for start, end in EXIF_OF:
        block = content[: 2**16 - 10]
        decoding.decode(start(block) + end)


def exifs() -> Iterable[bytes]:
    for order, mark in (("<", b"II*\0"), (">", b"MM\0*")):
        head = b"Exif\0\0" + mark + struct.pack(order + "I", 8)
        tags = (
            (0x0112, 3, 1, struct.pack(order + "HH", 6, 0)),
            (0x010E, 2, 4, b"abc\0"),
            (0x8769, 4, 1, struct.pack(order + "I", 8)),
        )
        entries = b"".join(struct.pack(order + "HHI", *tag[:3]) + tag[3] for tag in tags)
        yield head + struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", 0)


def _exif_of() -> list[tuple[Callable[[bytes], bytes], bytes]]:
    small = Image.fromarray(builders.pixels(0))
    jpeg = packed(lambda buffer: small.save(buffer, "JPEG"))
    png = packed(lambda buffer: small.save(buffer, "PNG"))
    chunk = lambda block: struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib_crc(b"eXIf" + block))  # noqa: E731
    return [
        (lambda block: jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block, jpeg[2:]),
        (lambda block: png[:33] + chunk(block.removeprefix(b"Exif\0\0")), png[33:]),
    ]


def zlib_crc(content: bytes) -> int:
    import zlib

    return zlib.crc32(content)


EXIF_OF = _exif_of()


# -- configuration, requests, recognition ----------------------------------------------------------------------------


def yaml(content: bytes, folder: Path) -> None:
    values = read_yaml(content)
    if isinstance(values, dict):
        check(values)


def yamls() -> Iterable[bytes]:
    root = Path(__file__).parents[2]
    for path in (root / "params.yaml", *sorted((root / "recipes").glob("*.yaml"))[:3]):
        yield path.read_bytes()
    yield b"a: [1, 0x1f, 1e3, .inf, ~, true, 'x', \"\\u00e9\"]\nb: |\n  text\n? c\n: d\n"


def request(content: bytes, folder: Path) -> None:
    """A request to a served model: JSON as MLflow's server hands it on, or a column of bytes."""
    import pandas as pd
    from mlflow.exceptions import MlflowException

    from components.registry.answers import class_
    from components.registry.readers import image
    from components.registry.served import InvalidInputError, ServedNetwork

    network = ServedNetwork()
    spec = {"height": 8, "width": 8, "channels": 3, "resize": True}
    network.column, network.reader = "image", image.Reader(Path(), {"input": spec}, lambda _: decoding)
    network.card, network.writing = {"classes": ["a", "b"]}, class_
    network.answer = lambda pixels: [np.full((len(pixels), 2), 0.5, np.float32), np.zeros(len(pixels), np.int64)]
    values: Any = [content[1:]]
    if content[:1] > b"\x80":
        values = content[1:].decode("latin-1").split("\n")
    elif content[:1] > b"\x40":
        try:
            values = json.loads(content[1:])
        except (ValueError, RecursionError):
            return
    try:
        frame = (
            pd.DataFrame(values)
            if isinstance(values, list | dict) and content[1:2] == b"{"
            else pd.DataFrame({"image": values})
        )
    except Exception:  # pandas' own refusal, which the server makes a sentence of
        return
    try:
        network.predict(None, frame)
    except (InvalidInputError, MlflowException):
        return


def requests() -> Iterable[bytes]:
    some = next(iter(pictures()))
    yield b"\0" + some
    yield b"\x90" + base64.b64encode(some)
    yield b"\x90data:image/png;base64," + base64.b64encode(some) + b"\nabc"
    yield b"\x50" + json.dumps({"image": [base64.b64encode(some).decode(), None, 3, [1]]}).encode()


SUFFIXES = (".csv", ".json", ".parquet", ".npz", ".npy", ".zip", ".tar", ".png", "")


def recognise(content: bytes, folder: Path) -> None:
    """A file of which nothing is known but its suffix."""
    path = folder / f"some{SUFFIXES[content[0] % len(SUFFIXES)] if content else ''}"
    path.write_bytes(content[1:])
    try:
        detect.choose({"path": str(path)}, folder)
    finally:
        path.unlink()
        shutil.rmtree(folder / ".convoy", ignore_errors=True)


def unknown() -> Iterable[bytes]:
    npz = packed(lambda buffer: np.savez(buffer, images=np.zeros((2, 3, 4), np.uint8), labels=np.zeros(2)))
    some = (next(iter(csvs())), next(iter(cocos()))[1:], next(iter(parquets())), npz, npz, next(iter(zips())))
    for number, content in enumerate(some):
        yield bytes([number]) + content


TARGETS = {
    "zip": Target(unpack(".zip"), zips),
    "tar": Target(unpack(".tar"), tars("w")),
    "tar-gz": Target(unpack(".tar.gz"), tars("w:gz")),
    "csv": Target(table(".csv", time="taken"), csvs, some_pictures),
    "json": Target(table(".json", time="taken"), jsons(lines=False), some_pictures),
    "jsonl": Target(table(".jsonl", time="taken"), jsons(lines=True), some_pictures),
    "parquet": Target(table(".parquet", time="taken"), parquets, some_pictures),
    "arrow": Target(saved, streams, saved_ready),
    "coco": Target(coco, cocos, some_pictures),
    "voc": Target(voc, vocs, voc_ready),
    "yolo": Target(yolo, yolos, yolo_ready),
    "idx": Target(idx, idxs),
    "npy": Target(arrays, npys),
    "vectors": Target(vectors, some_vectors),
    "picture": Target(picture, pictures),
    "exif": Target(exif, exifs),
    "yaml": Target(yaml, yamls),
    "request": Target(request, requests),
    "recognise": Target(recognise, unknown),
}
