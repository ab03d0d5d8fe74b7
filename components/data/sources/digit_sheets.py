"""Sheets with two to four of scikit-learn's digits, in the quarters of a square: which digits there are."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from components.config import Section
from components.config.section import Many, Seed
from components.data.sources.base.form import SourceData, schema
from components.data.sources.digits import load
from components.inputs import png

TESTED = 0.2  # share of the sheets that test, and of the digits, which nothing else shows


class DigitSheetsSource(Section):
    """Sheets with two to four of scikit-learn's digits each: which digits there are."""

    kind: Literal["digit-sheets"]
    sheets: Many = 2000  # how many there are
    seed: Seed = 0  # by which digits and places are drawn


def read(source: DigitSheetsSource, project: Path) -> SourceData:
    digits, numbers = load()
    random = np.random.default_rng(source.seed)
    tests = np.arange(source.sheets) >= (1 - TESTED) * source.sheets
    first = int((1 - TESTED) * len(digits))
    low, high = np.where(tests, first, 0), np.where(tests, len(digits), first)
    chosen = random.integers(low[:, None], high[:, None], (source.sheets, 4))
    there = random.permuted(np.arange(4) < random.integers(2, 5, (source.sheets, 1)), axis=1)
    quarters = digits[chosen] * there[:, :, None, None].astype(np.uint8)
    sheets = quarters.reshape(-1, 2, 2, 8, 8).swapaxes(2, 3).reshape(-1, 16, 16)
    table = pa.table(
        {
            "id": [f"sheet-{number:05d}" for number in range(source.sheets)],
            "image": png.encode(sheets),
            "target": [np.unique(numbers[row[on]]).tolist() for row, on in zip(chosen, there, strict=True)],
            "published": ["test" if test else None for test in tests],
        },
        schema=schema("labels"),
    )
    return SourceData(tuple(str(digit) for digit in range(10)), "labels", iter([table]))
