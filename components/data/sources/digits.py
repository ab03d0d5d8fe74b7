"""scikit-learn's 1,797 hand-written digits of 8×8: inside the package, no download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.config import DigitsSource
from components.data.sources.base.form import SourceData
from components.inputs import png


def load() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images `(1797, 8, 8)` uint8 over the full scale (published as 0 … 16) and labels `(1797,)`."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    scaled = np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8)
    return scaled, digits.target.astype(np.int64)


def read(source: DigitsSource, project: Path) -> SourceData:
    pixels, labels = load()
    table = pa.table(
        {
            "id": [f"digit-{index:04d}" for index in range(len(labels))],
            "image": png.encode(pixels),
            "target": labels,
            "published": pa.nulls(len(labels), pa.string()),
        }
    )
    return SourceData(tuple(str(digit) for digit in range(10)), "class", iter([table]))
