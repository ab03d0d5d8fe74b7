"""What tests of drift share: a pool of real images to draw from, and whole profiles of what was drawn."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.artifacts import DatasetCard, ImageSpec
from components.data.drift.profile import describe, seen
from components.data.reading.loading import Arrays
from components.data.sources import digits as digits_source
from components.inputs.image import INPUT
from components.targets.class_ import TARGET

SITES = ("north", "south")
Images = npt.NDArray[np.uint8]


class Pool(NamedTuple):
    """Images to draw from."""

    images: Images  # (N, H, W, 1)
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    side: int  # rows of a side


@functools.cache
def pool() -> Pool:
    """scikit-learn's 1,797 digits: the same on every machine, whatever has been downloaded there."""
    small, truth = digits_source.load()
    return Pool(small[..., None], truth, tuple(map(str, range(10))), 800)


def drawn(images: Images, labels: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], seed: int = 0) -> Arrays:
    """Rows of a pool, each with one of two sites by lot."""
    sites = np.array(SITES)[np.random.default_rng(seed).integers(0, 2, len(rows))]
    return Arrays(rows.astype(str), images[rows], labels[rows], {"group_site": sites})


def embed(images: Images) -> npt.NDArray[Any]:
    """A fixed random layer of 64 units: sensitive to where things are, as a network is."""
    layer = np.random.default_rng(0).standard_normal((images[0].size, 64)) / np.sqrt(images[0].size)
    return np.maximum((images.reshape(len(images), -1) / 255.0 - 0.25) @ layer, 0.0)


def told(rows: Arrays, classes: tuple[str, ...]) -> dict[str, npt.NDArray[Any]]:
    """What is told of the rows' pictures, and of their targets, which are classes."""
    height, width, channels = rows.inputs.shape[1:]
    spec = ImageSpec(height=height, width=width, channels=channels, mean=(0.5,), std=(0.5,))
    return INPUT.summary(rows.inputs, spec) | TARGET.summary(rows.targets, DatasetCard.model_construct(classes=classes))


def table(rows: Arrays, classes: tuple[str, ...]) -> pd.DataFrame:
    """A whole profile, of which the embedding is that of the same rows."""
    return pd.concat([describe(rows, told(rows, classes)), seen(rows, embed)], ignore_index=True)
