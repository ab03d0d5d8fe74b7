"""Scenes composed of scikit-learn's digits over noise, several to a scene, with exact masks, boxes and measures.

For segmentation, detection and regression without a download. Scene `i` depends on the seed and on `i` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.ndimage import rotate

from components.config import DigitScenesSource
from components.data.sources.base.form import SourceData
from components.data.sources.digits import load
from components.inputs import png
from components.targets.flat_boxes import COLUMNS, column_of

CLASSES = ("background", *(str(digit) for digit in range(10)))
VALUES, UNITS = ("count", "size", "angle"), ("", "px", "°")
BACKGROUND = 0.2  # share of full scale
INK = 0.4  # a pixel belongs to a digit where its interpolated ink reaches this share: thinner strokes drown in noise
SMALLEST, LARGEST = 0.3, 0.5  # side of a digit as a share of the scene's
TRIES = 30  # for a place that overlaps no other digit; after that the later digit lies on top

HARDLY = 0.1  # of a digit's ink that no other covers: less is neither learnt nor judged

Floats = npt.NDArray[np.float64]
Box = tuple[int, int, int]  # row, column, side


def read(source: DigitScenesSource, project: Path) -> SourceData:
    if source.take == "values":
        return SourceData((), "values", _tables(source), about={"names": VALUES, "units": UNITS})
    if source.take == "boxes":
        return SourceData(CLASSES[1:], "boxes", _tables(source))
    return SourceData(CLASSES, "mask", _tables(source))


def _tables(source: DigitScenesSource) -> Iterator[pa.Table]:
    digits, labels = load()
    step = max(1, _images_per_table(source.size))
    for start in range(0, source.scenes, step):
        numbers = range(start, min(start + step, source.scenes))
        scenes = [compose(source, number, digits, labels) for number in numbers]
        yield pa.table(
            {
                "id": [f"scene-{number:05d}" for number in numbers],
                "image": png.encode(np.stack([scene.image for scene in scenes])),
                "target": _targets(source, scenes),
                "published": pa.nulls(len(scenes), pa.string()),
            }
        )


def _images_per_table(size: int) -> int:
    return int(min(10_000, 2**25 // (size * size)))


def _targets(source: DigitScenesSource, scenes: Sequence[Scene]) -> pa.Array:
    if source.take == "masks":
        return png.encode(np.stack([scene.mask for scene in scenes]))
    if source.take == "boxes":
        return column_of([scene.objects for scene in scenes])
    measured = [[float(len(scene.sides)), float(np.mean(scene.sides)), scene.angle] for scene in scenes]
    return pa.array(measured, pa.list_(pa.float64()))


@dataclass(frozen=True)
class Scene:
    """One picture, and what is in it."""

    image: npt.NDArray[np.uint8]  # (size, size)
    mask: npt.NDArray[np.uint8]  # (size, size), pixels index `CLASSES`
    sides: tuple[int, ...]  # of the squares that digits are drawn in, in pixels
    angle: float  # by which they are turned, in degrees, counter-clockwise
    objects: tuple[dict[str, Any], ...]  # a box each, around all of its ink, as `components.targets.boxes` stores it


def compose(
    source: DigitScenesSource, number: int, digits: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> Scene:
    """The scene of that number."""
    angle = float(np.random.default_rng([source.seed, number, 1]).uniform(-source.tilt, source.tilt))
    random = np.random.default_rng([source.seed, number])
    scene = np.full((source.size, source.size), BACKGROUND)
    mask = np.zeros((source.size, source.size), dtype=np.uint8)
    owner = np.full((source.size, source.size), -1)  # which of the digits lies on top
    boxes: list[Box] = []
    inked: list[tuple[int, Inked]] = []
    for _ in range(int(random.integers(source.digits[0], source.digits[1] + 1))):
        chosen = int(random.integers(len(labels)))
        box = _place(random, source.size, boxes)
        row, column, side = box
        ink = enlarge(digits[chosen] / 255.0, side)
        if source.tilt:
            ink = rotate(ink, angle, reshape=False, order=1)
        where = ink >= INK
        area = (slice(row, row + side), slice(column, column + side))
        scene[area] = np.where(where, 0.35 + 0.65 * ink, scene[area])
        mask[area] = np.where(where, labels[chosen] + 1, mask[area])
        owner[area] = np.where(where, len(boxes), owner[area])
        inked.append((int(labels[chosen]), Inked.of(where, row, column)))
        boxes.append(box)
    noisy = scene + source.noise * random.standard_normal(scene.shape)
    image = np.rint(np.clip(noisy, 0.0, 1.0) * 255.0).astype(np.uint8)
    seen = np.bincount(owner[owner >= 0], minlength=len(boxes))
    objects = tuple(ink.stored(label, int(top)) for (label, ink), top in zip(inked, seen, strict=True))
    return Scene(image, mask, tuple(side for _, _, side in boxes), angle, objects)


@dataclass(frozen=True)
class Inked:
    """Where a digit's ink is, and on how many pixels."""

    sides: tuple[int, int, int, int]  # left, top, right, bottom
    pixels: int

    @classmethod
    def of(cls, where: npt.NDArray[np.bool_], row: int, column: int) -> Inked:
        """Of `(side, side)` pixels that have ink, the first of them at this row and column of the scene."""
        down, across = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        sides = (column + across[0], row + down[0], column + across[-1] + 1, row + down[-1] + 1)
        return cls(tuple(map(int, sides)), int(where.sum()))  # type: ignore[arg-type]

    def stored(self, label: int, seen: int) -> dict[str, Any]:
        """With the class, and how many of its pixels are seen."""
        visible = seen / self.pixels
        return dict(zip(COLUMNS, (label, *self.sides, visible < HARDLY, visible), strict=True))


def _place(random: np.random.Generator, size: int, boxes: list[Box]) -> Box:
    for _ in range(TRIES):
        side = int(random.integers(max(8, round(SMALLEST * size)), max(9, round(LARGEST * size) + 1)))
        box = (int(random.integers(size - side + 1)), int(random.integers(size - side + 1)), side)
        if not any(_overlap(box, other) for other in boxes):
            break
    return box


def _overlap(one: Box, other: Box) -> bool:
    return (
        abs((2 * one[0] + one[2]) - (2 * other[0] + other[2])) < one[2] + other[2]
        and abs((2 * one[1] + one[2]) - (2 * other[1] + other[2])) < one[2] + other[2]
    )


def enlarge(image: Floats, side: int) -> Floats:
    """`(h, w)` → `(side, side)`, bilinear with aligned corners."""
    at = np.linspace(0.0, image.shape[0] - 1.0, side)
    low = np.minimum(at.astype(int), image.shape[0] - 2)
    part = (at - low)[:, None]
    rows = image[low] * (1 - part) + image[low + 1] * part
    enlarged: Floats = rows[:, low] * (1 - part.T) + rows[:, low + 1] * part.T
    return enlarged
