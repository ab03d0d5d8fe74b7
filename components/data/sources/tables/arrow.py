"""Arrow's streams as `save_to_disk` writes them, mapped into memory a few rows at a time, whatever their numbers say.

What is mapped takes no memory, so what would take some is refused before it is read: packed buffers, and values that
many rows share. Each batch is validated, since offsets that lead out of it would lead out of the process's memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from components import texts
from components.data.errors import DataError
from components.data.sources.base import boundary, limits
from components.data.sources.base.form import BATCH_BYTES, BATCH_ROWS
from components.data.sources.tables.parquet import holds_lists

_EXPECTED = "an Arrow stream of `save_to_disk`"
# Fields of Arrow's messages, which are flatbuffers (Message.fbs).
_HEADER, _COMPRESSION = 2, 3  # of a message, of a batch in it


def schema(path: Path) -> pa.Schema:
    """Of the whole file, with its metadata; raises DataError."""
    with boundary.reading(path, _EXPECTED), pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.schema


def parts(path: Path, names: list[str], lists: Collection[str] = ()) -> Iterator[pa.Table]:
    """Some columns, as many rows at a time as are about BATCH_BYTES; raises DataError.

    Those that `lists` names may have lists of names or whole numbers; others have one value a row.
    """
    with boundary.reading(path, _EXPECTED):
        for field in map(schema(path).field, names):
            if not (_plain(field.type) or (field.name in lists and holds_lists(field.type))):
                raise DataError(
                    f"{path}: expected one value per row in column {texts.exact(field.name)}, received {field.type}; "
                    "save it as a text, a number or bytes"
                )
        _check(path)
        with _opened(path) as stream:
            for batch in stream:
                some = batch.select(names)
                some.validate(full=True)
                step = max(1, min(BATCH_ROWS, BATCH_BYTES * len(some) // max(1, some.nbytes)))
                for start in range(0, len(some), step):
                    yield pa.Table.from_batches([some.slice(start, step)])


@contextmanager
def _opened(path: Path) -> Iterator[pa.RecordBatchStreamReader]:
    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        yield stream


def _check(path: Path) -> None:
    """Raises DataError for what cannot be mapped, and for more rows than the file can mean."""
    rows, size = 0, path.stat().st_size
    with pa.memory_map(str(path)) as file:
        for message in pa.ipc.MessageReader.open_stream(file):
            if message.type == "dictionary" or (message.type == "record batch" and _packed(bytes(message.metadata))):
                raise DataError(
                    f"{path}: expected columns as they are, received packed ones; write them anew with `save_to_disk`"
                )
    with _opened(path) as stream:
        for batch in stream:
            rows += len(batch)
            limits.check_pictures(path, rows, size)


def _packed(message: bytes) -> bool:
    """Whether the buffers of a batch are compressed, by the message that is before it."""
    header = _field(message, int.from_bytes(message[:4], "little"), _HEADER)
    if header is None:
        raise ValueError("a batch has no header")
    batch = header + int.from_bytes(message[header : header + 4], "little")
    return _field(message, batch, _COMPRESSION) is not None


def _field(message: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table is; None where it is not there."""
    names = table - int.from_bytes(message[table : table + 4], "little", signed=True)
    at = 4 + 2 * number
    if at >= int.from_bytes(message[names : names + 2], "little"):
        return None
    offset = int.from_bytes(message[names + at : names + at + 2], "little")
    return table + offset if offset else None


def _plain(kind: pa.DataType) -> bool:
    """Whether a row has one value of it, which no other row shares."""
    if pa.types.is_struct(kind):
        return all(_plain(field.type) for field in kind)
    known = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(is_it(kind) for is_it in known) or (pa.types.is_primitive(kind) and not pa.types.is_null(kind))
