"""Known classes, none, and numbers that are of no class."""

from __future__ import annotations

import pyarrow as pa

from tests.components.targets.target_builders import Given

GIVEN = Given(
    column=pa.array([2, 0, None, 7, -1, 1], pa.int64()),
    shown=[{2}, {0}, set(), set(), set(), {1}],
    sound=[0, 1, 5],
)
