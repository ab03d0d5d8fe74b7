"""JSON from outside → plain values: the one reader of tables, annotations and what libraries write beside their data.

Python's own is stricter about less: of two values of one name it takes the last without a word, its messages speak of
characters of the whole file, and it ends with other exceptions where numbers or nesting are beyond it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from components import texts
from components.data.errors import DataError

DIGITS = 4000  # of a whole number; Python prints no more
ADVICE = "put it right or write it anew"
_BLANK = re.compile(r"[ \t\r\n]*")


class Number(float):
    """A number with a point or an exponent that knows how it was written: as names, `0.10` and `0.1` are two."""

    __slots__ = ("written",)
    written: str

    def __new__(cls, written: str) -> Number:
        number = super().__new__(cls, written)
        number.written = written
        return number


def parsed(content: bytes | str, where: str, what: str = "JSON") -> Any:
    """The value that is written; raises DataError that begins with `where`. Numbers are `int` and `float`."""
    text = decoded(content, where, what) if isinstance(content, bytes) else content
    return _read(_PLAIN, text, where, what)


def as_written(text: str, where: str) -> Any:
    """The same, with `Number` for `float`."""
    return _read(_WRITTEN, text, where, "JSON")


def elements(text: str, where: str) -> Iterator[Any] | None:
    """The elements of a list one by one, as `as_written`, so that only one is in memory; None where it is no list."""
    at = _blank(text, 0)
    return _elements(text, at, where) if text[at : at + 1] == "[" else None


def decoded(content: bytes, where: str, what: str = "JSON") -> str:
    """Text in the encoding that its first bytes show: UTF-8, UTF-16 or UTF-32; raises DataError."""
    try:
        return content.decode(encoding(content))
    except UnicodeDecodeError as error:
        raise not_text(error, f"{where}, byte {error.start:,}", what) from None


def encoding(start: bytes) -> str:
    """By the first bytes of a JSON, which begins with two ASCII characters or with a mark."""
    return json.detect_encoding(start)


def not_text(error: UnicodeDecodeError, where: str, what: str = "JSON") -> DataError:
    """What is said of bytes that are no text in the encoding that their beginning showed."""
    return DataError(
        f"{where}: expected {what} in UTF-8 or UTF-16, received bytes that are no text in {error.encoding.upper()}; "
        "save it as UTF-8"
    )


def _elements(text: str, at: int, where: str) -> Iterator[Any]:
    at, number = _blank(text, at + 1), 0
    more = text[at : at + 1] != "]"
    while more:
        number += 1
        try:
            value, at = _WRITTEN.raw_decode(text, at)
            at = _blank(text, at)
            more = text[at : at + 1] == ","
            if not more and text[at : at + 1] != "]":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
        except (ValueError, RecursionError) as error:
            raise _refused(error, f"{where}, row {number:,}") from None
        yield value
        at = _blank(text, at + 1) if more else at
    rest = _blank(text, at + 1)
    if rest < len(text):
        raise _refused(json.JSONDecodeError("Extra data", text, rest), where)


def _read(decoder: json.JSONDecoder, text: str, where: str, what: str) -> Any:
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise _refused(error, where, what) from None


def _refused(error: ValueError | RecursionError, where: str, what: str = "JSON") -> DataError:
    if isinstance(error, RecursionError):
        return DataError(f"{where}: expected {what}, received lists or objects that are nested too deeply; {ADVICE}")
    if not isinstance(error, json.JSONDecodeError):
        return DataError(f"{where}: {error}; {ADVICE}")
    line = f"line {error.lineno:,}, " if "\n" in error.doc.strip() else ""
    return DataError(
        f"{where}: expected {what}, received something else at {line}column {error.colno:,} ({error.msg}); {ADVICE}"
    )


def _blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"expected one value per name, received several for {texts.exact(name)} in one object")
    return found


def _whole(written: str) -> int:
    if len(written) > DIGITS:
        raise ValueError(f"expected whole numbers of at most {DIGITS:,} digits, received one of {len(written):,}")
    return int(written)


_PLAIN = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole)
_WRITTEN = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole, parse_float=Number)
