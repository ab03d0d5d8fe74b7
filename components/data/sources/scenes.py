"""Scenes of things over textured backgrounds, unevenly lit, with exact boxes or masks: detection without a download.

Things lie over each other and over the edge, some of them so that a good half is hidden. No thing is in scenes of two
splits. A scene depends on the seed, its split and its number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import Split
from components.config import FashionMnistSource, SceneDeclaration, ScenesSource
from components.data.errors import DataError
from components.data.sources import digits, fashion_mnist
from components.data.sources.base.form import SourceData
from components.data.sources.composing import Scene, Thing, compose
from components.inputs import png
from components.targets.flat_boxes import column_of

INK = 0.4  # of full scale: where a digit is, and not what lies below
CLOTH = 0.1  # likewise of a piece of clothing, whose pixels are dark in places
_PIXELS = 2**25  # of the scenes in one table
_ORDER: tuple[Split, ...] = ("train", "validation", "test")

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Things:
    """What a split's scenes are made of."""

    thing: Callable[[int], Thing]  # of a number
    classes: npt.NDArray[np.int64]  # of each

    def drawn(self, random: np.random.Generator) -> tuple[Thing, int]:
        """One by lot, each class as often as any other, and its class."""
        label = int(random.choice(np.unique(self.classes)))
        return self.thing(int(random.choice(np.flatnonzero(self.classes == label)))), label


def read(source: ScenesSource, project: Path) -> SourceData:
    if source.items == "digits":
        return scenes(source, tuple(map(str, range(10))), _digits(source))
    return scenes(source, fashion_mnist.CLASSES, _clothes(source, project))


def scenes(source: SceneDeclaration, names: tuple[str, ...], things: dict[Split, Things]) -> SourceData:
    """The source's scenes of these things."""
    kind, classes = ("boxes", names) if source.take == "boxes" else ("mask", ("background", *names))
    return SourceData(classes, kind, _tables(source, things))


def apart(labels: npt.NDArray[np.int64], source: SceneDeclaration) -> npt.NDArray[Any]:
    """The split of each thing `(N,)`, by lot in each class; raises DataError where a class has too few for all."""
    lots = np.full(len(labels), "train", dtype=object)
    random = np.random.default_rng([source.seed, len(labels)])
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        test, validation = (max(1, round(share * len(own))) for share in (source.test, source.validation))
        if test + validation >= len(own):
            raise DataError(
                f"source: expected things of each class for three splits, received {len(own)} of class {label}: none "
                "is in two splits"
            )
        lots[own[:test]], lots[own[test : test + validation]] = "test", "validation"
    return lots


def _digits(source: ScenesSource) -> dict[Split, Things]:
    pixels, labels = digits.load()
    lots = apart(labels, source)
    return {split: _grey(pixels[lots == split], labels[lots == split], INK) for split in _ORDER}


def _clothes(source: ScenesSource, project: Path) -> dict[Split, Things]:
    """Fashion-MNIST's own test items are those of the test scenes."""
    data = fashion_mnist.read(FashionMnistSource(kind="fashion-mnist", mirror=source.mirror), project)
    parts: dict[str, list[tuple[Grey, npt.NDArray[np.int64]]]] = {"train": [], "test": []}
    for table in data.tables:
        pixels = png.decode_stored(table.column("image").combine_chunks())
        if pixels is None:
            raise DataError("source.items: expected Fashion-MNIST's pictures as they were written, received others")
        parts[table.column("published")[0].as_py()].append((pixels[..., 0], table.column("target").to_numpy()))
    (train, labels), (test, others) = (
        (np.concatenate([each for each, _ in parts[name]]), np.concatenate([each for _, each in parts[name]]))
        for name in ("train", "test")
    )
    aside = apart(labels, source) == "validation"
    return {
        "train": _grey(train[~aside], labels[~aside], CLOTH),
        "validation": _grey(train[aside], labels[aside], CLOTH),
        "test": _grey(test, others, CLOTH),
    }


def _grey(pictures: Grey, labels: npt.NDArray[np.int64], least: float) -> Things:
    """Grey pictures `(N, h, w)` as things: where they reach `least` of full scale, they are."""
    return Things(lambda number: Thing(ink=pictures[number] / 255.0, colour=None, least=least), labels)


def _tables(source: SceneDeclaration, things: dict[Split, Things]) -> Iterator[pa.Table]:
    step = max(1, min(10_000, _PIXELS // (source.size * source.size * source.channels)))
    test, validation = (max(1, round(share * source.scenes)) for share in (source.test, source.validation))
    counts: dict[Split, int] = {
        "train": source.scenes - test - validation,
        "validation": validation,
        "test": test,
    }
    for place, split in enumerate(_ORDER):
        for start in range(0, counts[split], step):
            numbers = range(start, min(start + step, counts[split]))
            made = [
                compose(source, things[split].drawn, np.random.default_rng([source.seed, place, number]))
                for number in numbers
            ]
            yield pa.table(
                {
                    "id": [f"{split}-{number:05d}" for number in numbers],
                    "image": png.encode(np.stack([scene.image for scene in made])),
                    "target": _targets(source, made),
                    "published": pa.array([split] * len(made), pa.string()),
                }
            )


def _targets(source: SceneDeclaration, made: Sequence[Scene]) -> pa.Array:
    if source.take == "masks":
        return png.encode(np.stack([scene.mask for scene in made]))
    return column_of([scene.objects for scene in made])
