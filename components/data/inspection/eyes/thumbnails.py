"""Pictures at 32×32, by whole numbers alone: the same on every machine.

Everything that compares pictures looks at these: twins, outliers, doubtful labels. People are shown previews, which are
larger where the picture is.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

SIDE = 32
PREVIEW = 96  # pixels of the longer side of a preview: 2 to 4 kB each
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


def preview(image: Image.Image) -> bytes:
    """A JPEG of a picture in mode L or RGB, empty where the thumbnail shows all there is."""
    if max(image.size) <= SIDE:
        return b""
    small = image.copy()
    small.thumbnail((PREVIEW, PREVIEW), Image.Resampling.BILINEAR, reducing_gap=2.0)
    content = io.BytesIO()
    small.save(content, format="JPEG", quality=80)
    return content.getvalue()
