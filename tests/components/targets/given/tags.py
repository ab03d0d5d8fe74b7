"""Entities of known classes, none, and half a unit; of no class, outside, over each other, without a character."""

from __future__ import annotations

import pyarrow as pa

from components.artifacts import TextSpec
from components.targets.tags import TARGET
from tests.components.targets.target_builders import Given

TEXTS = ["Ann Lee is in Paris.", "Nobody, nowhere", "New York-based", "Ann", "Ann Lee", "Ann", "Ann Lee", "Ann", "Ann"]


def _entity(label: int, start: int, end: int) -> dict[str, int]:
    return {"start": start, "end": end, "label": label}


GIVEN = Given(
    column=pa.array(
        [
            [_entity(2, 14, 19), _entity(1, 0, 7)],
            [],
            [_entity(1, 0, 8), _entity(2, 8, 13)],
            [_entity(7, 0, 3)],
            [_entity(0, 0, 4), _entity(1, 3, 7)],
            None,
            [_entity(1, 0, 8)],
            [_entity(0, 2, 2)],
            [_entity(-1, 0, 3)],
        ],
        TARGET.stored,
    ),
    shown=[{1, 2}, set(), {1, 2}, set(), {0, 1}, set(), {1}, {0}, set()],
    sound=[0, 1, 2],
    inputs=pa.array(TEXTS, pa.string()),
    spec=TextSpec(kind="text", unit="word", length=8, lower=True, vocabulary=("ann", "lee", "is")),
)
