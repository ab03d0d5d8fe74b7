"""Masks of two halves: known classes, one that is of no class, none, and bytes that are no mask."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.inputs import png
from tests.components.targets.target_builders import Given


def _masks(values: list[list[int] | None]) -> list[bytes | None]:
    """Of each the left and the right half of a mask."""
    halves = [None if each is None else np.repeat(np.repeat([each], 4, axis=0), 3, axis=1) for each in values]
    return [None if each is None else png.encode(each[None].astype(np.uint8))[0].as_py() for each in halves]


GIVEN = Given(
    column=pa.array([*_masks([[0, 2], [0, 0], None, [1, 7]]), b"no mask"], pa.binary()),
    shown=[{0, 2}, {0}, set(), {1}, set()],
    sound=[0, 1, 3],
)
