"""Files of word vectors → the vectors of a vocabulary's units. Nothing in them is executed.

    vectors.txt       a line a word, as GloVe, word2vec and fastText write text: `word 0.1 -0.2 …`. A first line of two
                      whole numbers says how many words and numbers there are.
    vectors.npy       an array `(words, numbers)`; `vectors.txt` beside it has a word a line, in the order of its rows

Text is read a line at a time and an array is mapped, so that only the vectors that are asked for are ever in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.config import ConfigurationError

LINE = 2**20  # bytes: a word and 50,000 numbers
MARK = b"\xef\xbb\xbf"  # that a file in UTF-8 may begin with
SHOWN = 40  # bytes of what is no number

Floats = npt.NDArray[np.float32]
Numbered = tuple[int, bytes]  # a line's number, counted from 1, and what it says


@dataclass(frozen=True)
class Found:
    """Of F of the units that were asked for their places among them, and their vectors `(F, D)`."""

    places: npt.NDArray[np.int64]
    vectors: Floats


def files(path: Path) -> list[Path]:
    """What has to be there: the file and, beside an array, its words."""
    return [path, path.with_suffix(".txt")] if _is_array(path) else [path]


def dimension_of(path: Path) -> int:
    """How many numbers a vector has, from the file's beginning. Raises ConfigurationError for what is no such file."""
    with _reading(path):
        if _is_array(path):
            return int(_array(path).shape[1])
        return _beginning(path, _lines(path))[1]


def read(path: Path, units: Sequence[str]) -> Found:
    """The vectors of those units that the file has, as they are written or else in lower case.

    Of a word that is there twice the first counts. Raises ConfigurationError, with the line, for what is no file of
    vectors, or holds other numbers of them than it says.
    """
    wanted: dict[bytes, list[int]] = {}
    lowered: dict[bytes, list[int]] = {}
    for place, unit in enumerate(units):
        wanted.setdefault(unit.encode(), []).append(place)
        if unit.lower() != unit:
            lowered.setdefault(unit.lower().encode(), []).append(place)
    exact: dict[int, Floats] = {}
    close: dict[int, Floats] = {}
    with _reading(path):
        for word, vector in (
            _from_array(path, wanted, lowered) if _is_array(path) else _from_text(path, wanted, lowered)
        ):
            for place in wanted.get(word, ()):
                exact.setdefault(place, vector)
            for place in lowered.get(word, ()):
                close.setdefault(place, vector)
    found = close | exact
    places = sorted(found)
    return Found(np.array(places, np.int64), np.array([found[place] for place in places], np.float32))


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".npy"


# -- text ------------------------------------------------------------------------------------------------------------


def _from_text(path: Path, *wanted: dict[bytes, list[int]]) -> Iterator[tuple[bytes, Floats]]:
    lines = _lines(path)
    stated, dimension, first = _beginning(path, lines)
    words = 0
    for number, line in _chained(first, lines):
        words += 1
        blanks = line.count(b" ")
        if blanks < dimension:
            raise _wrong(path, number, f"a word and {dimension} numbers", f"{blanks + 1} fields")
        # A few words of GloVe's largest file have blanks inside.
        word = line[: line.index(b" ")] if blanks == dimension else line.rsplit(b" ", dimension)[0]
        if any(word in each for each in wanted):
            yield word, _vector(path, number, line.rsplit(b" ", dimension)[1:])
    if stated not in (None, words):
        raise ConfigurationError(
            f"pretrained: expected {stated:,} words in {path}, as its first line says, found {words:,}: is it whole?"
        )


def _beginning(path: Path, lines: Iterator[Numbered]) -> tuple[int | None, int, Numbered]:
    """How many words the first line states, if it does; how many numbers a vector has; the first line of a vector."""
    number, line = next(lines, (0, b""))
    line = line.removeprefix(MARK)
    fields, stated = line.split(b" "), None
    if len(fields) == 2 and all(field.isdigit() and len(field) < 10 for field in fields):
        stated, dimension = int(fields[0]), int(fields[1])
        # A vector takes a character for its word, and a digit and a blank for each number.
        if not dimension or stated * (1 + 2 * dimension) > path.stat().st_size:
            raise _wrong(path, number, "numbers of words and of their vectors' components that fit into the file", line)
        number, line = next(lines, (0, b""))
        if line.count(b" ") < dimension:
            raise _wrong(path, number, f"a word and {dimension} numbers, as the first line says", line)
        return stated, dimension, (number, line)
    if len(fields) < 2:
        raise _wrong(path, number, "a word and its vector, with blanks between", line)
    _vector(path, number, fields[1:])
    return None, len(fields) - 1, (number, line)


