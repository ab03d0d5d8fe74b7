"""Pictures, as a linear model is shown them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from components.artifacts import InputSpec
from components.evaluate.baselines.plain import nothing
from components.evaluate.baselines.protocol import Features, Learn, See, Values

SIDE = 16  # of the thumbnails, pixels: a linear model gains little from more, and learns for much longer


def pixels(values: Values, spec: InputSpec) -> See:
    """Means over blocks of pixels, at most `SIDE` along a side, less the training split's mean and by its deviation."""
    learnt = _thumbnails(values)
    mean, deviation = learnt.mean(axis=0), learnt.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)

    def see(inputs: Values) -> Features:
        return ((_thumbnails(inputs) - mean) / scale).astype(np.float32)

    return see


def _thumbnails(pictures: Values) -> npt.NDArray[np.float64]:
    """`(N, H, W, C)` uint8 → `(N, h·w·C)` in [0, 1]; what is left over at the lower and right border is left out."""
    count, height, width, channels = pictures.shape
    rows, columns = max(1, -(-height // SIDE)), max(1, -(-width // SIDE))
    high, wide = height // rows, width // columns
    blocks = pictures[:, : high * rows, : wide * columns].reshape(count, high, rows, wide, columns, channels)
    means: npt.NDArray[np.float64] = blocks.mean(axis=(2, 4)) / 255.0
    return means.reshape(count, -1)


BASELINES: Mapping[str, Learn] = {"prior": nothing, "linear": pixels}
