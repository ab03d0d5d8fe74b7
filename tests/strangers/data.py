"""Data sets as people bring them, most of them from public bug reports: each is read as meant, or told what to do."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.components.data.sources.source_builders import idx_bytes
from tests.components.picture_builders import chunk, exif, tiff, with_exif
from tests.components.picture_builders import png as built_png
from tests.strangers import making
from tests.strangers.judging import Case, Read, Refused
from tests.strangers.making import EACH, HEIGHT, NUMBERS, WIDTH, colour, encoded, grey, label, put

BOTH = {"one": EACH, "zero": EACH}
THREE_SPLITS = {"train": 2 * EACH, "validation": 2 * EACH, "test": 2 * EACH}
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)

# -- pictures --------------------------------------------------------------------------------------------------------


def float01(base: Path) -> Path:
    def shares(number: int) -> bytes:
        return tiff(WIDTH, HEIGHT, (grey(number) / np.float32(255)).astype("<f4").tobytes(), bits=32, format=3)

    return making.folder(base, shares, ".tif")


def frames(base: Path) -> Path:
    making.folder(base)
    for number, form in enumerate(("TIFF", "GIF", "WEBP", "PNG")):
        first, second = Image.fromarray(grey(number)), Image.fromarray(grey(number + 100))
        content = encoded(first, form, save_all=True, append_images=[second])
        put(base / label(number) / f"{number:03}.png", content)
    return base


def colour_key(base: Path) -> Path:
    """RGB PNGs whose one colour is see-through: a red quarter that is white in what is trained on and served."""

    def keyed(number: int) -> bytes:
        pixels = colour(number).copy()
        pixels[:, :2] = (255, 0, 0)
        rows = [row.tobytes() for row in pixels]
        return built_png(WIDTH, HEIGHT, 8, 2, rows, chunk(b"tRNS", struct.pack(">HHH", 255, 0, 0)))

    return making.folder(base, keyed)


def named_jpg(form: str) -> Any:
    def make(base: Path) -> Path:
        making.folder(base, making.jpeg, ".jpg")
        put(base / "one" / "stranger.jpg", encoded(colour(100), form))
        return base

    return make


def lab(base: Path) -> Path:
    making.folder(base, making.jpeg, ".jpg")
    values = np.stack([grey(100) // 2, np.full((HEIGHT, WIDTH), 128), np.full((HEIGHT, WIDTH), 128)], axis=-1)
    put(base / "one" / "m02_lab.tif", encoded(Image.frombytes("LAB", (WIDTH, HEIGHT), values.astype(np.uint8)), "TIFF"))
    return base


def on_its_side(base: Path) -> Path:
    def lying(number: int) -> bytes:
        return tiff(WIDTH, HEIGHT, colour(number).tobytes(), photometric=2, samples=3, orientation=6)

    return making.folder(base, lying, ".tif")


def odd_exif(base: Path) -> Path:
    """Readable photographs, whose EXIF has a wrong type here and a number without end there."""
    odd = [(0x011A, 10, 1, struct.pack("<I", 38)), (0x8769, 4, 1, b"\xff" * 4), (0x829A, 12, 1, struct.pack("<I", 38))]
    odd += [(0x0132, 11, 1, struct.pack("<f", float("inf"))), (0x014A, 16, 1, struct.pack("<I", 38))]

    def photograph(number: int) -> bytes:
        block = exif(1, "<", odd[number % len(odd)], extra=struct.pack("<ii", -72, 0))
        return with_exif(making.jpeg(number), block)

    return making.folder(base, photograph, ".jpg")


def no_pictures(base: Path) -> Path:
    making.folder(base, making.jpeg, ".jpg")
    for name, content in {
        "IMG_0001.jpg": HEIC,
        "empty.jpg": b"",
        "lfs.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "page.jpg": b"<!DOCTYPE html><html></html>",
        "cut.jpg": making.jpeg(100)[:-40],
    }.items():
        put(base / "one" / name, content)
    return base


def large(base: Path) -> Path:
    making.folder(base)
    put(base / "one" / "wide.png", built_png(14_000, 13_000, 1, 0, [b"\0"]))
    put(base / "one" / "warned.png", built_png(10_000, 9_500, 1, 0, [b"\0"]))
    return base


def jfif(base: Path) -> Path:
    making.folder(base)
    put(base / "one" / "photo.jfif", encoded(colour(100), "JPEG"))
    return base


# -- folders ---------------------------------------------------------------------------------------------------------


def macos(base: Path) -> Path:
    making.folder(base)
    for number in NUMBERS:
        put(base / "__MACOSX" / label(number) / f"._{number:03}.png", b"\0\5\x16\7")
    put(base / "one" / ".DS_Store", b"\0\0\0\1Bud1")
    return base


def three_spellings(base: Path) -> Path:
    for start, name in enumerate(("one", "One", "one ")):
        for number in range(0, 2 * EACH, 2):
            put(base / name / f"{number:03}.png", making.png(number + 100 * start))
    for number in range(1, 2 * EACH, 2):
        put(base / "zero" / f"{number:03}.png", making.png(number))
    return base


def splits(*names: str) -> Any:
    def make(base: Path) -> Path:
        for start, name in enumerate(names):
            making.folder(base, under=name, start=100 * start)
        return base

    return make


def a_class_that_the_test_split_lacks(base: Path) -> Path:
    splits("train", "validation", "test")(base)
    for start, split in enumerate(("train", "validation")):
        for number in range(EACH):
            content = encoded((grey(700 + 100 * start + number) // 2 + 60).astype(np.uint8))
            put(base / split / "two" / f"{number:03}.png", content)
    return base


def odd_names(base: Path) -> Path:
    """Names that terminals and patterns take for something else; two pictures are none."""
    names = ["tab\t", "~", "*", "😀", "new\nline", "[red]", "$HOME", "-rf", "a b", "%20", "'q'", '"q"']
    for number, name in enumerate(names):
        put(base / "one [red]" / f"{name}.png", making.png(2 * number))
        put(base / "zero" / f"{number:03}.png", making.png(2 * number + 1))
    put(base / "one [red]" / "[bold]bad.png", b"no image")
    put(base / "one [red]" / "ba\x1b[31md.png", b"no image")
    return base


def nested(base: Path) -> Path:
    for number in NUMBERS:
        put(base / label(number) / f"day{number // 2 % 2}" / f"{number:03}.png", making.png(number))
    return base


def runs(base: Path) -> Path:
    making.folder(base)
    put(base / "runs" / "train1" / "weights.pt", b"x")
    return base


# -- tables ----------------------------------------------------------------------------------------------------------


def written(of: Any = label, **form: Any) -> Any:
    """A table of paths and classes, written in some way."""

    def make(base: Path) -> Path:
        names = making.pictures(base)
        rows = [[name, of(number)] for number, name in enumerate(names)]
        return making.table(base / "t.csv", ["path", "target"], rows, **form)

    return make


def another_spelling(odd: str) -> Any:
    return written(lambda number: odd if number % 4 == 0 else label(number))


def blanks_behind_commas(base: Path) -> Path:
    lines = ["path, target", *(f'{name}, "{label(number)}"' for number, name in enumerate(making.pictures(base)))]
    return put(base / "t.csv", "\n".join(lines).encode())


def one_hot(*, sound: bool) -> Any:
    def make(base: Path) -> Path:
        rows = [
            [name, number % 2 ^ 1, number % 2 or (not sound and number == 0)]
            for number, name in enumerate(making.pictures(base))
        ]
        rows = [[name, int(one), int(zero)] for name, one, zero in rows]
        return making.table(base / "t.csv", ["path", "one", "zero"], rows)

    return make


def two_rows_for_one(base: Path) -> Path:
    names = making.pictures(base)
    rows = [[name, label(number)] for number, name in enumerate(names)]
    return making.table(base / "t.csv", ["path", "target"], [*rows, [names[0], "zero"]])


def kaggle(base: Path) -> Path:
    making.pictures(base, "train/{:03}f.jpg", making.jpeg)
    making.table(base / "labels.csv", ["id", "breed"], [[f"{number:03}f", label(number)] for number in NUMBERS])
    return base


def kaggle4(base: Path) -> Path:
    names = making.pictures(base, "images/{:03}.jpg", making.jpeg)
    rows = [[f"/kaggle/input/x/{name}", label(number)] for number, name in enumerate(names)]
    making.table(base / "labels.csv", ["filename", "label"], rows)
    return base


def composed(base: Path) -> Path:
    names = making.pictures(base, unicodedata.normalize("NFC", "images/grün-{:03}.png"))
    return making.labelled(base, [unicodedata.normalize("NFD", name) for name in names])


def in_text(write: Any) -> Any:
    def make(base: Path) -> Path:
        rows = [[write(making.png(number)), label(number)] for number in NUMBERS]
        return making.table(base / "t.csv", ["image", "label"], rows)

    return make


def addresses(base: Path) -> Path:
    return making.labelled(base, [f"https://example.com/{number}.jpg" for number in NUMBERS])


def hf_jsonl(base: Path) -> Path:
    names = [Path(name).name for name in making.pictures(base, "train/{:03}.png")]
    lines = [json.dumps({"file_name": name, "label": label(number)}) for number, name in enumerate(names)]
    put(base / "train" / "metadata.jsonl", "\n".join(lines).encode())
    return base


def parquet(columns: Any, name: str = "t.parquet") -> Any:
    def make(base: Path) -> Path:
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns()), path)
        return base

    return make


def structs() -> dict[str, Any]:
    rows = [{"bytes": making.png(number), "path": None} for number in NUMBERS]
    return {"image": pa.array(rows), "label": [label(number) for number in NUMBERS]}


def bytes_and_paths() -> dict[str, Any]:
    names = [f"somewhere/{number}.png" for number in NUMBERS]
    rows = [making.png(number) for number in NUMBERS]
    return {"image_path": names, "image": rows, "label": [label(number) for number in NUMBERS]}


def pictures_and_masks() -> dict[str, Any]:
    lower = np.indices((HEIGHT, WIDTH))[0]
    masks = [encoded((lower > 3 + number % 5).astype(np.uint8)) for number in NUMBERS]
    return {"image": [making.png(number) for number in NUMBERS], "mask": masks}


def lists() -> dict[str, Any]:
    return {"image": [grey(n).ravel().tolist() for n in NUMBERS], "label": [label(n) for n in NUMBERS]}


# -- annotations -----------------------------------------------------------------------------------------------------


def normalised(each: dict[str, Any], number: int) -> None:
    left, top, width, height = each["bbox"]
    each["bbox"] = [left / WIDTH, top / HEIGHT, width / WIDTH, height / HEIGHT]


def flat(each: dict[str, Any], number: int) -> None:
    each.update({"bbox": [2, 3, 10, 0], "segmentation": []} if number in (4, 9) else {})


def unsized(each: dict[str, Any], number: int) -> None:
    del each["width"], each["height"]


def backslashes(each: dict[str, Any], number: int) -> None:
    each["file_name"] = f"images\\{each['file_name']}"


def same_id(each: dict[str, Any], number: int) -> None:
    each["id"] = 3 if number == 20 else number


def coco(**changes: Any) -> Any:
    return lambda base: making.coco(base, **changes)


def masks_of(value: int) -> Any:
    return lambda base: making.masks(base, value)


def other_size(base: Path) -> Path:
    return making.masks(base, size=(HEIGHT - 2, WIDTH + 2))


# -- arrays ----------------------------------------------------------------------------------------------------------


def emnist(base: Path) -> Path:
    """Labels that begin with 1."""
    for start, split in enumerate(("train", "test")):
        pixels = np.stack([grey(number + 100 * start) for number in NUMBERS])
        for kind, values in (("images-idx3", pixels), ("labels-idx1", np.array(NUMBERS, np.uint8) % 2 + 1)):
            path = base / f"emnist-letters-{split}-{kind}-ubyte.gz"
            put(path, gzip.compress(idx_bytes(values.astype(np.uint8)), mtime=0))
    return base


def npz(base: Path) -> Path:
    file = io.BytesIO()
    labels = (np.array(NUMBERS) % 2)[:, None]
    np.savez_compressed(file, images=np.stack([grey(number) for number in NUMBERS]), labels=labels)
    return put(base / "npz_n1.npz", file.getvalue())


def names(*, without: str = "", **counts: int) -> dict[str, int]:
    return {**{name: count for name, count in BOTH.items() if name != without}, **counts}


CASES = (
    # Originals, and what lies where Convoy keeps things.
    Case("macos in data/raw", "K1", macos, Read(BOTH), place="data/raw/strange"),
    Case("data in an output", "K1", making.folder, Refused(("Convoy", "PATH")), place=".convoy/data/prepared/strange"),
    # Pixels become others than meant.
    Case("float01", "K2", float01, Read(BOTH, told=("0 is black and 1 is white",))),
    Case("frames", "K2", frames, Refused(("one/000.png", "holds more than one picture", "`image.frames: first`"))),
    Case("frames", "K2", frames, Read(BOTH), ("image.frames=first",)),
    # Trained on other pixels than served.
    Case("tRNS", "K3", colour_key, Read(BOTH)),
    Case("mode_m21_jp2", "K3", named_jpg("JPEG2000"), Read(names(one=EACH + 1))),
    Case("mode_m22_avif", "K3", named_jpg("AVIF"), Read(names(one=EACH + 1))),
    # Picture and annotation do not fit.
    Case(
        "masksize",
        "K4",
        other_size,
        Refused(("masks/000.png is 18×10", "images/000.png 16×12")),
        task="segmentation",
    ),
    Case("tifforient", "K4", on_its_side, Read(BOTH)),
    # One class becomes several.
    Case("lab_blank", "K5", another_spelling("one "), Read(told=("the same name but for blanks",))),
    Case("lab_blank", "K5", another_spelling("one "), Read(BOTH), ("spellings=join",)),
    Case("lab_case", "K5", another_spelling("One"), Read(told=("the same name but for case",))),
    Case("case2", "K5", three_spellings, Read(told=("the same name but for blanks and case",))),
    Case("case2", "K5", three_spellings, Read({"One": 3 * EACH, "zero": EACH}), ("spellings=join",)),
    # Annotations in other units.
    Case("coco_normalised", "K6", coco(annotation=normalised), Refused(("annotations.json", "`-S unit=shares`"))),
    Case("coco_normalised", "K6", coco(annotation=normalised), Read(BOTH), ("unit=shares",)),
    # The check promises, the line does otherwise.
    Case("testlacks", "K7", a_class_that_the_test_split_lacks, Refused(("two: none in test",))),
    Case("testlacks", "K7", a_class_that_the_test_split_lacks, Read(splits=THREE_SPLITS), ("without=[two]",)),
    # Valid data, no way on.
    Case("VOCnodiff", "K8", lambda base: making.voc(base, "JPEGImages", "Annotations", difficult=False), Read(BOTH)),
    Case("badexif", "K8", odd_exif, Read(BOTH)),
    Case("pq_hf_nolib", "K8", parquet(structs, "train-00000-of-00001.parquet"), Read(BOTH)),
    Case("macos", "K8", macos, Read(BOTH)),
    Case(
        "coco_zeroheight", "K8", coco(annotation=flat), Refused(("2 without an area", "annotation 4", "annotation 9"))
    ),
    Case("coco_zeroheight", "K8", coco(annotation=flat), Read(names(one=11, zero=11)), ("faulty=skip",)),
    Case("lab_spaces", "K8", blanks_behind_commas, Read(BOTH)),
    Case("coco_nosize", "K8", coco(image=unsized), Read(BOTH)),
    # A raw exception, no file named.
    Case("lab_utf16", "K9", written(encoding="utf-16"), Read(BOTH)),
    Case("csv_byteslit", "K9", in_text(repr), Refused(("t.csv, row 1", "Python's notation of bytes", "Parquet"))),
    Case("mode_m02_lab", "K9", lab, Read(names(one=EACH + 1), told=("mode LAB, 1 picture",))),
    # Words that mislead, or lack the name.
    Case("mask_l255", "K10", masks_of(255), Refused(("values of 0, 255", "'mask'", "mode L", "values: [0, 255]"))),
    Case(
        "mask_l255",
        "K10",
        masks_of(255),
        Read({"background": 2 * EACH, "thing": 2 * EACH}, bright=False),
        ("names=[background, thing]", "values=[0, 255]"),
    ),
    Case("kaggle", "K10", kaggle, Read(BOTH)),
    Case("kaggle4", "K10", kaggle4, Read(BOTH)),
    Case("nfcnfd", "K10", composed, Read(BOTH)),
    Case("coco_backslash", "K10", coco(image=backslashes), Read(BOTH)),
    Case("csv_url", "K10", addresses, Refused(("t.csv, row 1", "https://example.com/0.jpg", "are not fetched"))),
    Case(
        "heic",
        "K10",
        no_pictures,
        Refused(("IMG_0001.jpg: is HEIC", "empty.jpg: is empty", "pointer of Git LFS", "an HTML page", "cut short")),
    ),
    Case("heic", "K10", no_pictures, Read(BOTH, told=("left out: 5 pictures",)), ("faulty=skip",)),
    Case("jfif", "K10", jfif, Read(names(one=EACH + 1))),
    Case("emnist", "K10", emnist, Read({"1": 2 * EACH, "2": 2 * EACH}, bright=False)),
    Case("hf_jsonl", "K10", hf_jsonl, Read(BOTH)),
    Case("VOCkaggle", "K10", lambda base: making.voc(base, "images", "annotations"), Read(BOTH)),
    Case("nested", "K10", nested, Refused(("one/day0", "-S 'nested=join'"))),
    Case("nested", "K10", nested, Read(BOTH), ("kind=folder", "nested=join")),
    Case("runs", "K10", runs, Read(BOTH, told=("runs has no pictures and is left out",))),
    Case("lab_semicolon", "K10", written(delimiter=";"), Read(BOTH)),
    Case("lab_onehot", "K10", one_hot(sound=False), Refused(("row 1 is 'one' and 'zero'", "`faulty: skip`"))),
    Case("lab_onehot", "K10", one_hot(sound=True), Read(BOTH)),
    Case("lab_multirow", "K10", two_rows_for_one, Refused(("row 1", "row 25", "'zero' instead of 'one'"))),
    Case("csv_b64png", "K10", in_text(lambda content: base64.b64encode(content).decode()), Read(BOTH)),
    Case("pq_list", "K10", parquet(lists), Refused(("t.parquet has pixels in lists", "numpy.savez"))),
    Case("pq_both", "K10", parquet(bytes_and_paths), Read(BOTH)),
    Case("pq_both, as masks", "K10", parquet(pictures_and_masks), Read({"0": 24, "1": 24}, bright=False)),
    Case("npz_n1", "K10", npz, Read({"0": EACH, "1": EACH}, bright=False)),
    Case("huge", "K10", large, Refused(("wide.png: has 14,000 × 13,000 pixels", "warned.png: has 10,000 × 9,500"))),
    Case("coco_dupid", "K10", coco(annotation=same_id), Refused(("020.png", "003.png", "annotation 3"))),
    Case("brackets …", "K10", odd_names, Refused(("[bold]bad.png: is text", "31md.png: is text"))),
    # Names of splits.
    Case("splits_rf", "K11", splits("train", "valid", "test"), Read(splits=THREE_SPLITS)),
    Case("splits, otherwise", "K11", splits("Training", "DEV_set", "Testing"), Read(splits=THREE_SPLITS)),
)
