"""What lies at a path is recognised, what is recognised can be read, and what is not is told what to change."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from components.config import parse_entry
from components.data.checking.detect import LAYOUTS, choose, detect
from components.data.errors import DataError
from components.data.sources import registry
from components.data.sources.base.form import SourceData
from components.data.sources.layouts.listing import contents, tree

CLASSES = ("cat", "dog")
EACH = 4


def read(path: Path | str, project: Path, kind: str | None = None) -> SourceData:
    """What the recognised section gives, read by the sources themselves."""
    known = {"path": str(path), **({"kind": kind} if kind else {})}
    section = dict(choose(known, project).source)
    image = {"height": 8, "width": 8, "channels": 3}
    config = parse_entry("found", {"task": "classification", "source": section, "image": image})
    return registry.read(config.source, project)


def rows(data: SourceData) -> pa.Table:
    return pa.concat_tables(data.tables)


def picture(path: Path, number: int, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def in_folders(base: Path) -> Path:
    for number, label in enumerate(CLASSES * EACH):
        picture(base / label / f"{number}.png", number)
    return base


def in_splits(base: Path) -> Path:
    for split in ("train", "test"):
        in_folders(base / split)
    return base


def wrapped(base: Path) -> Path:
    in_folders(base / "photographs 2024")
    return base


def zipped(base: Path) -> Path:
    in_folders(base / "content" / "animals")
    return Path(shutil.make_archive(str(base / "animals"), "zip", base / "content"))


def tarred(base: Path) -> Path:
    in_folders(base / "content")
    return Path(shutil.make_archive(str(base / "animals"), "gztar", base / "content"))


def a_csv(base: Path) -> Path:
    """Other people's column names; images beside it."""
    names = [f"images/{number}.png" for number in range(2 * EACH)]
    for number, name in enumerate(names):
        picture(base / name, number)
    table = pa.table({"file_name": names, "species": CLASSES * EACH, "patient": ["a", "b"] * EACH})
    pyarrow.csv.write_csv(table, base / "labels.csv")
    return base


def a_parquet(base: Path) -> Path:
    images = [picture(base / "tmp" / f"{number}.png", number).read_bytes() for number in range(2 * EACH)]
    pq.write_table(pa.table({"image": images, "label": CLASSES * EACH}), base / "all.parquet")
    return base / "all.parquet"


def a_coco(base: Path) -> Path:
    """One JSON a split, the images elsewhere: as COCO itself is published."""
    for split in ("train2017", "val2017"):
        boxes = [[0, 0, 4, 4], [4, 4, 4, 4], [0, 4, 4, 4], [4, 0, 4, 4]]
        content = {
            "images": [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 8} for n in range(EACH)],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": boxes[n], "area": 16, "iscrowd": 0}
                for n in range(EACH)
            ],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        }
        (base / "annotations").mkdir(exist_ok=True, parents=True)
        (base / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        for n in range(EACH):
            picture(base / split / f"{n}.png", n + len(split))
    return base


def a_voc(base: Path) -> Path:
    for n in range(2 * EACH):
        picture(base / "JPEGImages" / f"{n:06d}.jpg", n)
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>6</xmax><ymax>6</ymax></bndbox>"
        xml = (
            f"<annotation><filename>{n:06d}.jpg</filename><size><width>8</width><height>8</height><depth>3</depth></size>"
            f"<object><name>{CLASSES[n % 2]}</name><difficult>0</difficult>{box}</object></annotation>"
        )
        (base / "Annotations").mkdir(exist_ok=True)
        (base / "Annotations" / f"{n:06d}.xml").write_text(xml)
    return base


def an_idx(base: Path) -> Path:
    """EMNIST's names."""
    base.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        pixels = np.arange(2 * EACH * 64, dtype=np.uint8).tobytes()
        images = struct.pack(">BBBBIII", 0, 0, 8, 3, 2 * EACH, 8, 8) + pixels
        labels = struct.pack(">BBBBI", 0, 0, 8, 1, 2 * EACH) + bytes([0, 1] * EACH)
        (base / f"emnist-letters-{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (base / f"emnist-letters-{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    return base


def an_npz(base: Path) -> Path:
    base.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (2 * EACH, 8, 8), dtype=np.uint8)
    np.savez(base / "all.npz", x=images, labels=np.array(CLASSES * EACH), split=np.array(["train", "test"] * EACH))
    return base / "all.npz"


def a_hugging_face(base: Path) -> Path:
    datasets = pytest.importorskip("datasets")
    files = [str(picture(base / "tmp" / f"{number}.png", number)) for number in range(2 * EACH)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))})
    made = datasets.Dataset.from_dict({"image": files, "label": [0, 1] * EACH}, features=features)
    made.save_to_disk(str(base / "saved"))
    return base / "saved"


