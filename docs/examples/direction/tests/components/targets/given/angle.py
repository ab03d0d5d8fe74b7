"""Known angles, more than a turn, none, and what is no number."""

from __future__ import annotations

import math

import pyarrow as pa

from components.targets.angle import TARGET
from tests.components.targets.target_builders import Given

GIVEN = Given(column=pa.array([12.5, -90.0, None, math.nan, 400.0], TARGET.stored), shown=[set()] * 5, sound=[0, 1, 4])