def _lines(path: Path) -> Iterator[Numbered]:
    """What is not blank, without blanks at the end."""
    number = 0
    with path.open("rb") as file:
        while line := file.readline(LINE):
            number += 1
            if len(line) == LINE and not line.endswith(b"\n"):
                raise _wrong(path, number, f"lines of at most {LINE:,} bytes", "a longer one")
            if line := line.rstrip(b" \r\n"):
                yield number, line


def _chained(first: Numbered, others: Iterator[Numbered]) -> Iterator[Numbered]:
    yield first
    yield from others


def _vector(path: Path, number: int, fields: Sequence[bytes]) -> Floats:
    """The vector on a line; raises ConfigurationError for what are no finite numbers."""
    try:
        values = np.array([float(field) for field in fields], np.float64)
    except ValueError:
        raise _wrong(path, number, "numbers behind a word", b" ".join(fields)) from None
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise _wrong(path, number, "finite numbers", b" ".join(fields))
    return values.astype(np.float32)


# -- arrays ----------------------------------------------------------------------------------------------------------


def _from_array(path: Path, *wanted: dict[bytes, list[int]]) -> Iterator[tuple[bytes, Floats]]:
    array, words = _array(path), path.with_suffix(".txt")
    row = -1
    with _reading(words):
        for row, word in enumerate(_words(words)):
            if row < len(array) and any(word in each for each in wanted):
                vector = np.asarray(array[row], np.float32)
                if not np.isfinite(vector).all():
                    raise ConfigurationError(
                        f"pretrained: expected finite numbers in row {row} of {path}, found others"
                    )
                yield word, vector
    if row + 1 != len(array):
        raise ConfigurationError(
            f"pretrained: expected a word for each of the {len(array):,} rows of {path} in {words}, a line each, found "
            f"{row + 1:,} lines"
        )


def _array(path: Path) -> npt.NDArray[np.floating]:
    """Mapped; its header is held against the file's length before it is believed, and no objects are read."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
        try:
            shape, _, kind = header(file)
        except Exception as error:  # it is read as Python's literals, and nobody lists what that raises
            raise ValueError(f"its header cannot be read: {str(error) or type(error).__name__}") from error
        there = path.stat().st_size - file.tell()
    if kind.kind != "f" or len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"floating-point numbers (words, numbers) are meant, and it has {kind} {shape}")
    if math.prod(shape) * kind.itemsize != there:
        raise ValueError(
            f"its header states {shape} of {kind}, {math.prod(shape) * kind.itemsize:,} bytes, not {there:,}"
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _words(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        row = 0
        while line := file.readline(LINE):
            row += 1
            if len(line) == LINE and not line.endswith(b"\n"):
                raise _wrong(path, row, f"a word of at most {LINE:,} bytes", "a longer line")
            line = line.rstrip(b"\r\n")
            yield line.removeprefix(MARK) if row == 1 else line


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What goes wrong while a file is read, as a ConfigurationError that names it."""
    try:
        yield
    except ConfigurationError:
        raise
    except (OSError, ValueError, TypeError, SyntaxError) as error:
        raise ConfigurationError(f"pretrained: expected word vectors in {path}: {error}") from error


def _wrong(path: Path, number: int, expected: str, received: bytes | str) -> ConfigurationError:
    if isinstance(received, bytes):
        cut = received[:SHOWN].decode(errors="replace")
        received = f"{cut!r}{'…' if len(received) > SHOWN else ''}" if received else "nothing"
    return ConfigurationError(
        f"pretrained: expected {expected} in line {max(number, 1):,} of {path}, received {received}"
    )
