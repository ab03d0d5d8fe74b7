"""Tables in CSV, TSV, JSON and Parquet, read a part at a time: what manifests and Hugging Face's files have in common.

How a text file is written (encoding, what is between its columns, blanks behind commas) is seen from its beginning.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from components import texts
from components.data.errors import DataError
from components.data.sources.base import boundary, limits
from components.data.sources.base.form import BATCH_BYTES, BATCH_ROWS
from components.data.sources.tables import parquet, records

RECORDS = (".jsonl", ".ndjson", ".json")
SUFFIXES = (".csv", ".tsv", ".parquet", *RECORDS)
_BETWEEN = ",;\t|"  # what may be between columns, the most usual first
_BEGINNING = 2**20  # bytes: a header is shorter
_BLOCK = 32 * 2**20  # bytes of a row, at most: pictures as text are that long


@dataclass(frozen=True)
class Dialect:
    """How a CSV file is written."""

    names: tuple[str, ...]  # of the columns, without blanks around them
    delimiter: str
    encoding: str
    spaced: bool  # blanks follow the delimiters
    above: int  # lines above the header

    @property
    def plain(self) -> bool:
        """Whether Arrow reads it as it is."""
        return self.encoding == "utf-8-sig" and not self.spaced and not self.above


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a Parquet column holds files rather than their names: bytes, or `datasets`' struct of bytes and path."""
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def bytes_of(value: Any) -> bytes | None:
    """The file in a value of such a column; None where it is missing."""
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else None


def held(path: Path, names: list[str], lists: Collection[str] = ()) -> pa.Table:
    """Some columns of the whole table; those that `lists` names may have lists, others one value a row."""
    taken, rows, size = [columns(path, names).empty_table()], 0, 0
    for part in parts(path, list(dict.fromkeys(names)), lists):
        rows, size = rows + len(part), size + part.nbytes
        limits.check_rows(path, rows, path.stat().st_size)
        limits.check_held(path, size)
        _check_names(path, part, rows - len(part))
        taken.append(part)
    return pa.concat_tables(taken)


def count(path: Path) -> int:
    """How many rows there are; a table without columns does not keep it where it is put together."""
    return sum(len(part) for part in parts(path, []))


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


def head(path: Path, names: list[str], rows: int) -> list[dict[str, Any]]:
    """The first rows, some columns only."""
    found: list[dict[str, Any]] = []
    for part in parts(path, names):
        found += part.slice(0, rows - len(found)).to_pylist()
        if len(found) >= rows:
            break
    return found


def columns(path: Path, names: list[str] | None = None) -> pa.Schema:
    with _table(path):
        if path.suffix.lower() == ".parquet":
            form = parquet.schema(path).remove_metadata()
        elif path.suffix.lower() in RECORDS:
            form = pa.schema([(name, pa.string()) for name in records.names(path)])
        else:
            form = pa.schema([(name, pa.string()) for name in dialect(path).names])
    limits.check_columns(path, len(form.names))
    twice = sorted(name for name, number in Counter(form.names).items() if number > 1)
    if twice:
        raise DataError(f"{path}: expected columns of different names, received {texts.exact(twice[0])} twice")
    return form if names is None else pa.schema([form.field(name) for name in dict.fromkeys(names)])


def parts(path: Path, names: list[str], lists: Collection[str] = ()) -> Iterator[pa.Table]:
    """The table's rows in order, some columns only, in parts that fit into memory whatever the images' size."""
    form = columns(path, names)
    if path.suffix.lower() == ".parquet":
        yield from parquet.parts(path, names, lists)
        return
    if not names:  # how many rows there are; Arrow's reader takes no names for all of them
        yield from (part.select([]) for part in parts(path, columns(path).names[:1]))
        return
    with _table(path):
        if path.suffix.lower() in RECORDS:
            yield from _gathered(records.rows(path, form.names), form)
            return
        written = dialect(path)
        if not written.plain:
            yield from _gathered(_rows(path, written), form)
            return
        with _csv(path, form, written) as reader:
            yield from (pa.Table.from_batches([batch]) for batch in reader)


