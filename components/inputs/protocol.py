"""What a kind of input must say so that the packages of data and of judgement can do everything else. No PyTorch.

`column` is always the column of some rows under the kind's name, as one Arrow array of the kind's type; N are its rows.
A row may be null, or hold what cannot be read: it is described as such, and never raises while data is prepared.
`declared` is the kind's section of the catalogue, `spec` what the card of the prepared data keeps of it, and `values`
the array that inputs become, `(N, *spec.shape)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Values = npt.NDArray[Any]
Size = tuple[int, int]  # width and height in pixels
Facts = Sequence[tuple[str, pa.DataType]]
Each = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]  # `map`, or the same in a few threads
# Values, a severity of 1 … 5 and a generator → values that are harder to answer for, of the same shape and type.
Corruption = Callable[[Values, int, np.random.Generator], Values]


class UnreadableInputError(ValueError):
    """The input of one row cannot be read as its card says; `row` is its place, the message what was received."""

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
class Described:
    """N inputs in their declared form: what to store of each, and its facts by name, null where there is none."""

    stored: pa.Array
    facts: dict[str, pa.Array]


class Gathering(Protocol):
    """What a card says of inputs and only all that is learnt from together know: means, a vocabulary."""

    def add(self, described: Described, chosen: npt.NDArray[np.bool_]) -> None:
        """Of described inputs those that are `chosen`, (N,): the training split's."""
        ...

    def spec(self) -> Any:
        """The card's `input`; the same in whatever order, and in whatever parts, they came."""
        ...


class InputKind(Protocol):
    """One kind of input; stateless."""

    name: str  # of the section in the catalogue, of the column in shards, of the input of an exported graph
    stored: pa.DataType
    one: str  # what an input is, in a sentence: "image", "text"
    many: str
    shown: str  # what people see of one: "picture"
    content: str  # what is the same in equal ones: "pixels"
    blank: str  # what one is in which there is nothing to be seen
    # The columns that preparing finds beside what is stored. `decodable`, `problem` (why not) and `digest` are among
    # them, that of equal inputs equal.
    facts: Facts
    digest: str
    augmented: bool  # whether `line.augment` changes them while a network learns

    # -- on the way into a data set --

    def rows(self, declared: Any) -> int:
        """How many inputs are described at a time, so that they fit into memory."""
        ...

    def describe(self, column: pa.Array, declared: Any, each: Each) -> Described:
        """Inputs in their declared form; what cannot be brought there is kept as it is for validation to name."""
        ...

    def gathering(self, declared: Any) -> Gathering:
        """To which all described inputs of the data set are added."""
        ...

    def sizes(self, column: pa.Array, declared: Any) -> Iterable[Size | None] | None:
        """Own width and height of each picture that describing brings to another size, None of what is none.

        Nothing where inputs keep their size, or have none that targets could follow.
        """
        ...

    # -- out of a data set --

    def arrays(self, column: pa.Array, spec: Any) -> Values:
        """`(N, *spec.shape)`; raises UnreadableInputError."""
        ...

    def described(self, spec: Any) -> str:
        """What is given, in a sentence's middle: `28×28 images`."""
        ...

    def brought(self, spec: Any) -> str:
        """What becomes of every input, the beginning of a sentence."""
        ...

    def noise(self, spec: Any, count: int, seed: int) -> Values:
        """Seeded random inputs `(count, *spec.shape)`: for timing, which does not depend on what they are."""
        ...

    # -- judged --

    # Statistic → what its least and its greatest values are called: by its quantiles samples are told apart where the
    # data declares no groups.
    slices: Mapping[str, tuple[str, str]]
    corruptions: Mapping[str, Corruption]

    def sliced(self, values: Values) -> dict[str, npt.NDArray[np.float64]]:
        """Each statistic of `slices`, `(N,)`."""
        ...

    def summary(self, values: Values, spec: Any) -> dict[str, npt.NDArray[Any]]:
        """Columns of N values by which inputs are followed for drift."""
        ...

    def expectations(self, declared: Any) -> Sequence[Expectation]:
        """What the facts of such inputs must hold to, beyond being readable."""
        ...
