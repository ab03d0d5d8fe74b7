"""Prepared samples, and what their card says of them."""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from components.artifacts.card import Card
from components.artifacts.inputs import ImageSpec, InputSpec
from components.files import ArtifactError, digest_folder

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class DatasetCard(Card):
    """`dataset.json`: what the shards beside it hold."""

    name: str
    task: str
    classes: tuple[str, ...]
    groups: tuple[str, ...]  # names of the `group_*` columns
    input: InputSpec
    splits: dict[str, int]  # samples a split
    fingerprint: str  # SHA-256 of the ingested source
    # What the kind of target notes beside the classes: its own name as `kind`, names, units, scales, what of masks is
    # ignored (`ignore`). Classes, and masks without that, note nothing, and are told by the type of their column.
    target: dict[str, Any] = Field(default={}, exclude_if=operator.not_)
    folds: int | None = None  # the training split has a column `fold` of 0 … folds - 1
    dropped: dict[str, str] = Field(default={})  # id → why it left training; its row is in `dropped-*.parquet`
    # These two are in the file where there is something to say: data without twins keeps the digest it had before them.
    moved: dict[str, str] = Field(default={}, exclude_if=operator.not_)  # id → why it is in another split than drawn
    # id of a validation or test sample → a twin of it in an earlier split, so that it may have been learnt by heart
    twins: dict[str, str] = Field(default={}, exclude_if=operator.not_)

    @property
    def picture(self) -> ImageSpec:
        """The input of a data set of pictures; raises ArtifactError where it is none."""
        if not isinstance(self.input, ImageSpec):
            raise ArtifactError(f"data set {self.name}: expected pictures, received inputs of kind {self.input.kind}")
        return self.input


@dataclass(frozen=True)
class Dataset:
    """A folder of Parquet shards, `SPLIT-00000.parquet` …, beside `dataset.json`.

    Columns: `id` (string, unique), the input under the name of its kind (`image`: encoded bytes; `text`: a string),
    `target` (as its kind stores it: an int64 class, the bytes of a PNG mask whose pixels are classes, a list of
    numbers), any `group_*`, `split`, `fold` where the training split is in folds, and facts found while preparing
    (of every input `decodable`, `problem` and its digest; of pictures `width`, `height`, `mode`, `mean`, `std`).
    `digest` is DVC's, where the data is versioned; otherwise that of the files.
    """

    folder: Path
    card: DatasetCard
    digest: str

    @classmethod
    def load(cls, folder: Path, digest: str | None = None) -> Dataset:
        card = DatasetCard.read(folder / "dataset.json")
        return cls(folder, card, digest or digest_folder(folder))

    def samples_digest(self, split: Split) -> str:
        """SHA-256 over every sample's id, the digest of its input, and its target, whatever their order."""
        rows, names = [], ["id", self.card.input.digest, "target"]
        for table in self.batches(split, names):
            columns = (table.column(name).to_pylist() for name in names)
            rows += [hashlib.sha256(repr(row).encode()).digest() for row in zip(*columns, strict=True)]
        return hashlib.sha256(b"".join(sorted(rows))).hexdigest()

    def shards(self, split: Split) -> list[Path]:
        return sorted(self.folder.glob(f"{split}-*.parquet"))

    @property
    def schema(self) -> pa.Schema:
        """The columns, which all splits share; raises ArtifactError where no split has shards."""
        shard = next((shard for split in SPLITS for shard in self.shards(split)), None)
        if shard is None:
            raise ArtifactError(f"{self.folder}: expected shards {SPLITS[0]}-*.parquet, found none")
        return pq.read_schema(shard)

    def table(self, split: Split, columns: list[str] | None = None) -> pa.Table:
        """The split's rows, in their stored order."""
        shards = self.shards(split)
        if not shards:
            raise ArtifactError(f"{self.folder}: expected shards {split}-*.parquet, found none")
        return pa.concat_tables([pq.read_table(shard, columns=columns) for shard in shards])

    def batches(self, split: Split, columns: list[str] | None = None, rows: int = 10_000) -> Iterator[pa.Table]:
        """The split's rows in their stored order, at most `rows` at a time: no more than a row group is in memory.

        Raises ArtifactError where the split has no shards.
        """
        shards = self.shards(split)
        if not shards:
            raise ArtifactError(f"{self.folder}: expected shards {split}-*.parquet, found none")
        for shard in shards:
            with pq.ParquetFile(shard) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=columns)
                    for start in range(0, len(table), rows):
                        yield table.slice(start, rows)
