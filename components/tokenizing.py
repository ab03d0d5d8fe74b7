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

`Tokenizer.places` tells where in the text as it was given each unit stands: composing and lower case change how many
characters there are, and a place is one of those that were written.
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

    def places(self, text: str) -> npt.NDArray[np.int32]:
        """`(U, 2)`: the first character of each unit that `encode` gives, and the one behind its last.

        Characters are the text's own code points. Units that are one character as it was written (the bytes of one,
        what it becomes in lower case) have the same place.
        """
        return places(text, self._unit, lower=self._lower, most=self._length)

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


def places(text: str, unit: str, *, lower: bool, most: int | None = None) -> npt.NDArray[np.int32]:
    """`(U, 2)` first character and the one behind the last of a text's first `most` units; None: of all."""
    every = _places_of_bytes(text) if unit == "byte" else _places(text, unit, lower)
    return np.array(list(islice(every, most)), dtype=np.int32).reshape(-1, 2)


def count(text: str, unit: str, *, lower: bool) -> int:
    """How many units of any kind a text has, however long it is."""
    return len(_plain(text).encode()) if unit == "byte" else sum(1 for _ in units(text, unit, lower=lower))


def _plain(text: str) -> str:
    return text.removeprefix(_BYTE_ORDER_MARK).replace("\r\n", "\n")


def _written(text: str, lower: bool) -> str:
    """Equal for all ways to write the same: composed before its case is changed, and after."""
    text = _plain(text)
    return _composed(text, lower)


def _composed(text: str, lower: bool) -> str:
    if text.isascii():
        return text.lower() if lower else text
    composed = unicodedata.normalize("NFC", _stream_safe(text))
    return unicodedata.normalize("NFC", composed.lower()) if lower else composed


def _places_of_bytes(text: str) -> Iterator[tuple[int, int]]:
    for first, end, plain in _pieces(text):
        for _ in range(len(plain.encode())):
            yield first, end


def _places(text: str, unit: str, lower: bool) -> Iterator[tuple[int, int]]:
    """Of the `character`s or `word`s that `units` finds."""
    firsts, ends = _aligned(text, lower)
    if unit == "character":
        yield from zip(firsts, ends, strict=True)
        return
    for found in _words().finditer(_written(text, lower)):
        yield firsts[found.start()], ends[found.end() - 1]


def _aligned(text: str, lower: bool) -> tuple[Sequence[int], Sequence[int]]:
    """Of each character of `_written` the first of the text's own that it stands for, and the one behind the last."""
    skipped = len(text) - len(text.removeprefix(_BYTE_ORDER_MARK))
    cased = text[skipped:].lower() if lower else text[skipped:]
    # One for one: nothing is composed, before its case is changed or after, and no character has become two.
    if len(cased) == len(text) - skipped and _written(text, lower) == cased and _written(text, False) == text[skipped:]:
        return range(skipped, len(text)), range(skipped + 1, len(text) + 1)
    firsts: list[int] = []
    ends: list[int] = []
    for found in _composing().finditer(text, skipped):
        written, first, end = _composed(found[0].replace("\r\n", "\n"), lower), found.start(), found.end()
        apart = len(written) == end - first  # no character of it has become one with another
        firsts += range(first, end) if apart else [first] * len(written)
        ends += range(first + 1, end + 1) if apart else [end] * len(written)
    return firsts, ends


def _pieces(text: str) -> Iterator[tuple[int, int, str]]:
    """Where each character of `_plain` stands in the text, and the character."""
    skipped = len(text) - len(text.removeprefix(_BYTE_ORDER_MARK))
    for found in re.compile(r"\r\n|.", re.DOTALL).finditer(text, skipped):
        yield found.start(), found.end(), found[0][-1]


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
def _composing() -> re.Pattern[str]:
    """What is composed by itself: a character with all behind it that may become one with it.

    These are marks, what else is second in a pair that is composed, and parts of Hangul's syllables.
    """
    decomposed = (unicodedata.decomposition(char).split() for char in map(chr, range(0x300, 0x20000)))
    seconds = {chr(int(parts[1], 16)) for parts in decomposed if len(parts) == 2 and not parts[0].startswith("<")}
    joined = rf"[{_marks()}{re.escape(''.join(sorted(seconds)))}\u1160-\u11ff]"
    return re.compile(rf"\r\n|{joined}++|(?s:.){joined}*+")


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