@pytest.mark.parametrize(
    ("build", "kind", "splits"),
    [
        (in_folders, "folder", {None}),
        (in_splits, "folder", {"train", "test"}),
        (wrapped, "folder", {None}),
        (zipped, "folder", {None}),
        (tarred, "folder", {None}),
        (a_csv, "manifest", {None}),
        (a_parquet, "manifest", {None}),
        (a_coco, "coco", {"train", "validation"}),
        (a_voc, "voc", {None}),
        (an_idx, "idx", {"train", "test"}),
        (an_npz, "arrays", {"train", "test"}),
        (a_hugging_face, "huggingface", {None}),
    ],
)
def test_what_is_recognised_can_be_read(
    build: Callable[[Path], Path], kind: str, splits: set[str | None], tmp_path: Path
) -> None:
    path = build(tmp_path / "data with a space ü")

    chosen = choose({"path": str(path)}, tmp_path)
    data = read(path, tmp_path)

    assert chosen.kind == kind
    assert len(data.classes) == 2
    table = rows(data)
    assert set(table.column("published").to_pylist()) == splits
    assert set(table.column("target").to_pylist()) == {0, 1}


def test_the_package_s_own_sources_need_no_path(tmp_path: Path) -> None:
    assert choose({"path": "digits"}, tmp_path).source == {"kind": "digits"}
    (tmp_path / "digits").mkdir()
    in_folders(tmp_path / "digits")
    assert choose({"path": "digits"}, tmp_path).kind == "folder"  # a folder of that name is meant


def test_what_can_be_read_in_two_ways_is_asked_about(tmp_path: Path) -> None:
    base = in_folders(tmp_path / "animals")
    names = sorted(path.relative_to(base).as_posix() for path in base.rglob("*.png"))
    pyarrow.csv.write_csv(pa.table({"path": names, "label": ["x", "y"] * EACH}), base / "labels.csv")

    with pytest.raises(
        DataError, match=r"2 ways(.|\n)*--kind folder +one folder per class(.|\n)*--kind manifest +a table"
    ):
        choose({"path": str(base)}, tmp_path)

    assert read(base, tmp_path, "manifest").classes == ("x", "y")
    assert read(base, tmp_path, "folder").classes == CLASSES


@pytest.mark.parametrize(
    ("files", "says", "advice"),
    [
        (["notes.txt", "a/b.pdf"], "1 folder (a), 1 .txt (notes.txt)", ""),
        (["1.png", "2.png"], "2 .png", "have no labels"),
        (["all/1.png", "all/2.png"], "", "one class leaves nothing to tell apart"),
        (["images/1.png", "labels/1.txt"], "", "YOLO"),
        (["cat/1.png", "cat/notes.md", "dog/1.png"], "", "move cat/notes.md elsewhere"),
        ([], "an empty folder", ""),
    ],
)
def test_what_is_nearly_a_layout_is_told_what_to_change(
    files: list[str], says: str, advice: str, tmp_path: Path
) -> None:
    base = tmp_path / "data"
    base.mkdir()
    for number, name in enumerate(files):
        if name.endswith(".png"):
            picture(base / name, number)
        else:
            (base / name).parent.mkdir(parents=True, exist_ok=True)
            (base / name).write_text("x")

    seen = detect(base, str(base))

    if not seen.candidates:
        with pytest.raises(DataError) as told:
            choose({"path": str(base)}, tmp_path)
        assert advice or all(name in str(told.value) for name in LAYOUTS)
        assert advice in str(told.value)
    assert says in seen.says
    assert advice in seen.advice


def test_a_table_without_known_columns_says_which_there_are(tmp_path: Path) -> None:
    base = a_csv(tmp_path / "data")
    pyarrow.csv.write_csv(pa.table({"bild": ["0"], "art": ["cat"], "jahr": ["1999"]}), base / "labels.csv")
    with pytest.raises(
        DataError, match="columns bild, art, jahr: with `--kind manifest -S image=COLUMN -S target=COLUMN`"
    ):
        choose({"path": str(base)}, tmp_path)


def test_nothing_at_the_path_is_said_to_be_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a file or folder, received .*nowhere"):
        choose({"path": str(tmp_path / "nowhere")}, tmp_path)


def test_one_picture_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one picture is no data set"):
        choose({"path": str(picture(tmp_path / "one.png", 0))}, tmp_path)


def test_an_unknown_kind_is_told_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--kind: expected one of folder, .*received 'floder'"):
        choose({"path": str(tmp_path), "kind": "floder"}, tmp_path)


def test_a_json_that_is_not_coco_s_is_left_alone(tmp_path: Path) -> None:
    base = in_folders(tmp_path / "animals")
    (base / "meta.json").write_text('{"images": 3, "licence": "MIT"}')
    assert choose({"path": str(base)}, tmp_path).kind == "folder"


def test_pictures_are_counted_and_not_named() -> None:
    top = tree([f"cat/{number}.jpg" for number in range(5_000)] + ["cat/notes.txt", ".git/config", "__MACOSX/x.png"])
    assert set(top.folders) == {"cat"}
    assert top.folders["cat"].suffixes == {".jpg": 5_000, ".txt": 1}
    assert top.folders["cat"].names == ["notes.txt"]


def test_an_empty_folder_is_seen(tmp_path: Path) -> None:
    (tmp_path / "empty" / "inside").mkdir(parents=True)
    assert set(contents(tmp_path).top.folders["empty"].folders) == {"inside"}