# -- CSV -------------------------------------------------------------------------------------------------------------


def dialect(path: Path) -> Dialect:
    """How a CSV file is written; raises csv.Error and UnicodeError where it has no header."""
    with path.open("rb") as file:
        start = file.read(_BEGINNING)
    encoding = _encoding(start)
    whole = start if len(start) < _BEGINNING else start[: start.rfind(b"\n") // 2 * 2 or None]
    text = whole.decode(encoding, errors="strict" if len(start) < _BEGINNING else "ignore")
    above = 1 if text[:4].lower() == "sep=" else 0  # as Excel begins a file
    text = text.split("\n", above)[-1]
    between = "\t" if path.suffix.lower() == ".tsv" else _BETWEEN
    found = max(between, key=lambda delimiter: (len(_first(text, delimiter)[0]), -between.index(delimiter)))
    rows = _first(text, found)
    if not any(name.strip() for name in rows[0]):
        raise csv.Error("there is no header with the columns' names")
    return Dialect(
        names=tuple(name.strip() for name in rows[0]),
        delimiter=found,
        encoding=encoding,
        spaced=any(value != value.strip() for value in rows[0])
        or (len(rows) > 1 and any(value.startswith(" ") for value in rows[1][1:])),
        above=above,
    )


def _encoding(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    some = start[:200]
    if len(some) > 1 and 0 in some:  # Latin letters in two bytes, without a mark that says so
        return "utf-16-le" if 0 not in some[::2] else "utf-16-be" if 0 not in some[1::2] else "utf-8-sig"
    return "utf-8-sig"


def _first(text: str, delimiter: str) -> list[list[str]]:
    """The header and the first row."""
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)
    return list(islice((row for row in reader if row), 2)) or [[]]


def _rows(path: Path, written: Dialect) -> Iterator[dict[str, Any]]:
    before = csv.field_size_limit(_BLOCK)
    try:
        with path.open(encoding=written.encoding, newline="") as file:
            for _ in range(written.above):
                file.readline()
            reader = csv.reader(file, delimiter=written.delimiter, skipinitialspace=written.spaced, strict=True)
            next(reader, None)
            for row in reader:
                if len(row) != len(written.names) and row:
                    raise csv.Error(f"expected {len(written.names)} columns in line {reader.line_num}, got {len(row)}")
                if row:
                    yield dict(zip(written.names, (value or None for value in row), strict=True))
    finally:
        csv.field_size_limit(before)


def _gathered(rows: Iterator[dict[str, Any]], form: pa.Schema) -> Iterator[pa.Table]:
    """Rows of texts as tables of bounded size."""
    waiting: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        kept = {name: row[name] for name in form.names}
        waiting.append(kept)
        size += sum(sys.getsizeof(value) for value in kept.values())
        if size >= BATCH_BYTES or len(waiting) >= BATCH_ROWS:
            yield pa.Table.from_pylist(waiting, form)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_pylist(waiting, form)


def _csv(path: Path, form: pa.Schema, written: Dialect) -> pacsv.CSVStreamingReader:
    """All columns as text, as they are written: `007` is no number. Nothing at all is a missing value."""
    return pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(block_size=min(_BLOCK, max(2**20, path.stat().st_size))),
        parse_options=pacsv.ParseOptions(delimiter=written.delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=form, include_columns=form.names, null_values=[""], strings_can_be_null=True
        ),
    )


@contextmanager
def _table(path: Path) -> Iterator[None]:
    with boundary.reading(path, "a table (CSV with a header, JSON, or Parquet)"):
        try:
            yield
        except UnicodeError as error:
            where = f" (byte {error.start:,})" if isinstance(error, UnicodeDecodeError) else ""
            raise DataError(
                f"{path}: expected a table in UTF-8 or UTF-16, received one that cannot be read as such{where}; save "
                "it as UTF-8, for example by `iconv -f WINDOWS-1252 -t UTF-8`"
            ) from error
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error):
                raise
            raise DataError(
                f"{path}: expected rows of at most {_BLOCK:,} bytes, received a longer one; close each quote that a "
                "value begins with, and name pictures instead of writing them out"
            ) from error
