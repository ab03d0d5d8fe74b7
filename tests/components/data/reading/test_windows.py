"""The order of a stream: every row once, the same for the same seed, mixed across the files, bounded in memory."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.artifacts import Dataset, DatasetCard, ImageSpec
from components.data.reading import windows
from components.data.reading.loading import layout_of, load_split
from components.inputs import png

ROWS, SHARD, GROUP = 230, 60, 20
CLASSES = tuple("abcde")


@pytest.fixture(scope="module")
def sorted_by_class(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures in order of their classes, in four shards of up to three row groups."""
    folder = tmp_path_factory.mktemp("sorted")
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 6, 5, 1), dtype=np.uint8)
    table = pa.table(
        {
            "id": [f"picture-{row:03d}" for row in range(ROWS)],
            "image": png.encode(pixels),
            "target": pa.array(np.arange(ROWS) * len(CLASSES) // ROWS),
        }
    )
    for number, start in enumerate(range(0, ROWS, SHARD)):
        pq.write_table(table.slice(start, SHARD), folder / f"train-{number:05d}.parquet", row_group_size=GROUP)
    card = DatasetCard(
        name="sorted",
        task="classification",
        classes=CLASSES,
        groups=(),
        input=ImageSpec(height=6, width=5, channels=1, mean=(0.5,), std=(0.3,)),
        splits={"train": ROWS},
        fingerprint="sorted",
    )
    (folder / "dataset.json").write_text(card.to_json())
    return Dataset.load(folder)


def order(dataset: Dataset, seed: int, start: int = 0, stop: int = ROWS, groups: int = 4) -> list[int]:
    """Positions that are read, with windows of so many row groups."""
    found = windows.row_groups(dataset, "train")
    laid = windows.pieces(found, seed, start, stop, window_bytes=groups * max(group.bytes for group in found))
    layout = layout_of(dataset, "train")
    return [int(at) for piece in laid for positions, _ in windows.read(piece, dataset.card, layout) for at in positions]


def test_every_row_is_read_once_with_its_own_picture_and_class(
    sorted_by_class: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "BLOCK_BYTES", 7 * layout_of(sorted_by_class, "train").bytes_per_sample)
    everything = load_split(sorted_by_class, "train")
    seen: list[int] = []
    for piece in windows.pieces(windows.row_groups(sorted_by_class, "train"), 3, 0, ROWS, window_bytes=3000):
        for positions, part in windows.read(piece, sorted_by_class.card, layout_of(sorted_by_class, "train")):
            assert len(positions) <= 7
            assert np.array_equal(part.inputs, everything.inputs[positions])
            assert np.array_equal(part.targets, everything.targets[positions])
            assert np.array_equal(part.ids, everything.ids[positions])
            seen += positions.tolist()
    assert sorted(seen) == list(range(ROWS))


def test_the_order_is_its_seed_s(sorted_by_class: Dataset) -> None:
    assert order(sorted_by_class, seed=1) == order(sorted_by_class, seed=1)
    assert order(sorted_by_class, seed=1) != order(sorted_by_class, seed=2)


@pytest.mark.parametrize("ends", [(0, 230), (0, 77, 154, 230), (0, 1, 2, 229, 230), (0, 80, 160, 230)])
def test_runs_of_several_workers_are_the_order_of_one(sorted_by_class: Dataset, ends: tuple[int, ...]) -> None:
    runs = [order(sorted_by_class, 5, start, stop) for start, stop in itertools.pairwise(ends)]
    assert [len(run) for run in runs] == np.diff(ends).tolist()
    assert list(itertools.chain(*runs)) == order(sorted_by_class, 5)


def test_a_window_is_bounded_and_at_least_a_row_group(sorted_by_class: Dataset) -> None:
    groups = windows.row_groups(sorted_by_class, "train")
    largest = max(group.bytes for group in groups)
    for limit, most in ((1, 1), (largest, 1), (3 * largest, 3)):
        laid = windows.pieces(groups, 0, 0, ROWS, window_bytes=limit)
        assert {len(piece.window) for piece in laid} <= set(range(1, most + 2))
        assert all(len(piece.window) == 1 or sum(g.bytes for g in piece.window) <= limit for piece in laid)
        assert sorted(g.first for piece in laid for g in piece.window) == [group.first for group in groups]


def test_files_in_order_of_their_classes_come_mixed(sorted_by_class: Dataset) -> None:
    targets = load_split(sorted_by_class, "train").targets
    first_batch = targets[order(sorted_by_class, seed=0, groups=6)[:30]]
    assert len(set(first_batch.tolist())) >= 3  # of five; read as they lie, it would be one
    perfect = order(sorted_by_class, seed=0, groups=100)
    assert len(set(targets[perfect[:30]].tolist())) == 5
    assert abs(np.corrcoef(perfect, np.arange(ROWS))[0, 1]) < 0.2


def test_row_groups_stand_where_their_rows_are(sorted_by_class: Dataset) -> None:
    groups = windows.row_groups(sorted_by_class, "train")
    assert [group.first for group in groups] == [*range(0, 220, 20), 220]
    assert sum(group.rows for group in groups) == ROWS
    assert {group.shard for group in groups} == set(sorted_by_class.shards("train"))
    assert Path(groups[-1].shard).name == "train-00003.parquet"
