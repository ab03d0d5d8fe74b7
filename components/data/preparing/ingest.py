"""Source → `.convoy/data/ingested/NAME`: the samples as published, in shards, with the digest of their content."""

from __future__ import annotations

import hashlib
import json
import operator
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from components.artifacts import Card
from components.config import Source
from components.data.errors import DataError
from components.data.preparing.shards import ShardWriter
from components.data.sources import registry
from components.data.sources.base.form import IMAGE, INPUT, SourceData
from components.files import replacing
from components.inputs import registry as inputs


class RawCard(Card):
    """`raw.json`: what the shards `raw-*.parquet` beside it hold (columns: see `sources.SourceData`)."""

    classes: tuple[str, ...]
    target: str  # its kind, a name of `components.targets`
    groups: tuple[str, ...]
    samples: int
    time: bool = False  # there is a column `time`
    notes: tuple[str, ...] = ()  # what was left out, as the entry says
    about: dict[str, Any] = Field(default={}, exclude_if=operator.not_)  # of targets, as in `SourceData`
    given: str = Field(default=IMAGE, exclude_if=IMAGE.__eq__)  # the kind of input, a name of `components.inputs`
    fingerprint: str  # SHA-256 over classes and every sample's id, target, published split and input

    @classmethod
    def of(cls, data: SourceData, samples: int, fingerprint: str) -> RawCard:
        """Of a source that has been read to its end."""
        return cls(
            classes=data.classes,
            target=data.target,
            groups=data.groups,
            samples=samples,
            time=data.time,
            notes=data.notes(),
            about=json.loads(json.dumps(data.about)),  # as it will be read again: lists, not tuples
            given=data.given,
            fingerprint=fingerprint,
        )

    @classmethod
    def load(cls, folder: Path) -> RawCard:
        return cls.read(folder / "raw.json")


def ingest(source: Source, project: Path, folder: Path) -> RawCard:
    """Write the raw form of a source into `folder`, in one move."""
    data = registry.read(source, project)
    total = hashlib.sha256()
    with replacing(folder) as temporary:
        with ShardWriter(temporary, "raw", data.schema, data.given) as writer:
            for table in _counted(data, total):
                writer.add(table)
        if writer.rows == 0:
            raise DataError(f"source ({source.kind}): expected {inputs.get(data.given).many}, received none")
        card = RawCard.of(data, writer.rows, total.hexdigest())
        (temporary / "raw.json").write_text(card.to_json(), encoding="utf-8")
    return card


def ingested(folder: Path) -> SourceData:
    """What `ingest` wrote, as the source gave it: one shard's rows at a time."""
    card = RawCard.load(folder)
    tables = raw_tables(folder)
    return SourceData(
        *(card.classes, card.target, tables, card.groups, card.time, lambda: card.notes),
        about=card.about,
        given=card.given,
    )


def raw_tables(folder: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows, one row group (at most `shards.SHARD_ROWS`) at a time, in order."""
    for path in sorted(folder.glob("raw-*.parquet")):
        with pq.ParquetFile(path) as shard:
            for group in range(shard.num_row_groups):
                yield shard.read_row_group(group, columns=columns)


def newest(folder: Path) -> float | None:
    """When the newest sample was taken, seconds since 1970; None where the source has no times, or is not here."""
    if not (folder / "raw.json").is_file() or not RawCard.load(folder).time:
        return None
    times = (time for table in raw_tables(folder, ["time"]) for time in table.column("time").to_pylist())
    return max((time for time in times if time is not None), default=None)


def fingerprint(source: Source, project: Path) -> str:
    """What `ingest` would write as the fingerprint, without writing anything."""
    total = hashlib.sha256()
    for _ in _counted(registry.read(source, project), total):
        pass
    return total.hexdigest()


def _counted(data: SourceData, total: hashlib._Hash) -> Iterator[pa.Table]:
    about = json.dumps(data.about, sort_keys=True) if data.about else ""
    given = "" if data.given == IMAGE else f"{data.given}\0"
    total.update(f"{given}{data.target}\0{data.classes!r}{about}\n".encode())
    for table in data.tables:
        for line in _lines(table, (*data.groups, *(("time",) if data.time else ()))):
            total.update(line)
        yield table


def _lines(table: pa.Table, groups: Iterable[str]) -> Iterator[bytes]:
    keys = ("id", "published", *groups)
    columns = [table.column(key).to_pylist() for key in keys]
    targets = table.column("target").to_pylist()
    for index, (given, target) in enumerate(zip(table.column(INPUT), targets, strict=True)):
        content = hashlib.sha256(given.as_buffer()).hexdigest() if given.is_valid else None
        answer = hashlib.sha256(target).hexdigest() if isinstance(target, bytes) else target
        yield f"{[column[index] for column in columns]!r}\0{answer}\0{content}\n".encode()
