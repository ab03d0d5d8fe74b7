"""What the contract test is given of each kind of target: a file in `given/`, called as the kind's own file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pyarrow as pa

from components.artifacts import InputSpec
from components.members import TARGETS, Member
from components.targets.protocol import TargetKind, Within

NAMES = ("nothing", "cat", "dog")  # the classes that there are


@dataclass(frozen=True)
class Given:
    """A column, and what is in it."""

    column: pa.Array
    shown: list[set[int]]  # classes of each row
    sound: list[int]  # rows that become arrays; the first two differ
    about: Mapping[str, Any] = field(default_factory=dict)  # what a source says of such targets besides classes
    inputs: pa.Array | None = None  # of kinds that are places in their inputs
    spec: InputSpec | None = None  # of those; None: any picture

    def beside(self, kind: TargetKind, rows: Sequence[int] | None = None) -> TargetKind:
        """The kind for these rows of the column, all where none are named."""
        if self.inputs is None or not isinstance(kind, Within):
            return kind
        return kind.beside(self.inputs if rows is None else self.inputs.take(pa.array(rows, pa.int64())))


def given_of(name: str) -> Given:
    """What the kind of that name is asked about."""
    file = Member(TARGETS, name).module.rpartition(".")[2]
    found: Given = import_module(f"tests.components.targets.given.{file}").GIVEN
    return found
