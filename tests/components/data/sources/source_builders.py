"""A tiny valid example of each kind of source, written to a folder; each gives the `source:` mapping that reads it.

Classes are told apart by brightness, every picture is different, and the same call writes the same bytes.
"""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.config import DatasetConfig
from components.data.sources import registry
from components.data.sources.base.form import SourceData

LABELS = ("cat", "dog")
EACH = 6  # samples a class
SIZE = (12, 10)  # width, height of a picture
SCENE = (40, 30)  # width, height of one with several objects


def pixels(number: int, size: tuple[int, int] = SIZE, label: int = 0) -> npt.NDArray[np.uint8]:
    """`(H, W, 3)` noise, brighter for the second class."""
    random = np.random.default_rng([7, number])
    return (random.integers(0, 128, (size[1], size[0], 3)) + 100 * label).astype(np.uint8)


def save(path: Path, number: int, size: tuple[int, int] = SIZE, label: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(number, size, label)).save(path)
    return path


def parse(source: dict[str, Any]) -> Any:
    """The typed source of a mapping."""
    entry = {"task": "classification", "source": source, "image": {"height": 10, "width": 12, "channels": 3}}
    return DatasetConfig.model_validate(entry).source


def read(source: dict[str, Any], project: Path = Path("/nowhere")) -> tuple[SourceData, list[dict[str, Any]]]:
    """What a source gives, with all of its rows; every table has the columns that were promised."""
    data = registry.read(parse(source), project)
    rows = []
    for table in data.tables:
        assert table.schema.names == data.schema.names
        rows += table.cast(data.schema).to_pylist()
    return data, rows


# -- one a kind ------------------------------------------------------------------------------------------------------


def write_folder(base: Path) -> dict[str, Any]:
    for number in range(2 * EACH):
        save(base / LABELS[number % 2] / f"{number:02d}.png", number, label=number % 2)
    return {"kind": "folder", "path": str(base)}


