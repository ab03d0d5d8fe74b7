"""What a kind of target must say so that the rooms of data can do everything else.

`column` is always the column `target` of some rows, as one Arrow array of the kind's type; N are its rows. A row may be
null, or hold what cannot be read: a kind counts neither, and says None of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.artifacts import DatasetCard, InputSpec

Numbers = npt.NDArray[np.int64]
Size = tuple[int, int]  # width and height in pixels

UNKNOWN = -1  # the number of a class that is not known


class UnreadableTargetError(ValueError):
    """The target of one row cannot be read as its kind; `row` is its place, and the message says what was received."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Expectation:
    """Something a data set must hold to, by the name and arguments of a Great Expectations class."""

    kind: str  # for example "ExpectColumnValuesToBeBetween"
    arguments: Mapping[str, Any]
    severity: Literal["error", "warning"]
    says: str  # what it means, for people


@dataclass(frozen=True)
class Shown:
    """Which classes N targets show: M pairs of a row and a class, each pair once."""

    rows: Numbers  # (M,)
    classes: Numbers  # (M,), below the number of classes that was asked for
    strata: Numbers  # (N,) what each row is stratified by where splits are drawn

    def counts(self, classes: int, rows: npt.NDArray[np.bool_] | None = None) -> Numbers:
        """`(classes,)`: how many rows show each class; of those that `rows`, (N,), chooses."""
        chosen = self.classes if rows is None else self.classes[rows[self.rows]]
        return np.bincount(chosen, minlength=classes).astype(np.int64)


@dataclass(frozen=True)
class Layout:
    """The array that a target becomes."""

    shape: tuple[int, ...]  # of one target
    type: np.dtype[Any]


class TargetKind(Protocol):
    """One kind of target; stateless."""

    name: str  # as a source, `raw.json` and a task's spec have it
    stored: pa.DataType
    # Whether a target is of one class, of several, or of none: only what is labelled once can be stratified by it,
    # suspected of a wrong label, or told by a group.
    labelled: Literal["once", "several", "never"]
    says: str  # what a target is, in a sentence's middle: "a mask shows several classes at once"
    task: str  # that is proposed for a source of such targets

    # -- what it shows --

    def shown(self, column: pa.Array, classes: int) -> Shown:
        """Which of the classes 0 … classes - 1 each row shows."""
        ...

    def labels(self, column: pa.Array, classes: int) -> Numbers:
        """`(N,)`: the one class of each row; `UNKNOWN` where there is none, or several."""
        ...

    # -- on the way into a data set --

    def renamed(self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...]) -> pa.Array:
        """The same targets where classes `before` are numbered as `after`; what `after` has not becomes unknown."""
        ...

    def fitted(self, column: pa.Array, pictures: Iterable[Size | None], size: Size) -> pa.Array:
        """The targets of pictures that are brought from their own sizes (None: it is no picture) to `size`.

        A target that does not go with its picture stays as it is, for validation to name.
        """
        ...

    # -- what it must hold to --

    def facts(self, column: pa.Array) -> dict[str, Sequence[Any]]:
        """Column → N values of which the expectations speak; `target` is one of them, None where it cannot be read."""
        ...

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        """What such targets must hold to in this data set, beyond being there."""
        ...

    # -- out of a data set --

    def layout(self, spec: InputSpec) -> Layout:
        """The array that a target of such an input becomes."""
        ...

    def arrays(self, column: pa.Array, spec: InputSpec) -> npt.NDArray[Any]:
        """`(N, *layout.shape)`; raises UnreadableTargetError."""
        ...

    def summary(self, arrays: npt.NDArray[Any], classes: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        """Columns of N values by which the distribution of targets is followed: `label`, `share_CLASS`, …"""
        ...

    # -- compared and seen --

    def names(self, column: pa.Array, classes: tuple[str, ...]) -> pa.Array:
        """`(N,)` strings: the class of each row where it has one that is known; else null."""
        ...

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        """`(N,)` binary: by which two versions' targets differ that `names` does not tell apart; else null.

        With `classes`, classes count by their names, since the other version numbers them differently.
        """
        ...

    def drawn(self, picture: Image.Image, target: Any) -> Image.Image:
        """The picture with what of its target can be drawn on it."""
        ...

    def colours(self, classes: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        """Class → the colour that `drawn` gives it; a class that is not drawn has none."""
        ...
