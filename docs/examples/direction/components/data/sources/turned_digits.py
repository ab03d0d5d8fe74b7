"""Some of scikit-learn's digits, turned: those that look the same in one direction alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from scipy.ndimage import rotate

from components.config import Section
from components.config.section import Many, Seed
from components.data.sources.base.form import SourceData, schema
from components.data.sources.digits import load
from components.inputs import png

DIGITS = (3, 4, 5, 7)
TESTED = 0.2  # share of the pictures that test, and of the digits, which nothing else shows


class TurnedDigitsSource(Section):
    """Some of scikit-learn's digits, turned by any angle."""

    kind: Literal["turned-digits"]
    pictures: Many = 3000  # how many there are
    seed: Seed = 0  # by which digits and angles are drawn


def read(source: TurnedDigitsSource, project: Path) -> SourceData:
    pixels, numbers = load()
    digits = np.kron(pixels[np.isin(numbers, DIGITS)], np.ones((2, 2), np.uint8))
    random = np.random.default_rng(source.seed)
    tests, first = np.arange(source.pictures) >= (1 - TESTED) * source.pictures, int((1 - TESTED) * len(digits))
    chosen = random.integers(np.where(tests, first, 0), np.where(tests, len(digits), first))
    angles = random.uniform(0.0, 360.0, source.pictures)
    pairs = zip(digits[chosen], angles, strict=True)
    turned = [rotate(digit, by, reshape=False, order=1) for digit, by in pairs]  # counter-clockwise, as it is seen
    table = pa.table(
        {
            "id": [f"picture-{number:05d}" for number in range(source.pictures)],
            "image": png.encode(np.stack(turned)),
            "target": angles,
            "published": ["test" if test else None for test in tests],
        },
        schema=schema("angle"),
    )
    return SourceData((), "angle", iter([table]))
