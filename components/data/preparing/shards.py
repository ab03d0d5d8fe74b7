"""Tables → Parquet shards, the same bytes for the same rows every time."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SHARD_ROWS = 10_000
SHARD_BYTES = 128 * 2**20  # a shard is written from memory: large photographs must not gather 10,000 at a time
# Of a row group, the least that can be read: a stream mixes eight at a time (`reading.windows`), and a shard
# of large photographs in one group would come in order of its classes.
GROUP_BYTES = 16 * 2**20


def _group_rows(table: pa.Table, given: str) -> int:
    """Rows of a row group, by what the rows hold and not by how Arrow holds them: bytes, and what inputs are."""
    bulky = [field.name for field in table.schema if pa.types.is_binary(field.type) or field.name == given]
    held = sum(pc.sum(pc.binary_length(table.column(name))).as_py() or 0 for name in bulky)
    return SHARD_ROWS if held <= GROUP_BYTES else max(1, GROUP_BYTES * len(table) // held)


class ShardWriter:
    """Gathers rows into `STEM-00000.parquet`, …; at least one shard is written, so that an empty split is found.

    `given` is the column of inputs, if there is one.
    """

    def __init__(self, folder: Path, stem: str, schema: pa.Schema, given: str) -> None:
        self.rows = 0
        self._folder, self._stem, self._schema, self._given = folder, stem, schema, given
        self._waiting: list[pa.Table] = []
        self._shards = 0

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table.cast(self._schema))
        self.rows += len(table)
        while self._rows_waiting() >= SHARD_ROWS:
            gathered = pa.concat_tables(self._waiting)
            self._write(gathered.slice(0, SHARD_ROWS))
            self._waiting = [gathered.slice(SHARD_ROWS)]
        if sum(table.nbytes for table in self._waiting) >= SHARD_BYTES:
            self._flush()

    def _rows_waiting(self) -> int:
        return sum(len(table) for table in self._waiting)

    def _flush(self) -> None:
        self._write(pa.concat_tables(self._waiting))
        self._waiting = []

    def _write(self, table: pa.Table) -> None:
        path = self._folder / f"{self._stem}-{self._shards:05d}.parquet"
        # No dictionaries, no statistics: nothing that depends on how the rows arrived.
        pq.write_table(
            table.combine_chunks(),
            path,
            row_group_size=_group_rows(table, self._given),
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=False,
            store_schema=True,
        )
        self._shards += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and (self._rows_waiting() or self._shards == 0):
            self._waiting = self._waiting or [self._schema.empty_table()]
            self._flush()
