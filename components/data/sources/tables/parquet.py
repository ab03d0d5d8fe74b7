"""Parquet files in parts that fit into memory, whatever their numbers say.

A few kilobytes can stand for gigabytes: a page that is packed well, or one long value that every row refers to. So the
sizes that the footer and the pages state are held against the file before anything is unpacked, and they say how many
rows are read at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components import texts
from components.data.errors import DataError
from components.data.sources.base import boundary, limits
from components.data.sources.base.form import BATCH_BYTES, BATCH_ROWS
from components.data.sources.tables import thrift

_END = 8  # bytes behind the footer: its length, and `PAR1`
_HEADER = 2**16  # bytes that a page's header has at most; statistics in it may be long
_PREFIXES = 7  # DELTA_BYTE_ARRAY, the encoding in which each value may repeat most of the one before it
# Fields of Parquet's structures (parquet.thrift).
_ROWS, _GROUPS = 3, 4  # of the footer
_CHUNKS, _ABOUT = 1, 3  # of a row group, of a column chunk
_PATH, _VALUES, _UNPACKED, _PACKED, _DATA, _DICTIONARY = 3, 5, 6, 7, 9, 11  # of what is said about a chunk
_PAGE_UNPACKED, _PAGE_PACKED, _PAGE_DATA, _PAGE_DICTIONARY, _PAGE_DATA_2 = 2, 3, 5, 7, 8  # of a page's header


def parts(path: Path, names: list[str], lists: Collection[str] = ()) -> Iterator[pa.Table]:
    """Some columns, as many rows at a time as are about BATCH_BYTES (but never less than a page); raises DataError.

    Those that `lists` names may have lists of names or whole numbers; others have one value a row.
    """
    with boundary.reading(path, "a Parquet file"):
        form = schema(path)
        listed = {name for name in names if name in lists and holds_lists(form.field(name).type)}
        try:
            rows = _rows_at_once(path, form, set(names), listed)
        except (LookupError, TypeError, AttributeError) as error:  # of fields that are not there, or of another kind
            raise ValueError("its footer, or a page's header, lacks what it must say") from error
        # Each name in a list once, until it is known how long they are.
        coded = _coded(path, listed)
        # Buffered reading: otherwise a whole row group, which may be the whole file, is in memory.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20, read_dictionary=coded) as file:
            read, stated = 0, file.metadata.num_rows
            for batch in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
                read += len(batch)
                yield _written_out(path, pa.Table.from_batches([batch]), form)
            if read != stated:  # pages that hold fewer values than the footer says, which Arrow takes as it finds them
                raise ValueError(f"its footer states {stated:,} rows, and these columns have {read:,}")


def schema(path: Path) -> pa.Schema:
    """Of the whole file, with its metadata; raises DataError."""
    with boundary.reading(path, "a Parquet file"):
        return pq.read_schema(path)


def _rows_at_once(path: Path, form: pa.Schema, names: set[str], lists: set[str]) -> int:
    """By what the columns take unpacked, and by the longest value that one of them can have."""
    for name in sorted(names - lists):
        if _repeats(form.field(name).type):
            raise DataError(
                f"{path}: expected one value per row in column {texts.exact(name)}, received lists; write a row for "
                "each of them, or name another column"
            )
    size, unpacked, longest, rows, labels = path.stat().st_size, 0, 0, 0, 0
    with path.open("rb") as file:
        footer = _footer(file, size)
        rows = int(footer[_ROWS])
        holds = any(pa.types.is_binary(each.type) or pa.types.is_struct(each.type) for each in form)
        (limits.check_pictures if holds else limits.check_rows)(path, rows, size)
        for group in footer.get(_GROUPS, []):
            for chunk in group.get(_CHUNKS, []):
                about = chunk[_ABOUT]
                name = about[_PATH][0].decode()
                if name in names:
                    unpacked += int(about[_UNPACKED])
                    longest = max(longest, _longest(path, file, size, about, name if name in lists else None))
                    labels += int(about[_VALUES]) if name in lists else 0
    limits.check_labels(path, labels, size)
    return max(1, min(BATCH_ROWS, BATCH_BYTES * rows // max(1, unpacked), limits.VALUES // max(1, longest)))


def holds_lists(kind: pa.DataType) -> bool:
    """Whether a column of that type has lists of names or whole numbers."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    value = kind.value_type.value_type if pa.types.is_dictionary(kind.value_type) else kind.value_type
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_integer(value))


