"""Rows → tables of bounded size, and the rules that readers of one's own data share: names, splits, paths, times."""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import pyarrow as pa

from components import spelling, texts
from components.artifacts import Split
from components.data.errors import DataError
from components.data.sources.base import boundary
from components.data.sources.base.faults import MANY, shown, some
from components.data.sources.base.form import BATCH_BYTES, BATCH_ROWS, INPUT, is_text

_WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
SPLIT_NAMES: dict[str, Split] = {word: split for split, words in _WORDS.items() for word in words}
_OF_A_SPLIT = re.compile(r"[ _-]?(set|split|data|dataset|images|imgs|pictures)$")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_AHEAD = 16  # items in work at a time: enough for every core, and few enough to be held in memory at once

_PIXELS = 32_000_000  # of all items in work: half of the largest picture that is read, so that such a one is alone

Item = TypeVar("Item")
Result = TypeVar("Result")


def tables(schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> Iterator[pa.Table]:
    """Rows (a value a column of `schema`) as tables of at most BATCH_ROWS, and about BATCH_BYTES, each."""
    waiting: list[Mapping[str, Any]] = []
    size, bulky = 0, (schema.names[INPUT], "target")
    for row in rows:
        waiting.append(row)
        size += sum(len(value) for value in (row[name] for name in bulky) if isinstance(value, bytes | str))
        if size >= BATCH_BYTES or len(waiting) >= BATCH_ROWS:
            yield _table(schema, waiting)
            waiting, size = [], 0
    if waiting:
        yield _table(schema, waiting)


def _table(schema: pa.Schema, rows: list[Mapping[str, Any]]) -> pa.Table:
    return pa.table({field.name: _column([row[field.name] for row in rows], field) for field in schema})


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except UnicodeEncodeError:
        wrong = next(value for value in values if isinstance(value, str) and not is_text(value))
        raise DataError(
            f"{texts.shown(field.name)}: expected whole characters, received {texts.exact(wrong)}; write it anew"
        ) from None


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], pixels: Callable[[Item], int] = lambda _: 0
) -> Iterator[Result]:
    """`map` over a few threads, in order, that runs only a little ahead of whoever reads it.

    `pixels` says how large a picture an item becomes: large ones are in memory by ones and twos.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        waiting: deque[tuple[Future[Result], int]] = deque()
        taken = 0
        for item in items:
            size = pixels(item)
            while waiting and (len(waiting) >= _AHEAD or taken + size > _PIXELS):
                future, freed = waiting.popleft()
                taken -= freed
                yield future.result()
            waiting.append((pool.submit(function, item), size))
            taken += size
        while waiting:
            yield waiting.popleft()[0].result()


# -- names -----------------------------------------------------------------------------------------------------------


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Class names without repetition: in order of number where all of them are numbers, of name otherwise."""
    different = set(names)
    if all(_NUMBER.fullmatch(name) for name in different):
        return tuple(sorted(different, key=lambda name: (float(name), name)))
    return tuple(sorted(different))


def unique(names: Iterable[tuple[str, str]]) -> None:
    """Raises DataError for an id that two samples have; `names` are pairs of an id and where it was found."""
    first: dict[str, str] = {}
    for name, where in names:
        if name in first:
            raise DataError(f"{where}: expected an id of its own, received {name!r}, which {first[name]} has too")
        first[name] = where


def numbers(classes: Iterable[str]) -> dict[str, int]:
    """Class name → index."""
    return {name: index for index, name in enumerate(classes)}


def published(name: str | None, where: str) -> Split | None:
    """The split that a source's own word for it means; None for none. Raises DataError for a word that means none."""
    if name is None or not spelling.key(name):
        return None
    split = split_named(name)
    if split is None:
        raise DataError(
            f"{where}: expected a split of {', '.join(SPLIT_NAMES)}, or nothing, received {texts.exact(name)}"
        )
    return split


def split_named(name: str) -> Split | None:
    """The split that a name is one of the words for, however it is written; None where it is none of them.

    `set`, `images` and the like behind the word say nothing else: `training_set`, `Test images`.
    """
    key = spelling.key(name)
    return SPLIT_NAMES.get(key) or SPLIT_NAMES.get(_OF_A_SPLIT.sub("", key))


def group_columns(columns: Iterable[str], named: Iterable[str], where: str) -> dict[str, str]:
    """Group → column: every `group_*`, and each NAME that the catalogue names as `group_NAME`."""
    there = list(columns)
    result = {name: name for name in there if name.startswith("group_")}
    for name in named:
        if name not in there:
            raise DataError(f"{where}: expected a column {name!r} (source.groups), received {some(there, MANY)}")
        group = name if name.startswith("group_") else f"group_{name}"
        if result.get(group, name) != name:
            raise DataError(f"{where}: expected one column for {group}, received {name!r} and {group!r}")
        result[group] = name
    return result


def text(value: Any) -> str | None:
    """A group's or class's value as text: None where it is missing (nothing, an empty text, not a number)."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a whole number becomes a float as soon as one of its column is missing
    return str(value)


def seconds(value: Any, where: str) -> float:
    """A number as it is, a date or an ISO 8601 text as seconds since 1970 (UTC where it names no zone)."""
    number = math.nan
    with suppress(
        ValueError, OverflowError, TypeError
    ):  # a day that there is not, a number that no float holds, a list
        if isinstance(value, date):
            number = _since_1970(value)
        elif isinstance(value, str):
            number = _of_text(value)
        elif value is not None and not isinstance(value, bool):
            number = float(value)
    if not math.isfinite(number):
        raise DataError(
            f"{where}: expected a time, a number or ISO 8601 such as 2024-05-17T09:30, received {shown(value)}"
        )
    return number


def _of_text(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return _since_1970(datetime.fromisoformat(value))


def _since_1970(moment: date) -> float:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# -- files -----------------------------------------------------------------------------------------------------------

_LEFTOVERS = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or is what file browsers and packers leave behind."""
    return name.startswith(".") or name in _LEFTOVERS


def folder_inside(root: Path, name: str, key: str) -> Path:
    """The folder `root/name`, or `root` itself for `.`; raises DataError that names the key, as `inside` does."""
    pure = PurePosixPath(name)
    sound = "\0" not in name and not pure.is_absolute() and ".." not in pure.parts
    path = (root / pure).resolve() if sound else root.parent
    if not path.is_relative_to(root):
        raise DataError(f"{key}: expected a folder in {root}, received {texts.exact(name)}")
    if not path.is_dir():
        raise DataError(f"{key}: expected a folder {root / pure}, received {'a file' if path.exists() else 'none'}")
    return path


def inside(root: Path, name: str, where: str) -> Path:
    """The file `root/name`; raises DataError where the name or a link leads out of `root`, or to no file.

    `root` is absolute and resolved; `where` says which row or object names the file.
    """
    pure = PurePosixPath(name)
    if not name or "\0" in name or pure.is_absolute() or ".." in pure.parts:
        raise DataError(f"{where}: expected a path below {root}, received {texts.exact(name)}")
    path = root / pure
    with boundary.reading(where, f"a path below {root}"):
        real = path.resolve()
        there = real.is_file()
    if not real.is_relative_to(root):
        raise DataError(f"{where}: expected a file inside {root}, received a link to {real}; copy it instead")
    if not there:
        raise DataError(f"{where}: expected a file {path}, received {'a folder' if real.is_dir() else 'none'}")
    return path
