"""Boxes of known classes, ignored ones and none; of no class, without numbers, or more than there is room for."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from components.targets.boxes import TARGET
from tests.components.targets.target_builders import Given


def _box(label: int, left: float, top: float, right: float, bottom: float, **other: Any) -> dict[str, Any]:
    box = {"label": label, "left": left, "top": top, "right": right, "bottom": bottom}
    return {**box, "ignored": False, "visible": 1.0, **other}


GIVEN = Given(
    column=pa.array(
        [
            [_box(2, 1, 0, 6, 4), _box(0, 0.5, 1, 2, 3, visible=0.25), _box(2, 5.5, 0, 6, 1)],
            [_box(1, 0, 0, 6, 4), _box(0, 1, 1, 2, 2, ignored=True)],
            [],
            [_box(7, 0, 0, 6, 1), _box(-1, 5, 0, 6, 1)],
            None,
            [_box(1, 0, 0, math.nan, 1)],
            [_box(1, 0, 0, 1, 1)] * 4,
        ],
        TARGET.stored,
    ),
    shown=[{0, 2}, {1}, set(), set(), set(), {1}, {1}],
    sound=[0, 1, 2, 3],
)
