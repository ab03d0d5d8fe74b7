"""Texts → facts about each, and the units that the training split is made of. Nothing is judged here."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components import tokenizing
from components.artifacts import TextSpec
from components.config import TextDeclaration
from components.inputs.protocol import Described

LONGEST = 100  # characters of a unit: what is longer is no word, and every card would carry it

FACTS = [
    ("length", pa.int64()),  # in units, before anything is cut
    ("decodable", pa.bool_()),
    ("problem", pa.string()),
    ("text_sha256", pa.string()),
]


@dataclass(frozen=True)
class Told(Described):
    """N texts, and the units of each that a network is given, `length` at most.

    Those of text n are `units[i]` for each i of `numbers[ends[n - 1]:ends[n]]`; of bytes there are none.
    """

    units: list[str]  # that differ
    numbers: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int64]  # (N,)


def describe(column: pa.Array, declared: TextDeclaration) -> Told:
    """Texts stay as they are; what is none is kept for validation to name."""
    known: dict[str, int] = {}
    numbers: list[int] = []
    ends = np.empty(len(column), np.int64)
    facts: dict[str, list[Any]] = {name: [] for name, _ in FACTS}
    for row, text in enumerate(texts(column)):
        wrong = problem(text)
        length = None
        if wrong is None and declared.unit == "byte":
            length = tokenizing.count(text, declared.unit, lower=declared.lower)
        elif wrong is None:
            every = tokenizing.units(text, declared.unit, lower=declared.lower)
            given = [known.setdefault(unit, len(known)) for unit in islice(every, declared.length)]
            numbers += given
            length = len(given) + sum(1 for _ in every)
        ends[row] = len(numbers)
        facts["length"].append(length)
        facts["decodable"].append(wrong is None)
        facts["problem"].append(wrong)
        facts["text_sha256"].append(None if wrong else hashlib.sha256(text.encode()).hexdigest())
    typed = {name: pa.array(facts[name], kind) for name, kind in FACTS}
    return Told(column, typed, list(known), np.array(numbers, np.int32), ends)


def texts(column: pa.Array) -> list[Any]:
    """The texts of a column, None where there is none; bytes where they are no UTF-8, which Arrow does not look at."""
    return [_decoded(content) for content in column.cast(pa.binary()).to_pylist()]


def problem(text: object) -> str | None:
    """Why one of `texts` is no text; None where it is."""
    if isinstance(text, bytes):
        return "bytes that are no UTF-8"
    return tokenizing.problem(text)


@dataclass
class Vocabulary:
    """How often the training split has each unit that a network is given: order and batches cannot change it."""

    declared: TextDeclaration
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, described: Described, chosen: npt.NDArray[np.bool_]) -> None:
        if not isinstance(described, Told):
            raise TypeError(f"expected texts as `describe` has them, received {type(described).__name__}")
        each = np.diff(described.ends, prepend=0)
        some = described.numbers[np.repeat(np.asarray(chosen, dtype=bool), each)]
        counted = np.bincount(some, minlength=len(described.units)).tolist()
        for unit, count in zip(described.units, counted, strict=True):
            if count and len(unit) <= LONGEST:
                self.counts[unit] += count

    def spec(self) -> TextSpec:
        """The most frequent units first, and of equally frequent ones the lesser by its code points."""
        declared = self.declared
        frequent = [(unit, count) for unit, count in self.counts.items() if count >= declared.least]
        frequent.sort(key=lambda counted: (-counted[1], counted[0]))
        return TextSpec(
            kind="text",
            unit=declared.unit,
            length=declared.length,
            lower=declared.lower,
            vocabulary=tuple(unit for unit, _ in frequent[: declared.vocabulary]),
        )


def _decoded(content: bytes | None) -> str | bytes | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return content
