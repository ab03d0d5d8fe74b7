"""What a kind of target must say so that the data packages can do everything else.

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

from components.artifacts import DatasetCard
from components.decoding import Fit
from components.inputs.protocol import Expectation, Size

Numbers = npt.NDArray[np.int64]
UNKNOWN = -1  # the number of a class that is not known


class UnreadableTargetError(ValueError):
    """The target of one row cannot be read as its kind; `row` is its place, and the message says what was received."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


@dataclass(frozen=True)
class Shown:
    """Which classes N targets show: M pairs of a row and a class, each pair once."""

    rows: Numbers  # (M,)
    classes: Numbers  # (M,), below the number of classes that was asked for
    strata: Numbers  # (N,) what each row is stratified by where splits are drawn
    together: bool = False  # instead by all classes that it shows, which takes all rows: see `strata`

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
    # Whether a target is of one class, of any number of them, of several in its parts, or of none: only what is
    # labelled once can be suspected of a wrong label, or told by a group.
    labelled: Literal["once", "any", "several", "never"]
    background: bool  # class 0 is what there is where nothing else is: it takes the place of what is left out
    says: str  # what a target is, in a sentence's middle: "a mask shows several classes at once"
    task: str  # that is proposed for a source of such targets
    fit: Fit  # how pictures of several sizes are brought to one, where nobody has said it

    # -- what it shows --

    def shown(self, column: pa.Array, classes: int) -> Shown:
        """Which of the classes 0 … classes - 1 each row shows."""
        ...

    def labels(self, column: pa.Array, classes: int) -> Numbers:
        """`(N,)`: the one class of each row; `UNKNOWN` where there is none, or several."""
        ...

    def parts(self, card: DatasetCard) -> tuple[str, ...]:
        """What a page counts samples by, and shows some of: the classes, or ranges of a value from the least on."""
        ...

    def parted(self, column: pa.Array, card: DatasetCard) -> Shown:
        """Which of these parts each row shows, by their numbers."""
        ...

    def measures(self, column: pa.Array, about: Mapping[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
        """What can be too large or too small, in words → `(N,)`, NaN where there is none; nothing of what is a name."""
        ...

    # -- on the way into a data set --

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        """The same targets where classes `before` are numbered as `after`; what `after` has not becomes unknown.

        `about` is what the source says about its targets: what of them is of no class stays so.
        """
        ...

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        """The same targets where class n is `lookup[n]`; what is none of these classes stays, to be found later.

        What becomes `UNKNOWN` goes: only kinds of several classes and no background are asked for that.
        """
        ...

    def fitted(
        self, column: pa.Array, pictures: Iterable[Size | None], size: Size, fit: Fit, about: Mapping[str, Any]
    ) -> pa.Array:
        """The targets of pictures that are brought from their own sizes (None: it is no picture) to `size`.

        `fit` says how, and `components.decoding.place` where each then lies; `about` is what the source says about its
        targets.

        A target that does not go with its picture stays as it is, for validation to name.
        """
        ...

    def record(
        self, about: Mapping[str, Any], columns: Iterable[pa.Array], others: Iterable[pa.Array] = ()
    ) -> dict[str, Any]:
        """What the data set's card keeps of its targets beside the classes, the kind's own name as `kind`; or nothing.

        By what the source says `about` them, and the targets of the training split, some rows at a time; `others` are
        those of the other splits, for what must hold for all. A kind that does not need them does not read them.
        """
        ...

    # -- what it must hold to --

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        """Column → N values of which the expectations speak; `target` is one of them, None where it cannot be read."""
        ...

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        """What such targets must hold to in this data set, beyond being there."""
        ...

    # -- out of a data set --

    def layout(self, card: DatasetCard) -> Layout:
        """The array that a target becomes."""
        ...

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        """`(N, *layout.shape)`; raises UnreadableTargetError."""
        ...

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        """Columns of N values by which targets are followed for drift: `label`, `share_CLASS`, `value_NAME`."""
        ...

    # -- compared and seen --

    def described(self, classes: Sequence[str], about: Mapping[str, Any]) -> str:
        """What can be answered, in a sentence's middle: `in 10 classes`, `with price (€) and rooms`.

        By the classes, and what a source says `about` its targets or a card keeps of them.
        """
        ...

    def names(self, column: pa.Array, classes: tuple[str, ...]) -> pa.Array:
        """`(N,)` strings: the class of each row where it has one that is known; else null."""
        ...

    def captions(self, column: pa.Array, classes: tuple[str, ...]) -> pa.Array:
        """`(N,)` strings: what each row's target is, in words for people; null where only a picture says it."""
        ...

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        """`(N,)` binary: by which two versions' targets differ that `names` does not tell apart; else null.

        With `classes`, classes count by their names, since the other version numbers them differently.
        """
        ...

    def drawn(self, picture: Image.Image, target: Any, about: Mapping[str, Any]) -> Image.Image:
        """The picture with what of its target can be drawn on it; `about` is what a card keeps of targets."""
        ...

    def marked(self, picture: Image.Image, target: npt.NDArray[Any], about: Mapping[str, Any]) -> Image.Image:
        """As `drawn`, of a target that has become an array."""
        ...

    def colours(self, classes: Sequence[str], about: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
        """Class → the colour that `drawn` gives it; a class that is not drawn has none.

        What is drawn and of no class comes last, by a name in brackets.
        """
        ...