def write_manifest(base: Path) -> dict[str, Any]:
    """With splits, a group, and a time."""
    lines = ["path,target,split,group_site,taken"]
    for number in range(2 * EACH):
        name = f"images/{number:02d}.png"
        save(base / name, number, label=number % 2)
        split = ("train", "train", "validation", "test")[number // 2 % 4]
        lines.append(f"{name},{LABELS[number % 2]},{split},site-{number % 3},2024-01-{number + 1:02d}")
    (base / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"kind": "manifest", "path": str(base / "manifest.csv"), "time": "taken"}


def coco_content(base: Path) -> dict[str, Any]:
    """Writes EACH scenes with a cat and a dog each, and a crowd in the first; gives the JSON's content."""
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    for number in range(EACH):
        name = f"{number:03d}.png"
        save(base / "images" / name, number, SCENE)
        content["images"].append({"id": 10 + number, "file_name": name, "width": SCENE[0], "height": SCENE[1]})
        for label, category in enumerate((3, 7)):
            left, top, width, height = 3 + 15 * label + number, 4 + number, 8 + number, 9
            right, bottom = left + width, top + height
            content["annotations"].append(
                {
                    "id": 100 + 2 * number + label,
                    "image_id": 10 + number,
                    "category_id": category,
                    "bbox": [left, top, width, height],
                    "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    counts = [600, 60, SCENE[0] * SCENE[1] - 660]  # two columns of pixels
    content["annotations"].append(
        {
            "id": 900,
            "image_id": 10,
            "category_id": 3,
            "bbox": [20, 0, 2, 30],
            "segmentation": {"size": [SCENE[1], SCENE[0]], "counts": counts},
            "area": 60,
            "iscrowd": 1,
        }
    )
    return content


def write_coco(base: Path) -> dict[str, Any]:
    content = coco_content(base)
    (base / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return {"kind": "coco", "path": str(base)}


def voc_xml(name: str, objects: list[tuple[str, tuple[int, int, int, int], int]]) -> str:
    """VOC's XML of a scene: label, box (from 1, last pixel included) and the flag `difficult` of each object."""
    things = "".join(
        f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
        f"<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for label, box, difficult in objects
    )
    return (
        f"<annotation><filename>{name}.jpg</filename><size><width>{SCENE[0]}</width><height>{SCENE[1]}</height>"
        f"<depth>3</depth></size>{things}</annotation>"
    )


def write_voc(base: Path) -> dict[str, Any]:
    """With boxes, masks and, for both, `ImageSets`."""
    names = [f"2007_{number:06d}" for number in range(EACH)]
    for folder in ("Annotations", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation"):
        (base / folder).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        save(base / "JPEGImages" / f"{name}.jpg", number, SCENE)
        boxes = [("cat", (1, 1, 10, 8 + number), 0), ("dog", (15, 5, 40, 30), number % 2)]
        (base / "Annotations" / f"{name}.xml").write_text(voc_xml(name, boxes), encoding="utf-8")
        mask = np.zeros((SCENE[1], SCENE[0]), np.uint8)
        mask[0 : 8 + number, 0:10] = 8  # cat
        mask[4:30, 14:40] = 12  # dog
        mask[4, 14:40] = 255
        picture = Image.fromarray(mask, mode="P")
        picture.putpalette([value for index in range(256) for value in (index, 255 - index, index // 2)])
        picture.save(base / "SegmentationClass" / f"{name}.png")
    for kind in ("Main", "Segmentation"):
        folder = base / "ImageSets" / kind
        (folder / "train.txt").write_text("\n".join(names[:3]) + "\n", encoding="utf-8")
        (folder / "val.txt").write_text("\n".join(names[3:5]) + "\n", encoding="utf-8")
        (folder / "trainval.txt").write_text("\n".join(names[:5]) + "\n", encoding="utf-8")
    return {"kind": "voc", "path": str(base)}


def idx_bytes(values: npt.NDArray[Any], kind: int = 0x08) -> bytes:
    """An idx file of an array."""
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes([0, 0, kind, values.ndim]) + sizes + values.tobytes()


def write_idx(base: Path) -> dict[str, Any]:
    """A training pair packed by gzip, and a test pair that is not."""
    base.mkdir(parents=True, exist_ok=True)
    for stem, count in (("train", 2 * EACH), ("t10k", EACH)):
        labels = np.arange(count, dtype=np.uint8) % 2
        grey = np.stack([pixels(number, label=int(label))[..., 0] for number, label in enumerate(labels)])
        for name, values in ((f"{stem}-images-idx3-ubyte", grey), (f"{stem}-labels-idx1-ubyte", labels)):
            if stem == "train":
                (base / f"{name}.gz").write_bytes(gzip.compress(idx_bytes(values), mtime=0))
            else:
                (base / name).write_bytes(idx_bytes(values))
    return {"kind": "idx", "path": str(base), "names": list(LABELS)}


def arrays_content() -> dict[str, npt.NDArray[Any]]:
    labels = np.arange(2 * EACH) % 2
    return {
        "images": np.stack([pixels(number, label=int(label)) for number, label in enumerate(labels)]),
        "labels": labels,
        "split": np.array(["train", "train", "val", "test"] * (EACH // 2)),
        "group_site": np.array([f"site-{number % 3}" for number in range(2 * EACH)]),
        "time": np.arange(2 * EACH, dtype=np.float64),
    }


def write_arrays(base: Path) -> dict[str, Any]:
    base.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(base / "data.npz", **arrays_content())  # type: ignore[arg-type]
    return {"kind": "arrays", "path": str(base / "data.npz"), "names": list(LABELS)}


def huggingface_content(base: Path) -> Any:
    """A `DatasetDict` of train, validation and test, with an Image, a ClassLabel and a further column."""
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(LABELS)),
            "site": datasets.Value("string"),
        }
    )
    splits = {}
    for start, split in enumerate(("train", "validation", "test")):
        numbers = range(100 * start, 100 * start + EACH)
        rows = {
            "image": [
                {"bytes": save(base / f".{number}.png", number, label=number % 2).read_bytes(), "path": None}
                for number in numbers
            ],
            "label": [number % 2 for number in numbers],
            "site": [None if number % 3 == 0 else f"site-{number % 3}" for number in numbers],
        }
        splits[split] = datasets.Dataset.from_dict(rows, features=features)
        for number in numbers:
            (base / f".{number}.png").unlink()
    return datasets.DatasetDict(splits)


def write_huggingface(base: Path) -> dict[str, Any]:
    base.mkdir(parents=True, exist_ok=True)
    huggingface_content(base).save_to_disk(str(base / "saved"))
    return {"kind": "huggingface", "path": str(base / "saved"), "groups": ["site"]}


WRITERS = {
    "folder": write_folder,
    "manifest": write_manifest,
    "coco": write_coco,
    "voc": write_voc,
    "idx": write_idx,
    "arrays": write_arrays,
    "huggingface": write_huggingface,
}