def _coded(path: Path, lists: set[str]) -> list[str]:
    """Where the names in lists are, as the file calls the places."""
    if not lists:
        return []
    leaves = pq.read_metadata(path).schema
    every = (leaves.column(number) for number in range(len(leaves)))
    return [
        leaf.path
        for leaf in every
        if leaf.max_repetition_level and leaf.physical_type == "BYTE_ARRAY" and leaf.path.partition(".")[0] in lists
    ]


def _written_out(path: Path, part: pa.Table, form: pa.Schema) -> pa.Table:
    """The part with its lists as the file's schema has them; raises DataError where that is too much for memory."""
    for place, name in enumerate(part.column_names):
        column, kind = part.column(name), form.field(name).type
        if column.type == kind:
            continue
        for chunk in column.chunks:
            values = chunk.flatten()
            longest = pc.max(pc.binary_length(values.dictionary)).as_py() or 0
            if len(values) * longest > limits.VALUES:
                raise DataError(
                    f"{path}: expected labels in {texts.exact(name)} of at most {limits.VALUES:,} bytes in a part, "
                    f"received {len(values):,} of up to {longest:,}; labels are names, not texts"
                )
        part = part.set_column(place, name, column.cast(kind))
    return part


def _repeats(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_repeats(field.type) for field in kind)
    return bool(pa.types.is_nested(kind))


def _footer(file: IO[bytes], size: int) -> dict[int, Any]:
    file.seek(max(0, size - _END))
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(0, size - _END - length))
    return thrift.structure(file.read(length))[0]


def _longest(path: Path, file: IO[bytes], size: int, about: dict[int, Any], lists: str | None = None) -> int:
    """Bytes of the longest value that rows of a column chunk can refer to; raises DataError for sizes beyond bounds.

    `lists` is the column's name where its rows have any number of values.
    """
    at = min(about[_DATA], about.get(_DICTIONARY) or about[_DATA])
    end, longest, values = at + about[_PACKED], 0, 0
    if not 0 <= at <= end <= size:
        raise DataError(f"{path}: expected columns inside the file, received bytes {at:,} to {end:,} of {size:,}")
    while at < end and values < about[_VALUES]:
        file.seek(at)
        page, length = thrift.structure(file.read(min(_HEADER, end - at)))
        packed, unpacked = page[_PAGE_PACKED], page[_PAGE_UNPACKED]
        if packed < 0 or unpacked < 0 or at + length + packed > size:
            raise DataError(f"{path}: expected pages inside the file, received one of {packed:,} bytes at {at:,}")
        if unpacked > max(limits.PIECE, limits.RATIO * packed):
            raise DataError(
                f"{path}: expected pages of at most {limits.PIECE:,} bytes, or {limits.RATIO} times what they are "
                f"packed, received {unpacked:,} from {packed:,}; write the file anew with smaller row groups"
            )
        dictionary, data = page.get(_PAGE_DICTIONARY), page.get(_PAGE_DATA) or page.get(_PAGE_DATA_2)
        if dictionary is not None:
            longest = max(longest, unpacked - 4 * max(0, dictionary[1] - 1))
        elif data is not None:
            values += max(0, data[1])
            if data[2 if _PAGE_DATA in page else 4] == _PREFIXES:
                if lists is not None:
                    raise DataError(
                        f"{path}: expected lists in {texts.exact(lists)} whose names are written out, received some "
                        "that repeat each other's beginnings (DELTA_BYTE_ARRAY); write the file anew without that"
                    )
                longest = max(longest, unpacked)
        at += length + packed
    return longest
