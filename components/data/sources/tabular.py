"""Tables in CSV, TSV and Parquet, read a part at a time: what manifests and Hugging Face's files have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from components import texts
from components.data.errors import DataError
from components.data.sources import boundary, limits, parquet

SUFFIXES = (".csv", ".tsv", ".parquet")
_BLOCK = 2**20  # bytes of a CSV that are parsed at once, and that a row has at most: PyArrow's own choice


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
    taken, rows, size = [columns(path, names).empty_table()], 0, 0
    for part in parts(path, list(dict.fromkeys(names))):
        rows, size = rows + len(part), size + part.nbytes
        limits.check_rows(path, rows, path.stat().st_size)
        limits.check_held(path, size)
        _check_names(path, part, rows - len(part))
        taken.append(part)
    return pa.concat_tables(taken)


def _check_names(path: Path, part: pa.Table, start: int) -> None:
    """Raises DataError for a value that is no name but a document, or a picture as text."""
    for name in part.column_names:
        for chunk in part.column(name).chunks:
            values = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
            is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
            longest = (pc.max(pc.binary_length(values)).as_py() or 0) if is_text else 0
            if longest > limits.NAME:
                raise DataError(
                    f"{path}, rows from {start + 1} on: expected names of at most {limits.NAME:,} bytes in "
                    f"{texts.exact(name)}, received one of {longest:,}; pictures are read from files that are named, "
                    "or as bytes from a Parquet file"
                )


def columns(path: Path, names: list[str] | None = None) -> pa.Schema:
    with _table(path):
        if path.suffix.lower() == ".parquet":
            form = parquet.schema(path).remove_metadata()
        else:
            with _csv(path) as reader:
                form = pa.schema([(name, pa.string()) for name in reader.schema.names])
    twice = sorted(name for name, number in Counter(form.names).items() if number > 1)
    if twice:
        raise DataError(f"{path}: expected columns of different names, received {twice[0]!r} twice")
    return form if names is None else pa.schema([form.field(name) for name in dict.fromkeys(names)])


def parts(path: Path, names: list[str]) -> Iterator[pa.Table]:
    """The table's rows in order, some columns only, in parts that fit into memory whatever the images' size."""
    form = columns(path, names)
    if path.suffix.lower() == ".parquet":
        yield from parquet.parts(path, names)
        return
    with _table(path), _csv(path, form) as reader:
        yield from (pa.Table.from_batches([batch]) for batch in reader)


def _csv(path: Path, form: pa.Schema | None = None) -> pacsv.CSVStreamingReader:
    """All columns as text, as they are written: `007` is no number. Nothing at all is a missing value."""
    return pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(block_size=_BLOCK),
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


@contextmanager
def _table(path: Path) -> Iterator[None]:
    with boundary.reading(path, "a table (CSV in UTF-8 with a header, or Parquet)"):
        try:
            yield
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error):
                raise
            raise DataError(
                f"{path}: expected rows of at most {_BLOCK:,} bytes, received a longer one; close each quote that a "
                "value begins with, and name pictures instead of writing them out"
            ) from error
