"""One class for a sample: the number of a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import DatasetCard
from components.inputs.protocol import Expectation
from components.targets.plain import Plain
from components.targets.protocol import UNKNOWN, Layout, Numbers, Shown


class Class(Plain):
    """An index into the data set's classes."""

    name = "class"
    stored = pa.int64()
    labelled: Literal["once"] = "once"
    says = "a target is one class"
    task = "classification"

    def shown(self, column: pa.Array, classes: int) -> Shown:
        given = _numbers(column)
        rows = np.flatnonzero((given >= 0) & (given < classes))
        return Shown(rows, given[rows], given)

    def labels(self, column: pa.Array, classes: int) -> Numbers:
        given = _numbers(column)
        return np.where((given >= 0) & (given < classes), given, UNKNOWN)

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        number = {name: index for index, name in enumerate(after)}
        lookup = np.array([*(number.get(name, UNKNOWN) for name in before), UNKNOWN], dtype=np.int64)
        return pa.array(lookup[self.labels(column, len(before))], mask=column.is_null().to_numpy(zero_copy_only=False))

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        return pa.array([None if each is None else lookup[each].item() for each in column.to_pylist()], pa.int64())

    def record(
        self, about: Mapping[str, Any], columns: Iterable[pa.Array], others: Iterable[pa.Array] = ()
    ) -> dict[str, Any]:
        return {}

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        return {"target": column.to_pylist()}

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        limits = {"column": "target", "min_value": 0, "max_value": len(card.classes) - 1}
        says = f"every label is one of the {len(card.classes)} known classes"
        return [Expectation("ExpectColumnValuesToBeBetween", limits, "error", says)]

    def layout(self, card: DatasetCard) -> Layout:
        return Layout((), np.dtype(np.int64))

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        labels: Numbers = column.to_numpy(zero_copy_only=False).astype(np.int64)
        return labels

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        return {"label": np.array(card.classes, dtype=object)[arrays]}

    def names(self, column: pa.Array, classes: tuple[str, ...]) -> pa.Array:
        return pa.array(np.array([*classes, None], dtype=object)[self.labels(column, len(classes))], pa.string())

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        return pa.nulls(len(column), pa.binary())


TARGET = Class()


def _numbers(column: pa.Array) -> Numbers:
    numbers: Numbers = column.fill_null(UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers
