"""Pictures at 32×32, by whole numbers alone: the same on every machine. They wait in a file, not in memory.

Everything that compares pictures reads them from here: twins, outliers, doubtful labels. People are shown previews,
which are larger where the picture is.
"""

from __future__ import annotations

import io
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

SIDE = 32
PREVIEW = 96  # pixels of the longer side of a preview: 2 to 4 kB each
BATCH = 4096  # thumbnails that are read at a time: 4 MB a channel
_BITS = 14  # of a weight: finer than a pixel's share of a 4,000 pixel side; and 2·14 + 8 bits are exact in float64
_AT_ONCE = 2**22  # values that are resized at a time: 32 MB as float64
_LUMINANCE = np.array([19595, 38470, 7471], dtype=np.int64)  # ITU-R 601-2 in 1/65536, as Pillow has it


def shrink(images: Pixels, channels: int) -> Pixels:
    """`(N, H, W, C)`, C 1 or 3 → `(N, 32, 32, channels)`.

    A triangle filter as wide as the step; where a picture grows, that is bilinear. Weights are whole numbers and every
    sum stays below 2^53, so that float64 is exact in whatever order it adds.
    """
    count, height, width, own = images.shape
    down, across = _weights(height), _weights(width)
    result = np.empty((count, SIDE, SIDE, own), dtype=np.uint8)
    step = max(1, _AT_ONCE // (height * width * own))
    for start in range(0, count, step):
        block = images[start : start + step].reshape(-1, height, width * own)
        rows = _down(block, down).reshape(len(block), SIDE, width, own)
        both = np.moveaxis(across @ np.moveaxis(rows, 3, 1).swapaxes(2, 3), 1, 3).swapaxes(1, 2)
        result[start : start + step] = (both.astype(np.int64) + (1 << (2 * _BITS - 1))) >> (2 * _BITS)
    if own == channels:
        return result
    return np.repeat(result, 3, axis=3) if own == 1 else luminance(result)


def _down(block: Pixels, weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`(32, H)` weights times each of `(N, H, W)`; of a large picture some columns at a time."""
    count, height, width = block.shape
    step = max(1, _AT_ONCE // (count * height))
    if step >= width:
        return weights @ block.astype(np.float64)
    rows = np.empty((count, SIDE, width))
    for left in range(0, width, step):
        rows[:, :, left : left + step] = weights @ block[:, :, left : left + step].astype(np.float64)
    return rows


def luminance(images: Pixels) -> Pixels:
    """`(N, H, W, C)`, C 1 or 3 → `(N, H, W, 1)`."""
    if images.shape[3] == 1:
        return images
    summed = (images.astype(np.int64) @ _LUMINANCE + (1 << 15)) >> 16
    return summed[..., None].astype(np.uint8)


@lru_cache(maxsize=64)
def _weights(length: int) -> npt.NDArray[np.float64]:
    """`(32, length)`: whole numbers, each row's sum is 2^14."""
    scale = length / SIDE
    reach = max(scale, 1.0)
    centre = (np.arange(SIDE) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centre[:, None]) / reach
    share = np.maximum(1.0 - distance, 0.0)
    weights: npt.NDArray[np.float64] = np.floor(share / share.sum(axis=1, keepdims=True) * (1 << _BITS))
    weights[np.arange(SIDE), weights.argmax(axis=1)] += (1 << _BITS) - weights.sum(axis=1)
    return weights


class Previews:
    """Pictures for people, as small JPEGs in a file without a name: eight bytes of memory each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".previews.")  # noqa: SIM115 — closed by `__exit__`
        self._ends = array("Q")

    def append(self, contents: Iterable[bytes]) -> None:
        """One each; empty where there is none."""
        self._file.seek(0, 2)
        at = self._ends[-1] if self._ends else 0
        for content in contents:
            self._file.write(content)
            at += len(content)
            self._ends.append(at)

    def __getitem__(self, index: int) -> bytes:
        start = self._ends[index - 1] if index else 0
        self._file.seek(start)
        return self._file.read(self._ends[index] - start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def preview(image: Image.Image) -> bytes:
    """A JPEG of a picture in mode L or RGB, empty where the thumbnail shows all there is."""
    if max(image.size) <= SIDE:
        return b""
    small = image.copy()
    small.thumbnail((PREVIEW, PREVIEW), Image.Resampling.BILINEAR, reducing_gap=2.0)
    content = io.BytesIO()
    small.save(content, format="JPEG", quality=80)
    return content.getvalue()


class Rows:
    """Rows of one shape and kind in a file without a name: written in order, read a batch at a time."""

    def __init__(self, folder: Path, shape: tuple[int, ...], kind: npt.DTypeLike) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".rows.")  # noqa: SIM115 — closed by `__exit__`
        self.shape, self._kind = shape, np.dtype(kind)  # of a row
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: npt.NDArray[Any]) -> None:
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(rows, dtype=self._kind).data)
        self._rows += len(rows)

    def take(self, indices: npt.NDArray[np.integer] | slice) -> npt.NDArray[Any]:
        """A copy; what is read is mapped only as long as that takes, so that memory does not grow with the file."""
        self._file.flush()
        if self._rows == 0:
            return np.zeros((0, *self.shape), dtype=self._kind)
        mapped = np.memmap(self._file, dtype=self._kind, mode="r", shape=(self._rows, *self.shape))
        return np.array(mapped[indices])

    def batches(self, size: int = BATCH) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
        for start in range(0, self._rows, size):
            rows = slice(start, min(start + size, self._rows))
            yield rows, self.take(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
