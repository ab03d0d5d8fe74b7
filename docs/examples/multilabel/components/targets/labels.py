"""The labels of a sample: none, one or several of the classes, as a list of their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import DatasetCard
from components.inputs.protocol import Expectation
from components.targets.plain import Plain
from components.targets.protocol import UNKNOWN, Layout, Numbers, Shown, UnreadableTargetError


class Labels(Plain):
    """Indices into the data set's classes."""

    name = "labels"
    stored = pa.list_(pa.int64())
    labelled: Literal["several"] = "several"
    says = "a sample has several labels, one or none"
    task = "multilabel"

    def shown(self, column: pa.Array, classes: int) -> Shown:
        rows = enumerate(_rows(column))
        pairs = sorted({(row, label) for row, labels in rows for label in labels or () if 0 <= label < classes})
        of, shows = np.array(pairs, np.int64).reshape(-1, 2).T
        return Shown(of, shows, np.zeros(len(column), np.int64))

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        number = {index: after.index(name) for index, name in enumerate(before) if name in after}
        return _each(column, lambda label: number.get(label, UNKNOWN))

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        return _each(column, lambda label: int(lookup[label]) if 0 <= label < len(lookup) else label)

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        """Whether there are labels, and how many of them are of no class."""
        rows = _rows(column)
        unknown = [None if row is None else len(_unknown(row, card)) for row in rows]
        return {"target": [None if row is None else "labels" for row in rows], "unknown_labels": unknown}

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        limits = {"column": "unknown_labels", "min_value": 0, "max_value": 0}
        says = f"every label is one of the {len(card.classes)} known classes"
        return [Expectation("ExpectColumnValuesToBeBetween", limits, "error", says)]

    def layout(self, card: DatasetCard) -> Layout:
        return Layout((len(card.classes),), np.dtype(np.float32))

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        """1 where the sample has the label, else 0."""
        arrays = np.zeros((len(column), len(card.classes)), np.float32)
        for row, labels in enumerate(_rows(column)):
            if labels is None or _unknown(labels, card):
                raise UnreadableTargetError(row, f"expected labels below {len(card.classes)}, received {labels}")
            arrays[row, labels] = 1.0
        return arrays

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        return {f"share_{name}": arrays[:, index] for index, name in enumerate(card.classes)}

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        known = dict(enumerate(classes or ()))
        named = [None if row is None else sorted(str(known.get(each, each)) for each in row) for row in _rows(column)]
        each = [None if names is None else hashlib.sha256(repr(names).encode()).digest() for names in named]
        return pa.array(each, pa.binary())


TARGET = Labels()


def _rows(column: pa.Array) -> list[list[int] | None]:
    """Each row's labels, None where it has no list of them."""
    rows = column.to_pylist()
    return [None if row is None else [UNKNOWN if label is None else label for label in row] for row in rows]


def _unknown(labels: Sequence[int], card: DatasetCard) -> list[int]:
    return [label for label in labels if not 0 <= label < len(card.classes)]


def _each(column: pa.Array, new: Callable[[int], int]) -> pa.Array:
    return pa.array([None if row is None else [new(label) for label in row] for row in _rows(column)], column.type)
