"""Parquet files in parts that fit into memory, whatever their numbers say.

A few kilobytes can stand for gigabytes: a page that is packed well, or one long value that every row refers to. So the
sizes that pages state are held against the file before anything is unpacked, and they say how many rows are read at a
time. PyArrow shows the footer alone; the pages' own headers (Thrift's compact protocol) are read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.data.errors import DataError
from components.data.sources import boundary, limits
from components.data.sources.registry import BATCH_BYTES, BATCH_ROWS

_HEADER = 2**16  # bytes that a page's header has at most; statistics in it may be long
_SHORTEST = 4  # bytes of a page with a header, about
_PREFIXES = 7  # DELTA_BYTE_ARRAY, the encoding in which each value may repeat most of the one before it


def parts(path: Path, names: list[str]) -> Iterator[pa.Table]:
    """Some columns, as many rows at a time as are about BATCH_BYTES (but never less than a page); raises DataError."""
    # Buffered reading: otherwise a whole row group, which may be the whole file, is in memory.
    with (
        boundary.reading(path, "a Parquet file"),
        path.open("rb") as raw,
        pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file,
    ):
        rows = _rows_at_once(path, raw, file.metadata, set(names))
        for batch in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
            yield pa.Table.from_batches([batch])


def schema(path: Path) -> pa.Schema:
    """Of the whole file, with its metadata; raises DataError."""
    with boundary.reading(path, "a Parquet file"):
        return pq.read_schema(path)


def _rows_at_once(path: Path, raw: IO[bytes], about: pq.FileMetaData, names: set[str]) -> int:
    """By what the columns take unpacked, and by the longest value that one of them can have."""
    size = path.stat().st_size
    kinds = [about.schema.column(number) for number in range(about.num_columns)]
    holds = any(each.physical_type == "BYTE_ARRAY" and each.logical_type.type == "NONE" for each in kinds)
    (limits.check_pictures if holds else limits.check_rows)(path, about.num_rows, size)
    unpacked = longest = 0
    for number, column in enumerate(kinds):
        if column.path.split(".")[0] not in names:
            continue
        if column.max_repetition_level:
            raise DataError(
                f"{path}: expected one value a row in column {column.path.split('.')[0]!r}, received lists; write a "
                "row for each, or name another column"
            )
        for group in range(about.num_row_groups):
            chunk = about.row_group(group).column(number)
            unpacked += chunk.total_uncompressed_size
            longest = max(longest, _longest(path, raw, size, chunk))
    at_once = BATCH_BYTES * int(about.num_rows) // max(1, unpacked)
    return max(1, min(BATCH_ROWS, at_once, limits.VALUES // max(1, longest)))


def _longest(path: Path, raw: IO[bytes], size: int, chunk: pq.ColumnChunkMetaData) -> int:
    """Bytes of the longest value that rows of a column chunk can refer to; raises DataError for sizes beyond bounds."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        at = min(at, chunk.dictionary_page_offset or at)
    end, longest, values = at + chunk.total_compressed_size, 0, 0
    if not 0 <= at <= end <= size:
        raise DataError(f"{path}: expected columns inside the file, received bytes {at:,} to {end:,} of {size:,}")
    while at + _SHORTEST <= end and values < chunk.num_values:
        raw.seek(at)
        length, page = _page(raw.read(min(_HEADER, end - at)))
        packed, unpacked = page.get(3, -1), page.get(2, -1)
        if packed < 0 or unpacked < 0 or at + length + packed > size:
            raise DataError(f"{path}: expected pages inside the file, received one of {packed:,} bytes at {at:,}")
        if unpacked > max(limits.PIECE, limits.RATIO * packed):
            raise DataError(
                f"{path}: expected pages of at most {limits.PIECE:,} bytes, or {limits.RATIO} times what they are "
                f"packed, received {unpacked:,} from {packed:,}; write the file anew with smaller row groups"
            )
        dictionary, data = page.get(7), page.get(5) or page.get(8)
        if dictionary is not None:
            longest = max(longest, unpacked - 4 * max(0, dictionary.get(1, 1) - 1))
        elif data is not None:
            values += max(0, data.get(1, 0))
            if data.get(4 if 8 in page else 2) == _PREFIXES:
                longest = max(longest, unpacked)
        at += length + packed
    return longest


# -- Thrift's compact protocol ---------------------------------------------------------------------------------------


def _page(content: bytes) -> tuple[int, dict[int, Any]]:
    """The length of the structure at the beginning, and its whole numbers and structures by field; raises ValueError
    or IndexError for what is none."""
    reader = _Compact(content)
    fields = reader.structure(0)
    return reader.at, fields


class _Compact:
    """As much of the protocol as a page's header needs: what is neither a number nor a structure is passed over."""

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0

    def structure(self, depth: int) -> dict[int, Any]:
        if depth > 8:
            raise ValueError("a page's header is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            number = number + (head >> 4) if head >> 4 else self._signed()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:  # true, false: in the head itself
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._unsigned())
            case 12:
                return self.structure(depth + 1)
            case _:
                raise ValueError(f"a page's header has a field of kind {kind}")
        return None

    def _skip(self, length: int) -> None:
        if self.at + length > len(self._content):
            raise ValueError("a page's header is cut short or too long")
        self.at += length

    def _byte(self) -> int:
        self._skip(1)
        return self._content[self.at - 1]

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a page's header has a number of more than 64 bits")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
