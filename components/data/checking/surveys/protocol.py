"""What a survey knows of the inputs that have passed it, and what it makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from components.decoding import Fit
from components.inputs.protocol import Described, Size


@dataclass(frozen=True)
class Fitting:
    """A section of the catalogue about inputs, and why it says so."""

    section: dict[str, Any]
    reasons: tuple[str, ...]


class InputSurvey(Protocol):
    """Of the inputs of one source, in order."""

    asks: ClassVar[tuple[str, ...]]  # options of the command line that say something of the section
    placeholder: ClassVar[Mapping[str, Any]]  # what the section may be taken for until inputs have been seen
    size: int  # bytes

    def __init__(self, said: Mapping[str, Any]) -> None:
        """`said` is what the command line says of the section."""
        ...

    def add(self, column: pa.ChunkedArray) -> None:
        """The inputs of some more samples."""
        ...

    def told(self) -> Mapping[str, str]:
        """What is counted, for people: a line each."""
        ...

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """What is counted, for programs: what → value → inputs."""
        ...

    def fitting(self, fit: Fit) -> Fitting:
        """What the catalogue should declare: what is said, and for the rest what most inputs are.

        `fit` is what suits the targets, where inputs are brought to another size.
        """
        ...

    def foreseen(
        self, rows: slice, ids: Sequence[str], corrupt: Mapping[str, str], declared: Any
    ) -> tuple[Iterable[Size | None] | None, Described]:
        """What describing some rows would come to, and the sizes that targets follow, as `InputKind` has them.

        Nothing is stored. `corrupt` says of ids why they cannot be read.
        """
        ...


def most_frequent(counts: Mapping[str, int], number: int) -> str:
    """`640×480 12 · 8×8 3 · 4 more`, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    said = [f"{name} {count:,}" if len(ordered) > 1 else name for name, count in ordered[:number]]
    return " · ".join([*said, *([f"{len(ordered) - number:,} more"] if len(ordered) > number else [])]) or "none"
