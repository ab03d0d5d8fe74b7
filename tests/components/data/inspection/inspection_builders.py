"""Sources of arrays, copies of pictures as they come about in life, and pictures that do not belong."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from scipy import fft

from components.config import DatasetConfig
from components.data.inspection.eyes.thumbnails import SIDE, shrink
from components.data.inspection.rows import Rows
from components.data.sources.base.form import SourceData
from components.data.sources.digits import load
from components.inputs import png

Pixels = npt.NDArray[np.uint8]

DIGITS = {
    "task": "classification",
    "source": {"kind": "digits"},
    "image": {"height": 8, "width": 8, "channels": 1},
    "split": {"validation": 0.15, "test": 0.2},
}


def config(**changes: Any) -> DatasetConfig:
    return DatasetConfig.model_validate(DIGITS | changes)


def digits(count: int | None = None, seed: int = 0) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """All 1,797, or some of them: `(N, 8, 8)` and labels."""
    pixels, labels = load()
    if count is None:
        return pixels, labels
    chosen = np.random.default_rng(seed).choice(len(pixels), count, replace=False)
    return pixels[chosen], labels[chosen]


def source(
    contents: Sequence[bytes | None] | Pixels,
    labels: Sequence[int | None],
    *,
    classes: Sequence[str] = tuple("0123456789"),
    published: Sequence[str | None] | None = None,
    groups: dict[str, Sequence[str | None]] | None = None,
    rows: int = 500,
) -> SourceData:
    """Encoded images or `(N, H, W)` pixels as a source gives them, some rows a table; ids are s0000, s0001, …"""
    column = png.encode(contents) if isinstance(contents, np.ndarray) else pa.array(contents, pa.binary())
    count = len(column)
    table = pa.table(
        {
            "id": [f"s{number:04d}" for number in range(count)],
            "image": column,
            "target": pa.array(labels, pa.int64()),
            "published": pa.array(published or [None] * count, pa.string()),
            **{name: pa.array(values, pa.string()) for name, values in (groups or {}).items()},
        }
    )

    def tables() -> Iterator[pa.Table]:
        for start in range(0, count, rows):
            yield table.slice(start, rows)

    return SourceData(tuple(classes), "class", tables(), tuple(groups or {}))


def filled(folder: Path, *batches: Pixels) -> Rows:
    """A file of thumbnails of `(N, H, W)` or `(N, H, W, C)` pictures; batches may be of different sizes."""
    four = [batch[..., None] if batch.ndim == 3 else batch for batch in batches]
    channels = max(batch.shape[3] for batch in four)
    rows = Rows(folder, (SIDE, SIDE, channels), np.uint8)
    for batch in four:
        rows.append(shrink(batch, channels))
    return rows


# -- copies -----------------------------------------------------------------------------------------------------------


def encoded(pixels: Pixels, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format=kind, **options)
    return content.getvalue()


def _jpeg(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(encoded(pixels, "JPEG", quality=70))))


def _brighter(pixels: Pixels, random: np.random.Generator) -> Pixels:
    changed = pixels * random.uniform(0.85, 1.15) + random.uniform(-20, 20)
    return np.rint(np.clip(changed, 0, 255)).astype(np.uint8)


def _noisy(pixels: Pixels, random: np.random.Generator) -> Pixels:
    return np.rint(np.clip(pixels + random.normal(0, 5, pixels.shape), 0, 255)).astype(np.uint8)


def _larger(pixels: Pixels, random: np.random.Generator) -> Pixels:
    size = (2 * pixels.shape[1], 2 * pixels.shape[0])
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _smaller(pixels: Pixels, random: np.random.Generator) -> Pixels:
    size = (pixels.shape[1] // 2, pixels.shape[0] // 2)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


ALTERED: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "jpeg": _jpeg,
    "brighter": _brighter,
    "noisy": _noisy,
    "larger": _larger,
    "smaller": _smaller,
}


def altered(pictures: Pixels, how: str, seed: int = 0) -> Pixels:
    """Copies of `(N, H, W[, C])` pictures: at JPEG's quality 70, of another brightness and contrast, with noise of 5
    grey values, twice or half as large."""
    random = np.random.default_rng(seed)
    return np.stack([ALTERED[how](picture, random) for picture in pictures])


@cache
def crops(side: int) -> Pixels:
    """`(N, side, side, 3)`: what two photographs (scikit-learn's) are cut into, less what is of one value nearly."""
    from sklearn.datasets import load_sample_images

    cut = [
        photograph[top : top + side, left : left + side]
        for photograph in load_sample_images().images
        for top in range(0, photograph.shape[0] - side + 1, side)
        for left in range(0, photograph.shape[1] - side + 1, side)
    ]
    return np.stack([piece for piece in cut if piece.std() > 15])


@cache
def photographs(count: int, side: int = 80, seed: int = 0) -> Pixels:
    """`(N, side, side, 3)`: pictures with structure at every scale and in colour, no two alike.

    Their spectrum falls with the frequency, as that of photographs does.
    """
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None]) * side
    spectrum = random.normal(size=(count, 3, side, side)) + 1j * random.normal(size=(count, 3, side, side))
    waves = fft.ifft2(spectrum / np.maximum(frequency, 1.0)).real
    waves = waves[:, :1] + 0.4 * waves  # channels correlate, as in photographs: by 0.9
    waves /= np.abs(waves).max(axis=(1, 2, 3), keepdims=True)
    return np.ascontiguousarray(np.moveaxis(np.rint(127.5 + 127.0 * waves).astype(np.uint8), 1, 3))
