"""Two values each: sound ones, none, one too few, one that is no number, and one far from the others."""

from __future__ import annotations

import math

import pyarrow as pa

from components.targets.values import TARGET
from tests.components.targets.target_builders import Given

GIVEN = Given(
    column=pa.array([[12.5, 3.0], [0.1, 1.0], None, [1.0], [math.nan, 2.0], [1e6, -4.0]], TARGET.stored),
    shown=[set()] * 6,
    sound=[0, 1, 5],
    about={"names": ("price", "rooms"), "units": ("€", "")},
)
