"""Known labels, none at all, labels of no class, and no list."""

from __future__ import annotations

import pyarrow as pa

from components.targets.labels import TARGET
from tests.components.targets.target_builders import Given

GIVEN = Given(
    column=pa.array([[0, 2], [1], None, [7], [0, -1], []], TARGET.stored),
    shown=[{0, 2}, {1}, set(), set(), {0}, set()],
    sound=[0, 1, 5],
)
