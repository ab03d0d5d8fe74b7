"""Texts → the numbers of their units: bytes, characters or words, as a card of texts says. Standard library and NumPy.

The file is stored beside every served version and run where Convoy is not installed, so it imports nothing of it: what
a network was taught by is what it is asked by. `spec` is the card's `input`, `components.artifacts.TextSpec`, as JSON
has it: `unit`, `length`, `lower` and `vocabulary`.

- A byte-order mark at the beginning is no part of a text, and a line's end of Windows is one of Unix.
- `byte`: the bytes of UTF-8.
- `character`: code points, composed (Unicode's NFC) and, with `lower`, in lower case.
- `word`: of the same code points, runs of letters, digits, marks and underscores that no mark begins, with single
  apostrophes inside (`don't`); whatever else is not blank is a unit by itself, and so is each Chinese character.

Of marks that follow each other the first 30 count, as in Unicode's stream-safe text (UAX #15): a letter of any language
has fewer, and composing takes the square of their number.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

PADDING, UNKNOWN, FIRST = 0, 1, 2  # FIRST: of the vocabulary's numbers
MARKS = 30  # in a row
BYTES = 256

_BYTE_ORDER_MARK = "\ufeff"
# 々〆〇, extension A, the first block, those that are there for compatibility, and the planes that have only more.
_IDEOGRAPHS = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


class NoTextError(ValueError):
    """A value that cannot become numbers; `row` is its place among those that were given."""

    def __init__(self, row: int, message: str) -> None:
        super().__init__(message)
        self.row = row


class Tokenizer:
    """What one card says, ready for many texts."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._unit, self._length, self._lower = str(spec["unit"]), int(spec["length"]), bool(spec["lower"])
        self._numbers = {unit: number for number, unit in enumerate(spec["vocabulary"], start=FIRST)}

    def encode(self, texts: Sequence[Any]) -> npt.NDArray[np.int32]:
        """`(N, length)`: of a longer text the first units, behind a shorter one `PADDING`. Raises NoTextError."""
        encoded = np.full((len(texts), self._length), PADDING, dtype=np.int32)
        for row, text in enumerate(texts):
            wrong = problem(text)
            if wrong is not None:
                raise NoTextError(row, wrong)
            numbers = self._encoded(text)
            encoded[row, : len(numbers)] = numbers
        return encoded

    def _encoded(self, text: str) -> npt.NDArray[np.int32]:
        if self._unit == "byte":
            first = np.frombuffer(_plain(text).encode()[: self._length], np.uint8)
            return first.astype(np.int32) + FIRST
        first_units = islice(units(text, self._unit, lower=self._lower), self._length)
        return np.fromiter((self._numbers.get(unit, UNKNOWN) for unit in first_units), np.int32)


def encode(texts: Sequence[Any], spec: Mapping[str, Any]) -> npt.NDArray[np.int32]:
    """`(N, length)` numbers of N texts; raises NoTextError."""
    return Tokenizer(spec).encode(texts)


def problem(text: object) -> str | None:
    """Why a value is no text; None where it is one, be it empty."""
    if not isinstance(text, str):
        return "there is none" if text is None else f"a {type(text).__name__} in place of a text"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ord(text[error.start])
        return f"half of a character, U+{half:04X}, at place {error.start:,}"
    return None


def units(text: str, unit: str, *, lower: bool) -> Iterator[str]:
    """The `character`s or `word`s of a text, found one by one."""
    written = _written(text, lower)
    if unit == "character":
        return iter(written)
    if unit != "word":
        raise ValueError(f"unit: expected character or word, received {unit!r}")
    return (found[0] for found in _words().finditer(written))


def count(text: str, unit: str, *, lower: bool) -> int:
    """How many units of any kind a text has, however long it is."""
    return len(_plain(text).encode()) if unit == "byte" else sum(1 for _ in units(text, unit, lower=lower))


def _plain(text: str) -> str:
    return text.removeprefix(_BYTE_ORDER_MARK).replace("\r\n", "\n")


def _written(text: str, lower: bool) -> str:
    """Equal for all ways to write the same: composed before its case is changed, and after."""
    text = _plain(text)
    if text.isascii():
        return text.lower() if lower else text
    composed = unicodedata.normalize("NFC", _stream_safe(text))
    return unicodedata.normalize("NFC", composed.lower()) if lower else composed


def _stream_safe(text: str) -> str:
    """Without the marks that follow `MARKS` others."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    marks = _are_marks()[codes]
    if np.count_nonzero(marks) <= MARKS:
        return text
    places = np.arange(len(codes))
    before = np.maximum.accumulate(np.where(marks, -1, places))  # the last character that is none
    return codes[places - before <= MARKS].tobytes().decode("utf-32-le")


@cache
def _words() -> re.Pattern[str]:
    letters = rf"[^\W{_IDEOGRAPHS}]"
    run = rf"{letters}++(?:[{_marks()}]++{letters}*+)*+"
    return re.compile(rf"{run}(?:['’]{run})*+|\S")


@cache
def _marks() -> str:
    """Unicode's marks (M), for a class of a regular expression; only these planes have some."""
    planes = (*range(0x300, 0x20000), *range(0xE0000, 0xF0000))
    return "".join(char for char in map(chr, planes) if unicodedata.category(char).startswith("M"))


@cache
def _are_marks() -> npt.NDArray[np.bool_]:
    """Whether each code point is a mark."""
    table = np.zeros(sys.maxunicode + 1, dtype=bool)
    table[[ord(char) for char in _marks()]] = True
    return table
