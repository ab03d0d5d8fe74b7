"""The form in which every source hands over its samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from components.config import DatasetConfig
from components.data.errors import DataError
from components.inputs import registry as inputs
from components.targets import registry as targets

BATCH_ROWS = 10_000
BATCH_BYTES = 64 * 2**20
IMAGE = "image"
INPUT = 1  # the place of the input among the columns


@dataclass(frozen=True)
class SourceData:
    """What a source gives: its class names, what a target is, and its rows, table by table.

    Columns: `id` (string, unique), the input under the name of its kind (`image`: encoded bytes; `text`: a string),
    `target` (as its kind stores it: an int64 index into `classes`, the bytes of a PNG mask of such indices, a list of
    numbers), `published` (the split the source itself gives the sample, or null), any `group_*` (string, null where it
    is missing), and, where `time` says so, `time` (float64, seconds or any other order).
    """

    classes: tuple[str, ...]
    target: str  # its kind, a name of `components.targets`
    tables: Iterator[pa.Table]
    groups: tuple[str, ...] = ()
    time: bool = False
    notes: Callable[[], tuple[str, ...]] = tuple  # what was left out, a sentence a kind; known at the tables' end
    joined: tuple[str, ...] = ()  # what `spellings: join` has made one, a sentence each
    about: Mapping[str, Any] = field(default_factory=dict)  # of targets, beside their classes, as their kind notes it
    left: tuple[str, ...] = ()  # names of `without` that were left out while reading: folders of no class, for example
    given: str = IMAGE  # the kind of input, a name of `components.inputs`

    @property
    def schema(self) -> pa.Schema:
        return schema(self.target, self.groups, self.time, self.given)


def schema(target: str, groups: tuple[str, ...] = (), time: bool = False, given: str = IMAGE) -> pa.Schema:
    """The columns of a source's tables, in order."""
    kind = inputs.get(given)
    return pa.schema(
        [
            ("id", pa.string()),
            (kind.name, kind.stored),
            ("target", targets.get(target).stored),
            ("published", pa.string()),
            *[(group, pa.string()) for group in groups],
            *([("time", pa.float64())] if time else []),
        ]
    )


def agreed(config: DatasetConfig, given: str) -> None:
    """Raises DataError where the entry declares another kind of input than its source gives."""
    if config.input_kind != given:
        raise DataError(
            f"source ({config.source.kind}): expected {inputs.get(config.input_kind).many}, since the entry declares "
            f"`{config.input_kind}:`, received {inputs.get(given).many}; declare `{given}:`, or name another source"
        )


def is_text(value: str) -> bool:
    """Whether it can be written at all: JSON and file names may hold halves of characters."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
