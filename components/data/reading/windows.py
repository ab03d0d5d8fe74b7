"""The order in which a split is read that does not fit into memory: a pure function of a seed.

Row groups are shuffled and gathered into windows, and the rows of a window are shuffled: what is far apart on the disk
comes together, yet a row group is read once, and no more than a window is in memory, still encoded. A window that holds
the whole split shuffles it perfectly.
Left to others: which part of the order is whose, and processes (`components.training.reading.stream`). Imports no
PyTorch: processes that only decode start sooner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import Dataset, DatasetCard, Split
from components.data.reading.loading import Arrays, Layout, decode_rows

# Of encoded rows, uncompressed. A window mixes as many row groups as it can hold: eight or so of those that
# `shards` writes, which is what makes up for files in order of their classes. Two fit beside any network.
WINDOW_BYTES = 128 * 2**20
BLOCK_BYTES = 8 * 2**20  # of decoded rows, handed over at a time


@dataclass(frozen=True)
class RowGroup:
    """What is read at once from a shard."""

    shard: Path
    number: int
    first: int  # position of its first row in the split
    rows: int
    bytes: int  # uncompressed


@dataclass(frozen=True)
class Piece:
    """The rows `start` … `stop` of a window, shuffled by its seed."""

    window: tuple[RowGroup, ...]
    seed: tuple[int, int]
    start: int
    stop: int


def row_groups(dataset: Dataset, split: Split) -> list[RowGroup]:
    """The split's row groups in their stored order, by the shards' footers."""
    found: list[RowGroup] = []
    first = 0
    for shard in dataset.shards(split):
        footer = pq.read_metadata(shard)
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            found.append(RowGroup(shard, number, first, group.num_rows, group.total_byte_size))
            first += group.num_rows
    return found


def pieces(
    groups: Sequence[RowGroup], seed: int, start: int, stop: int, window_bytes: int = WINDOW_BYTES
) -> list[Piece]:
    """What to read, in turn, to see the rows `start` … `stop` of the order that the seed gives."""
    found: list[Piece] = []
    at = 0
    for index, window in enumerate(_windows(groups, seed, window_bytes)):
        rows = sum(group.rows for group in window)
        first, last = max(start - at, 0), min(stop - at, rows)
        if first < last:
            found.append(Piece(window, (seed, index), first, last))
        at += rows
    return found


def _windows(groups: Sequence[RowGroup], seed: int, window_bytes: int) -> Iterator[tuple[RowGroup, ...]]:
    """All row groups in the seed's order; as many at a time as `window_bytes` allows, and at least one."""
    window: list[RowGroup] = []
    for index in np.random.default_rng(seed).permutation(len(groups)):
        if window and sum(group.bytes for group in window) + groups[index].bytes > window_bytes:
            yield tuple(window)
            window = []
        window.append(groups[index])
    if window:
        yield tuple(window)


def read(piece: Piece, card: DatasetCard, layout: Layout) -> Iterator[tuple[npt.NDArray[np.int64], Arrays]]:
    """The piece's rows in their order, BLOCK_BYTES at a time, with their positions in the split.

    Raises DataError as `load_split` does.
    """
    tables, positions = [], []
    for group in piece.window:
        with pq.ParquetFile(group.shard) as file:
            tables.append(file.read_row_group(group.number, columns=["id", card.input.kind, "target"]))
        positions.append(np.arange(group.first, group.first + group.rows, dtype=np.int64))
    table, stored = pa.concat_tables(tables), np.concatenate(positions)
    order = np.random.default_rng(piece.seed).permutation(len(table))[piece.start : piece.stop]
    rows = max(1, BLOCK_BYTES // layout.bytes_per_sample)
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        yield stored[chosen], decode_rows(table.take(pa.array(chosen)), card)
