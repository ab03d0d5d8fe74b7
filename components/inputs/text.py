"""Texts: as they were written in, the numbers of their units out."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import TextSpec
from components.config import TextDeclaration
from components.inputs import vocabulary
from components.inputs.protocol import Each, Expectation, UnreadableInputError, Values
from components.inputs.text_corruptions import CORRUPTIONS
from components.tokenizing import FIRST, PADDING, UNKNOWN, NoTextError, Tokenizer

AT_ONCE = 2**22  # units at a time
ROWS = 10_000

Floats = npt.NDArray[np.float64]


class Text:
    """Declared by their units and how many of them count; the vocabulary is the training split's."""

    name = "text"
    stored = pa.string()
    one, many = "text", "texts"
    shown, content, blank = "text", "words", "empty"
    facts = tuple(vocabulary.FACTS)
    digest = TextSpec.digest
    augmented = False
    slices = {"length": ("shortest", "longest"), "unknown": ("most familiar", "least familiar")}  # noqa: RUF012
    corruptions = CORRUPTIONS

    def rows(self, declared: TextDeclaration) -> int:
        return max(1, min(ROWS, AT_ONCE // declared.length))

    def describe(self, column: pa.Array, declared: TextDeclaration, each: Each = map) -> vocabulary.Told:
        """One after the other: threads find units no faster."""
        return vocabulary.describe(column, declared)

    def gathering(self, declared: TextDeclaration) -> vocabulary.Vocabulary:
        return vocabulary.Vocabulary(declared)

    def sizes(self, column: pa.Array, declared: TextDeclaration) -> None:
        return None

    def arrays(self, column: pa.Array, spec: TextSpec) -> npt.NDArray[np.int32]:
        every = vocabulary.texts(column)
        try:
            return _tokenizer(spec).encode(every)
        except NoTextError as error:
            raise UnreadableInputError(error.row, vocabulary.problem(every[error.row]) or str(error)) from None

    def described(self, spec: TextSpec) -> str:
        return f"texts of {spec.length} {spec.unit}s"

    def brought(self, spec: TextSpec) -> str:
        return f"Every text is cut or padded to {spec.length} {spec.unit}s"

    def noise(self, spec: TextSpec, count: int, seed: int) -> npt.NDArray[np.int32]:
        """Units at random, of texts of any length."""
        random = np.random.default_rng(seed)
        units = random.integers(UNKNOWN, spec.numbers, (count, spec.length), dtype=np.int32)
        ends = random.integers(0, spec.length + 1, (count, 1))
        return np.where(np.arange(spec.length) < ends, units, np.int32(PADDING))

    def sliced(self, values: Values) -> dict[str, Floats]:
        """How many units of each text a network is given, and which share of them it does not know."""
        lengths = (values != PADDING).sum(axis=1)
        unknown = (values == UNKNOWN).sum(axis=1) / np.maximum(lengths, 1)
        return {"length": lengths.astype(np.float64), "unknown": unknown.astype(np.float64)}

    def summary(self, values: Values, spec: TextSpec) -> dict[str, npt.NDArray[Any]]:
        """What numbers still say of a text.

        `length` counts the units that are left of it and `unknown` is their share that the vocabulary lacks: a length
        beyond the card's is not seen. `digits`, `punctuation` (with symbols) and `non_ascii` are shares of the
        characters of the units that are known, `upper` too, where the card does not make all of them lower case;
        `word_length` is the mean of known words, and of characters and bytes that of what stands between blanks.
        """
        told, lengths = self.sliced(values), _characters(spec)
        columns: dict[str, npt.NDArray[Any]] = dict(told)
        characters = lengths["characters"][values].sum(axis=1)
        for name in ("digits", "punctuation", "non_ascii", *(() if _lowered(spec) else ("upper",))):
            columns[name] = lengths[name][values].sum(axis=1) / np.maximum(characters, 1.0)
        inside = lengths["word"][values]  # characters of words
        begins = inside > 0
        if spec.unit != "word":
            begins[:, 1:] &= ~(inside[:, :-1] > 0)
        columns["word_length"] = inside.sum(axis=1) / np.maximum(begins.sum(axis=1), 1)
        return columns

    def expectations(self, declared: TextDeclaration) -> Sequence[Expectation]:
        return [
            Expectation("ExpectColumnValuesToBeNull", {"column": "problem"}, "error", "every text can be read"),
            Expectation(
                "ExpectColumnValuesToBeBetween",
                {"column": "length", "min_value": 1},
                "warning",
                f"every text has at least one {declared.unit}",
            ),
        ]


INPUT = Text()


def _lowered(spec: TextSpec) -> bool:
    return spec.lower and spec.unit != "byte"


@lru_cache(maxsize=8)
def _tokenizer(spec: TextSpec) -> Tokenizer:
    return Tokenizer(spec.model_dump())


@lru_cache(maxsize=8)
def _characters(spec: TextSpec) -> dict[str, npt.NDArray[np.float32]]:
    """Of the unit of each number how many characters it has, `(numbers,)`, in all and of each sort.

    Sort `word` are the characters of what is a word or stands in one; an unknown character stands in one.
    """
    some_byte = "\ue000"  # of no sort: of what is not ASCII, one byte alone is no character
    ascii_bytes = [chr(value) if value < 128 else some_byte for value in range(256)]
    units = ascii_bytes if spec.unit == "byte" else spec.vocabulary
    names = ("characters", "digits", "punctuation", "non_ascii", "upper", "word")
    found = {name: np.zeros(spec.numbers, dtype=np.float32) for name in names}
    for number, unit in enumerate(units, start=FIRST):
        sorts = [unicodedata.category(char) for char in unit]
        found["characters"][number] = len(unit)
        found["digits"][number] = sum(sort == "Nd" for sort in sorts)
        found["punctuation"][number] = sum(sort[0] in "PS" for sort in sorts)
        found["upper"][number] = sum(sort == "Lu" for sort in sorts)
        found["non_ascii"][number] = sum(not char.isascii() for char in unit)
        if spec.unit == "word":
            found["word"][number] = len(unit) if unit[0].isalnum() or unit[0] == "_" else 0
        else:
            found["word"][number] = 0 if unit.isspace() else 1
    if spec.unit != "word":
        found["word"][UNKNOWN] = 1
    return found
