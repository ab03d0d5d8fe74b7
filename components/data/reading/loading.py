"""A split of a `Dataset` → arrays in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import ArtifactError, Dataset, DatasetCard, Split
from components.data.errors import DataError
from components.inputs import registry as inputs
from components.inputs.protocol import UnreadableInputError
from components.targets import registry as targets
from components.targets.protocol import UnreadableTargetError, Within


@dataclass(frozen=True)
class Arrays:
    """N samples in their stored order."""

    ids: npt.NDArray[np.str_]
    inputs: npt.NDArray[Any]  # as their kind has them: uint8 (N, H, W, C) pictures, int32 (N, L) texts
    targets: npt.NDArray[Any]  # as their kind has them: int64 (N,) classes, uint8 (N, H, W) masks, float32 (N, K)
    groups: dict[str, npt.NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Layout:
    """How large a split is once it is decoded; found without reading a row."""

    samples: int
    input: tuple[int, ...]  # as its kind has it: (H, W, C) of a picture, (L,) of a text
    input_type: np.dtype[Any]
    target: tuple[int, ...]  # likewise
    target_type: np.dtype[Any]

    @property
    def bytes_per_sample(self) -> int:
        """Of input and target, decoded."""
        return int(np.prod(self.input) * self.input_type.itemsize + np.prod(self.target) * self.target_type.itemsize)

    @property
    def bytes(self) -> int:
        return self.samples * self.bytes_per_sample


def layout_of(dataset: Dataset, split: Split) -> Layout:
    """The split's layout by its shards' footers; raises ArtifactError where it has no shards."""
    shards = dataset.shards(split)
    if not shards:
        raise ArtifactError(f"{dataset.folder}: expected shards {split}-*.parquet, found none")
    spec = dataset.card.input
    target = targets.of(dataset).layout(dataset.card)
    return Layout(
        samples=sum(pq.read_metadata(shard).num_rows for shard in shards),
        input=spec.shape,
        input_type=np.dtype(spec.type),
        target=target.shape,
        target_type=target.type,
    )


def load_split(dataset: Dataset, split: Split, limit: int | None = None, seed: int = 0) -> Arrays:
    """The split's samples; with `limit`, a seeded random subset of at most that many, order kept.

    Raises DataError naming the sample whose input or target cannot be read as its card says.
    """
    card, layout = dataset.card, layout_of(dataset, split)
    wanted = np.arange(layout.samples)
    if limit is not None and limit < layout.samples:
        wanted = np.sort(np.random.default_rng(seed).choice(layout.samples, size=limit, replace=False))
    given = np.empty((len(wanted), *layout.input), dtype=layout.input_type)
    answers = np.empty((len(wanted), *layout.target), dtype=layout.target_type)
    texts: dict[str, list[str]] = {name: [] for name in ("id", *card.groups)}
    at = seen = 0
    for table in dataset.batches(split, ["id", card.input.kind, "target", *card.groups]):
        inside = wanted[(wanted >= seen) & (wanted < seen + len(table))] - seen
        seen += len(table)
        if len(inside) == 0:
            continue
        part = decode_rows(table if len(inside) == len(table) else table.take(pa.array(inside)), card)
        rows = slice(at, at + len(part))
        at = rows.stop
        given[rows], answers[rows] = part.inputs, part.targets
        for name in texts:
            texts[name] += (part.ids if name == "id" else part.groups[name]).tolist()
    ids = np.array(texts.pop("id"), dtype=np.str_)
    return Arrays(ids, given, answers, {name: np.array(values, dtype=np.str_) for name, values in texts.items()})


def decode_rows(table: pa.Table, card: DatasetCard) -> Arrays:
    """A table's rows; `groups` are those of the card's groups that it has as columns. Raises as `load_split`."""
    ids = np.array(table.column("id").to_pylist(), dtype=np.str_)
    groups = [name for name in card.groups if name in table.column_names]
    return Arrays(
        ids=ids,
        inputs=_inputs(table.column(card.input.kind), ids, card),
        targets=_targets(table.column("target"), table.column(card.input.kind), ids, card),
        groups={name: np.array(table.column(name).to_pylist(), dtype=np.str_) for name in groups},
    )


def _inputs(column: pa.ChunkedArray, ids: npt.NDArray[np.str_], card: DatasetCard) -> npt.NDArray[Any]:
    kind, spec = inputs.of(card), card.input
    values = np.empty((len(column), *spec.shape), dtype=spec.type)
    at = 0
    for chunk in column.chunks:
        try:
            values[at : at + len(chunk)] = kind.arrays(chunk, spec)
        except UnreadableInputError as error:
            raise DataError(f"{ids[at + error.row]}: {error}") from None
        at += len(chunk)
    return values


def _targets(
    column: pa.ChunkedArray, given: pa.ChunkedArray, ids: npt.NDArray[np.str_], card: DatasetCard
) -> npt.NDArray[Any]:
    kind = targets.stored_as(column.type, card)
    if isinstance(kind, Within):
        kind = kind.beside(given.combine_chunks())
    try:
        return kind.arrays(column.combine_chunks(), card)
    except UnreadableTargetError as error:
        raise DataError(f"{ids[error.row]}: {error}") from None
