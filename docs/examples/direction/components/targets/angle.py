"""A direction: an angle in degrees, counter-clockwise; 360 is 0 again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import DatasetCard
from components.targets.plain import Plain
from components.targets.protocol import Layout, Numbers, Shown, UnreadableTargetError

QUARTERS = 4  # of the circle, by which a page counts


class Angle(Plain):
    """One finite number."""

    name = "angle"
    stored = pa.float64()
    labelled: Literal["never"] = "never"
    says = "a target is an angle"
    task = "direction"

    def shown(self, column: pa.Array, classes: int) -> Shown:
        none = np.zeros(0, np.int64)
        return Shown(none, none, np.zeros(len(column), np.int64))

    def parts(self, card: DatasetCard) -> tuple[str, ...]:
        return tuple(f"{90 * place}° – {90 * (place + 1)}°" for place in range(QUARTERS))

    def parted(self, column: pa.Array, card: DatasetCard) -> Shown:
        angles = _angles(column)
        rows = np.flatnonzero(np.isfinite(angles))
        return Shown(rows, (angles[rows] % 360.0 // 90.0).astype(np.int64), np.zeros(len(column), np.int64))

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        return column

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        return column

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        """Whether there is an angle: that there is one is asked of every kind."""
        return {"target": ["angle" if sound else None for sound in np.isfinite(_angles(column)).tolist()]}

    def layout(self, card: DatasetCard) -> Layout:
        return Layout((), np.dtype(np.float32))

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        angles = _angles(column)
        if not np.isfinite(angles).all():
            row = int(np.isfinite(angles).argmin())
            raise UnreadableTargetError(row, f"expected an angle in degrees, received {column[row].as_py()}")
        return angles.astype(np.float32)

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        """Sine and cosine, which have no seam."""
        return {"value_sine": np.sin(np.deg2rad(arrays)), "value_cosine": np.cos(np.deg2rad(arrays))}

    def described(self, classes: Sequence[str], about: Mapping[str, Any]) -> str:
        return "with a direction (°)"

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        each = [
            None if angle is None else hashlib.sha256(repr(angle).encode()).digest() for angle in column.to_pylist()
        ]
        return pa.array(each, pa.binary())


TARGET = Angle()


def _angles(column: pa.Array) -> npt.NDArray[np.float64]:
    """`(N,)`, NaN where there is none."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
