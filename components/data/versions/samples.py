"""The samples of one version as scalars: what is compared of them, without their inputs.

Of the shards only columns of scalars are read (and masks, one row group at a time), so that memory is bounded by the
number of samples and not by their size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.artifacts import DatasetCard
from components.data.errors import DataError
from components.data.versions.revisions import Contents
from components.targets import registry as targets


def samples(version: Contents, *, renumber: bool) -> pa.Table:
    """A row a sample: `key` (the id, numbered where it occurs again), `id`, `class` (its name), `split`, `input` (the
    digest of the prepared one), the groups, and `content` (a digest of what a target is beside that; with `renumber`
    one of classes by name, since the other version numbers them differently).
    """
    schema = pa.schema([(column, pa.string()) for column in ("id", "class", "split", "input", *version.card.groups)])
    schema = schema.append(pa.field("content", pa.binary()))
    parts = [
        _scalars(table, split, version.card, schema, renumber=renumber)
        for split, path in _shards(version.files)
        for table in _row_groups(path, version)
    ]
    table = pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()
    return table.add_column(0, "key", _keys(table.column("id").combine_chunks()))


def _shards(files: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    for name in sorted(files):
        if name.endswith(".parquet") and "/" not in name:
            yield name.rpartition("-")[0], files[name]


def _row_groups(path: Path, version: Contents) -> Iterator[pa.Table]:
    wanted = {"id", "target", version.card.input.digest, *version.card.groups}
    try:
        with pq.ParquetFile(path) as shard:
            columns = [column for column in shard.schema_arrow.names if column in wanted]
            for group in range(shard.num_row_groups):
                yield shard.read_row_group(group, columns=columns)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"{path}: expected a Parquet shard of {version.revision.digest}, received something else: {error}; "
            "remove the file, and the next call fetches it from the remote"
        ) from None


def _scalars(table: pa.Table, split: str, card: DatasetCard, schema: pa.Schema, *, renumber: bool) -> pa.Table:
    target = table.column("target").combine_chunks()
    kind = targets.stored_as(target.type, card)
    values: dict[str, Any] = {
        "id": table.column("id"),
        "class": kind.names(target, card.classes),
        "content": kind.digests(target, card.classes if renumber else None),
        "split": pa.repeat(split, len(table)),
        "input": table.column(card.input.digest),
        **{group: table.column(group) for group in card.groups},
    }
    return pa.table({field.name: values[field.name] for field in schema}).cast(schema)


def _keys(ids: pa.Array) -> pa.Array:
    """The ids; those of further rows with the same id (which validation refuses) get a number."""
    if pc.count_distinct(ids, mode="all").as_py() == len(ids):
        return ids
    seen: Counter[str | None] = Counter()
    keys = []
    for value in ids.to_pylist():
        keys.append(f"{value}\0{seen[value]}" if seen[value] else value)
        seen[value] += 1
    return pa.array(keys, pa.string())
