"""The labels of a sample: none, one or several of the classes, as an ascending list of their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.artifacts import DatasetCard
from components.inputs.protocol import Expectation
from components.targets.plain import Plain
from components.targets.protocol import UNKNOWN, Layout, Numbers, Shown, UnreadableTargetError

NO_LABEL = "(no label)"  # what pages call a sample that has none
LABELLED = 0.5  # share of the samples with a label below which to say nothing of any of them is right too often
SAID = 4  # labels that a caption names; the others are counted


class Labels(Plain):
    """Indices into the data set's classes, each at most once."""

    name = "labels"
    stored = pa.list_(pa.int64())
    labelled: Literal["any"] = "any"
    says = "a sample has several labels, one or none"
    task = "multilabel"

    def shown(self, column: pa.Array, classes: int) -> Shown:
        """What rows are stratified by takes all rows of a data set."""
        rows, labels = _pairs(column)
        known = (labels >= 0) & (labels < classes)
        pairs = np.unique(np.stack([rows[known], labels[known]]), axis=1)
        return Shown(pairs[0], pairs[1], np.zeros(len(column), np.int64), together=True)

    def parts(self, card: DatasetCard) -> tuple[str, ...]:
        """The classes, and what has none of them."""
        return (*card.classes, NO_LABEL)

    def parted(self, column: pa.Array, card: DatasetCard) -> Shown:
        shown = self.shown(column, len(card.classes))
        none = np.flatnonzero(_lengths(column) == 0)
        classes = np.concatenate([shown.classes, np.full(len(none), len(card.classes))])
        return Shown(np.concatenate([shown.rows, none]), classes, shown.strata, together=True)

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        number = {name: index for index, name in enumerate(after)}
        lookup = np.array([*(number.get(name, UNKNOWN) for name in before), UNKNOWN], dtype=np.int64)
        _, labels = _pairs(column)
        return _with(column, lookup[np.where((labels >= 0) & (labels < len(before)), labels, len(before))])

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        _, labels = _pairs(column)
        known = (labels >= 0) & (labels < len(lookup))
        renumbered = np.where(known, np.asarray(lookup)[np.where(known, labels, 0)], labels)
        return _with(column, renumbered, ~known | (renumbered != UNKNOWN))

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        """Whether there are labels, how many, and how many of them are of no class."""
        lengths = _lengths(column)
        rows, labels = _pairs(column)
        unknown = np.bincount(rows[(labels < 0) | (labels >= len(card.classes))], minlength=len(column))
        return {
            "target": [None if length < 0 else "labels" for length in lengths.tolist()],
            "labels": [None if length < 0 else length for length in lengths.tolist()],
            "unknown_labels": [
                None if length < 0 else count for length, count in zip(lengths.tolist(), unknown.tolist(), strict=True)
            ],
        }

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        between = "ExpectColumnValuesToBeBetween"
        known = {"column": "unknown_labels", "min_value": 0, "max_value": 0}
        some = {"column": "labels", "min_value": 1, "mostly": LABELLED}
        return [
            Expectation(between, known, "error", f"every label is one of the {len(card.classes)} known classes"),
            Expectation(between, some, "warning", f"at least {LABELLED:.0%} of the samples have a label"),
        ]

    def layout(self, card: DatasetCard) -> Layout:
        return Layout((len(card.classes),), np.dtype(np.float32))

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        """1 where the sample has the label, else 0."""
        rows, labels = _pairs(column)
        wrong = _lengths(column) < 0
        wrong[rows[(labels < 0) | (labels >= len(card.classes))]] = True
        if wrong.any():
            row = int(wrong.argmax())
            raise UnreadableTargetError(
                row, f"expected labels below {len(card.classes)}, received {column[row].as_py() or 'none'}"
            )
        arrays = np.zeros((len(column), len(card.classes)), np.float32)
        arrays[rows, labels] = 1.0
        return arrays

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        """How many labels, and which."""
        shares = {f"share_{name}": arrays[:, index] for index, name in enumerate(card.classes)}
        return {"value_labels": arrays.sum(axis=1), **shares}

    def described(self, classes: Sequence[str], about: Mapping[str, Any]) -> str:
        return f"with any of {len(classes):,} label{'' if len(classes) == 1 else 's'}"

    def captions(self, column: pa.Array, classes: tuple[str, ...]) -> pa.Array:
        return pa.array([None if row is None else _said(row, classes) for row in column.to_pylist()], pa.string())

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        known = dict(enumerate(classes or ()))
        named = [
            None if row is None else sorted(str(known.get(each, each)) for each in row) for row in column.to_pylist()
        ]
        each = [None if names is None else hashlib.sha256(repr(names).encode()).digest() for names in named]
        return pa.array(each, pa.binary())


TARGET = Labels()


def _lengths(column: pa.Array) -> Numbers:
    """`(N,)`: how many labels each row has, -1 where it has no list of them."""
    lengths: Numbers = pc.list_value_length(column).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def _pairs(column: pa.Array) -> tuple[Numbers, Numbers]:
    """A row and a label `(M,)`, in order; a label that is null is unknown."""
    rows = np.repeat(np.arange(len(column)), np.maximum(_lengths(column), 0))
    labels: Numbers = column.flatten().fill_null(UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64)
    return rows, labels


def _with(column: pa.Array, labels: Numbers, kept: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """The same rows with other labels in the places of theirs, those that are `kept`: each once, in ascending order."""
    rows, _ = _pairs(column)
    lengths = _lengths(column)
    pairs = np.stack([rows, labels]) if kept is None else np.stack([rows[kept], labels[kept]])
    of, found = np.unique(pairs, axis=1)
    ends = np.concatenate([[0], np.cumsum(np.bincount(of, minlength=len(column)))]).astype(np.int32)
    mask = pa.array(lengths < 0) if (lengths < 0).any() else None
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(found, pa.int64()), column.type, mask=mask)


def _said(labels: Sequence[int | None], classes: tuple[str, ...]) -> str:
    names = [classes[label] for label in labels if label is not None and 0 <= label < len(classes)]
    more = f" and {len(names) - SAID} more" if len(names) > SAID else ""
    return f"{', '.join(names[:SAID])}{more}" or NO_LABEL
