"""Shards are bounded, and so is the least that must be read of one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.preparing import shards
from components.data.preparing.shards import ShardWriter

SCHEMA = pa.schema({"id": pa.string(), "image": pa.binary()})


def write(folder: Path, rows: int, size: int, at_once: int) -> list[Path]:
    folder.mkdir()
    table = pa.table({"id": [str(row) for row in range(rows)], "image": [bytes(size)] * rows}, schema=SCHEMA)
    with ShardWriter(folder, "train", SCHEMA, "image") as writer:
        for start in range(0, rows, at_once):
            writer.add(table.slice(start, at_once))
    return sorted(folder.iterdir())


def groups(path: Path) -> list[int]:
    about = pq.read_metadata(path)
    return [about.row_group(group).num_rows for group in range(about.num_row_groups)]


def test_small_images_are_one_row_group_a_shard_and_large_ones_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [groups(path) for path in write(tmp_path / "small", 100, 50, 30)] == [[100]]
    monkeypatch.setattr(shards, "GROUP_BYTES", 2000)
    assert [groups(path) for path in write(tmp_path / "large", 100, 50, 30)] == [[40, 40, 20]]
    assert [groups(path) for path in write(tmp_path / "larger", 3, 5000, 30)] == [[1, 1, 1]]


def test_how_the_rows_arrive_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "GROUP_BYTES", 2000)
    monkeypatch.setattr(shards, "SHARD_ROWS", 70)
    one, other = write(tmp_path / "one", 200, 50, 7), write(tmp_path / "other", 200, 50, 200)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    assert [sum(groups(path)) for path in one] == [70, 70, 60]
