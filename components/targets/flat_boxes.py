"""Columns of boxes as NumPy arrays, all boxes one after the other: no loop over rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.targets.protocol import UNKNOWN, Numbers

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

COLUMNS = ("label", "left", "top", "right", "bottom", "ignored", "visible")  # of the array, and of what is stored
SIDES = ("left", "top", "right", "bottom")
OBJECT = pa.struct(
    [
        pa.field("label", pa.int16()),
        *(pa.field(side, pa.float32()) for side in SIDES),
        pa.field("ignored", pa.bool_()),
        pa.field("visible", pa.float32()),
    ]
)
STORED = pa.list_(OBJECT)


@dataclass(frozen=True)
class Flat:
    """All boxes of N rows one after the other, B of them; what is missing in one is NaN, and its class `UNKNOWN`."""

    rows: Numbers  # (B,) of which row each is
    labels: Numbers  # (B,)
    corners: Floats  # (B, 4) left, top, right, bottom
    ignored: Flags  # (B,)
    visible: Floats  # (B,)
    missing: Flags  # (N,) rows that have no list at all

    @cached_property
    def counts(self) -> Numbers:
        """`(N,)` boxes in each row."""
        return np.bincount(self.rows, minlength=len(self.missing)).astype(np.int64)

    @cached_property
    def places(self) -> Numbers:
        """`(B,)` the place of each in its row, from 0 on."""
        first = np.cumsum(self.counts) - self.counts
        return np.arange(len(self.rows)) - first[self.rows]

    @cached_property
    def areas(self) -> Floats:
        """`(B,)` pixels; 0 where left is not before right, or top not above bottom."""
        extent = np.maximum(self.corners[:, 2:] - self.corners[:, :2], 0.0)
        return np.where(np.isfinite(extent).all(axis=1), extent[:, 0] * extent[:, 1], 0.0)

    @cached_property
    def finite(self) -> Flags:
        """`(B,)`: whether all numbers of a box are numbers."""
        found: Flags = np.isfinite(self.corners).all(axis=1) & np.isfinite(self.visible)
        return found

    def stored(self, kept: Flags | None = None) -> pa.Array:
        """The column again, of the boxes that are `kept`, (B,)."""
        chosen = np.ones(len(self.rows), dtype=bool) if kept is None else kept
        lengths = np.bincount(self.rows[chosen], minlength=len(self.missing))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        corners = self.corners[chosen].astype(np.float32)
        children = [
            pa.array(self.labels[chosen].astype(np.int16)),
            *(pa.array(side) for side in corners.T.copy()),
            pa.array(self.ignored[chosen]),
            pa.array(self.visible[chosen].astype(np.float32)),
        ]
        values = pa.StructArray.from_arrays(children, fields=list(OBJECT))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=STORED, mask=pa.array(self.missing))


def flat(column: pa.Array) -> Flat:
    """The boxes of a column, without a loop over its rows."""
    missing = column.is_null().to_numpy(zero_copy_only=False)
    values = dict(zip(COLUMNS, column.flatten().flatten(), strict=True))
    corners = [values[side].to_numpy(zero_copy_only=False).astype(np.float64) for side in SIDES]
    return Flat(
        rows=pc.list_parent_indices(column).to_numpy(zero_copy_only=False).astype(np.int64),
        labels=values["label"].fill_null(UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64),
        corners=np.stack(corners, axis=1),
        ignored=values["ignored"].fill_null(False).to_numpy(zero_copy_only=False),
        visible=values["visible"].to_numpy(zero_copy_only=False).astype(np.float64),
        missing=missing,
    )


def flat_row(target: npt.NDArray[Any]) -> Flat:
    """The boxes of one array `(M, 7)`, whose columns are `COLUMNS`."""
    there = target[target[:, 0] >= 0].astype(np.float64)
    return Flat(
        rows=np.zeros(len(there), np.int64),
        labels=there[:, 0].astype(np.int64),
        corners=there[:, 1:5],
        ignored=there[:, 5] > 0,
        visible=there[:, 6],
        missing=np.zeros(1, dtype=bool),
    )


def column_of(rows: Iterable[Iterable[Mapping[str, Any]]]) -> pa.Array:
    """Rows of boxes, each a mapping of `COLUMNS`, as they are stored."""
    return pa.array([list(row) for row in rows], STORED)
