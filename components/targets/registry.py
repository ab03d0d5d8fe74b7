"""Kinds of targets by name: a file in this folder that says `TARGET = …` is one."""

from __future__ import annotations

from functools import cache

import pyarrow as pa

from components.artifacts import Dataset, DatasetCard
from components.members import TARGETS
from components.targets.protocol import TargetKind

# What these two kinds of targets are is told by how they are stored, and their data sets' cards say nothing of it.
_UNSAID = {pa.int64(): "class", pa.binary(): "mask"}


@cache
def get(name: str) -> TargetKind:
    """The kind of that name, imported now; raises ValueError where there is none."""
    if name not in TARGETS.names():
        raise ValueError(f"target: expected one of {', '.join(TARGETS.names())}, received {name!r}")
    kind: TargetKind = TARGETS.load(name).TARGET
    return kind


def stored_as(column: pa.DataType, card: DatasetCard) -> TargetKind:
    """The kind of a column `target`: as the card says, or by its type alone; raises ValueError for a type of none."""
    if card.target:
        return get(card.target["kind"])
    if column not in _UNSAID:
        raise ValueError(f"target: expected a column of {' or '.join(map(str, _UNSAID))}, received {column}")
    return get(_UNSAID[column])


def of(dataset: Dataset) -> TargetKind:
    """The kind of a prepared data set's targets."""
    return stored_as(dataset.schema.field("target").type, dataset.card)
