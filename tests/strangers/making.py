"""Small pictures, tables and annotations as strangers bring them: two classes, each of a brightness of its own, so that
what was read can be held against what was meant. No two pictures are alike, and the same call writes the same bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

CLASSES = ("one", "zero")
BRIGHT = {"one": 70, "zero": 185}
EACH = 12  # pictures a class
NUMBERS = range(EACH * len(CLASSES))
HEIGHT, WIDTH = 12, 16

Content = Callable[[int], bytes]


def label(number: int) -> str:
    return CLASSES[number % len(CLASSES)]


def grey(number: int, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """`(height, width)`, smooth patches within 40 of the class's brightness."""
    coarse = np.random.default_rng([11, number]).integers(-40, 41, (4, 5)) + BRIGHT[label(number)]
    smooth = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(smooth)


def colour(number: int, height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    """`(height, width, 3)`, the same."""
    return np.stack([np.roll(grey(number, height, width), shift, axis=1) for shift in range(3)], axis=-1)


def encoded(pixels: npt.NDArray[Any] | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file, form, **options)
    return file.getvalue()


def png(number: int) -> bytes:
    return encoded(grey(number))


def jpeg(number: int) -> bytes:
    return encoded(colour(number), "JPEG", quality=95)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def folder(base: Path, content: Content = png, suffix: str = ".png", under: str = "", start: int = 0) -> Path:
    """One folder per class below `base/under`; `start` makes other pictures."""
    for number in NUMBERS:
        put(base / under / label(number) / f"{number:03}{suffix}", content(start + number))
    return base


def pictures(base: Path, form: str = "i/{:03}.png", content: Content = png) -> list[str]:
    """Pictures beside each other, and their names."""
    names = [form.format(number) for number in NUMBERS]
    for number, name in zip(NUMBERS, names, strict=True):
        put(base / name, content(number))
    return names


def table(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]], delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def labelled(base: Path, names: Sequence[str], of: Callable[[int], str] = label) -> Path:
    """A table of these pictures' classes."""
    return table(base / "t.csv", ["path", "target"], [[name, of(number)] for number, name in enumerate(names)])


def coco(
    base: Path,
    annotation: Callable[[dict[str, Any], int], Any] = lambda each, number: None,
    image: Callable[[dict[str, Any], int], Any] = lambda each, number: None,
) -> Path:
    """COCO's JSON with one object per picture; the two functions change what is written of it."""
    names = pictures(base, "images/{:03}.png", lambda number: encoded(colour(number)))
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]
    for number, name in enumerate(names):
        picture = {"id": number, "file_name": Path(name).name, "width": WIDTH, "height": HEIGHT}
        thing = {"id": number, "image_id": number, "category_id": 1 + number % 2, "bbox": [2, 1, 10, 8], "area": 80}
        thing |= {"iscrowd": 0, "segmentation": [[2, 1, 12, 1, 12, 9, 2, 9]]}
        image(picture, number)
        annotation(thing, number)
        content["images"].append(picture)
        content["annotations"].append(thing)
    (base / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return base


def voc(base: Path, pictures_in: str, xml_in: str, difficult: bool = True) -> Path:
    """Pascal VOC's XML with one object per picture."""
    for number, name in enumerate(pictures(base, f"{pictures_in}/{{:03}}.jpg", jpeg)):
        flag = "<difficult>0</difficult>" if difficult else ""
        box = "<xmin>2</xmin><ymin>2</ymin><xmax>14</xmax><ymax>11</ymax>"
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        thing = f"<object><name>{label(number)}</name>{flag}<bndbox>{box}</bndbox></object>"
        text = f"<annotation><filename>{Path(name).name}</filename>{size}{thing}</annotation>"
        put(base / xml_in / f"{number:03}.xml", text.encode())
    return base


def masks(base: Path, value: int = 1, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """A table of pictures and masks, whose lower part is an object of `value`."""
    rows = []
    for number, name in enumerate(pictures(base, "images/{:03}.png")):
        mask = np.zeros(size, np.uint8)
        mask[3 + number % 5 :, 2:] = value
        put(base / f"masks/{number:03}.png", encoded(mask))
        rows.append([name, f"masks/{number:03}.png"])
    return table(base / "table.csv", ["image", "mask"], rows)
