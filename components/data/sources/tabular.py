"""Tables in CSV, TSV and Parquet, read a part at a time: what manifests and Hugging Face's files have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from components.data.errors import DataError
from components.data.sources.registry import BATCH_BYTES, BATCH_ROWS

SUFFIXES = (".csv", ".tsv", ".parquet")


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a Parquet column holds files rather than their names: bytes, or `datasets`' struct of bytes and path."""
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def bytes_of(value: Any) -> bytes | None:
    """The file in a value of such a column; None where it is missing."""
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else None


def held(path: Path, names: list[str]) -> pa.Table:
    """Some columns of the whole table."""
    return pa.concat_tables([*parts(path, list(dict.fromkeys(names))), columns(path, names).empty_table()])


def columns(path: Path, names: list[str] | None = None) -> pa.Schema:
    try:
        if path.suffix.lower() == ".parquet":
            form = pq.read_schema(path).remove_metadata()
        else:
            with _csv(path) as reader:
                form = pa.schema([(name, pa.string()) for name in reader.schema.names])
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None
    twice = sorted({name for name in form.names if form.names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: expected columns of different names, received {twice[0]!r} twice")
    return form if names is None else pa.schema([form.field(name) for name in dict.fromkeys(names)])


def parts(path: Path, names: list[str]) -> Iterator[pa.Table]:
    """The table's rows in order, some columns only, in parts that fit into memory whatever the images' size."""
    form = columns(path, names)
    if path.suffix.lower() == ".parquet":
        yield from parquet_parts(path, names)
        return
    try:
        with _csv(path, form) as reader:
            yield from (pa.Table.from_batches([batch]) for batch in reader)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None


def parquet_parts(path: Path, names: list[str]) -> Iterator[pa.Table]:
    """Some columns of a Parquet file, as many rows at a time as are about BATCH_BYTES (but never less than a page)."""
    try:
        # Buffered reading: otherwise a whole row group, which may be the whole file, is in memory.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
            for batch in file.iter_batches(
                batch_size=_rows_at_once(file.metadata, names), columns=names, use_threads=False
            ):
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None


def _rows_at_once(about: pq.FileMetaData, names: list[str]) -> int:
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(about.num_columns)]
    size = sum(each.total_uncompressed_size for each in columns if each.path_in_schema.split(".")[0] in names)
    return max(1, min(BATCH_ROWS, BATCH_BYTES * int(about.num_rows) // max(1, int(size))))


def _csv(path: Path, form: pa.Schema | None = None) -> pacsv.CSVStreamingReader:
    """All columns as text, as they are written: `007` is no number. Nothing at all is a missing value."""
    return pacsv.open_csv(
        path,
        parse_options=pacsv.ParseOptions(
            delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=form or {},
            include_columns=form.names if form else [],
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: expected a table (CSV in UTF-8 with a header, or Parquet), received one that cannot be read: {error}"
    )
