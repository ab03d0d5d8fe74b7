"""Decoded splits in memory maps: the same bits as in memory, made once, noticed when damaged, and not for ever."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.artifacts import Dataset
from components.config import DatasetConfig
from components.data.errors import DataError
from components.data.reading import decoded
from components.data.reading.decoded import KEPT, map_split
from components.data.reading.loading import load_split


@pytest.fixture
def damage() -> list[str]:
    return []


def folder_of(cache: Path, split: str = "train") -> Path:
    (found,) = cache.glob(f"*/{split}")
    return found


def states(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def assert_same(dataset: Dataset, cache: Path, split: Any = "train") -> None:
    mapped, loaded = map_split(dataset, split, cache), load_split(dataset, split)
    for name in ("ids", "inputs", "targets"):
        ours, theirs = getattr(mapped, name), getattr(loaded, name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["digits", "scenes"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_maps_hold_what_is_loaded_bit_for_bit(
    name: str, split: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    dataset = request.getfixturevalue(name)[0]
    assert_same(dataset, tmp_path, split)


def test_a_split_is_decoded_once(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    map_split(digits[0], "train", tmp_path)
    before = states(folder_of(tmp_path))
    map_split(digits[0], "train", tmp_path)
    assert states(folder_of(tmp_path)) == before


def test_what_is_mapped_cannot_be_written(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    images = map_split(digits[0], "train", tmp_path).inputs
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


PROCESS = """
    import json, os, sys
    from pathlib import Path
    from components.artifacts import Dataset
    from components.data.reading.decoded import map_split

    def anonymous():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

    dataset, cache = Dataset.load(Path(sys.argv[1]), sys.argv[2]), Path(sys.argv[3])
    map_split(dataset, "validation", cache)  # with all that is imported and allocated on the way
    sys.stdin.readline()
    before = anonymous()
    images = map_split(dataset, "train", cache).inputs
    total = int(images.astype("u1", copy=False).sum())
    folder = next(cache.glob("*/train"))
    print(json.dumps({"inode": (folder / "inputs.npy").stat().st_ino, "total": total, "kb": anonymous() - before}))
"""


def test_processes_that_come_together_share_one_file_and_hold_no_copy(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    dataset = enlarged(digits[0], tmp_path / "data", times=200)  # 13 MB of pixels
    arguments = [str(dataset.folder), dataset.digest, str(tmp_path / "cache")]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROCESS), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(3)
    ]
    told = [json.loads(process.communicate("go\n")[0]) for process in started]
    assert len({each["inode"] for each in told}) == 1
    assert len({each["total"] for each in told}) == 1
    pixels = load_split(dataset, "train").inputs.nbytes / 1024
    readers = sorted(each["kb"] for each in told)[:2]  # the third one decoded
    assert max(readers) < pixels / 4


def enlarged(dataset: Dataset, folder: Path, times: int) -> Dataset:
    """The same data set with each training shard many times."""
    shutil.copytree(dataset.folder, folder)
    for shard in dataset.shards("train"):
        for number in range(1, times):
            os.link(folder / shard.name, folder / f"{shard.stem}-{number:03d}.parquet")
    return Dataset.load(folder, f"{dataset.digest}-{times}")


def cut_off(folder: Path) -> None:
    path = folder / "inputs.npy"
    path.write_bytes(path.read_bytes()[:-1])


def changed(folder: Path) -> None:
    path = folder / "targets.npy"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def lost(folder: Path) -> None:
    (folder / "ids.npy").unlink()


def without_record(folder: Path) -> None:
    (folder / "decoded.json").write_text("{")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (cut_off, r"inputs\.npy: expected \d+ bytes, found \d+"),
        (changed, r"targets\.npy: expected the content that was written"),
        (lost, r"ids\.npy: expected a file, found none"),
        (without_record, r"decoded\.json: expected a readable DecodedCard"),
    ],
)
def test_damage_is_noticed_told_and_mended(
    harm: Any, says: str, digits: tuple[Dataset, DatasetConfig], tmp_path: Path, damage: list[str]
) -> None:
    map_split(digits[0], "train", tmp_path)
    harm(folder_of(tmp_path))
    map_split(digits[0], "train", tmp_path, damage.append)
    assert len(damage) == 1
    assert re.search(says, damage[0]), damage[0]
    assert_same(digits[0], tmp_path)
    map_split(digits[0], "train", tmp_path, damage.append)
    assert len(damage) == 1


def test_a_copy_is_as_good_as_what_was_copied(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path, damage: list[str]
) -> None:
    map_split(digits[0], "train", tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two", copy_function=shutil.copy)  # with times of its own
    before = {name: inode for name, (inode, _) in states(folder_of(tmp_path / "two")).items()}
    map_split(digits[0], "train", tmp_path / "two", damage.append)
    assert damage == []
    assert {name: inode for name, (inode, _) in states(folder_of(tmp_path / "two")).items()} == before


def test_what_a_killed_process_left_is_removed(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    map_split(digits[0], "train", tmp_path)
    folder = folder_of(tmp_path)
    folder.rename(folder.with_name(".train.0123abcd"))
    map_split(digits[0], "train", tmp_path)
    assert [path.name for path in folder.parent.iterdir()] == ["train"]


def test_other_data_under_the_same_name_is_decoded_anew(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    map_split(digits[0], "train", tmp_path)
    map_split(replace(digits[0], digest="another"), "train", tmp_path)
    assert len(list(tmp_path.glob("*/train"))) == 2


def test_only_the_data_sets_used_last_are_kept(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    first = replace(digits[0], digest="0")
    images = map_split(first, "train", tmp_path).inputs
    before = images.copy()
    oldest = folder_of(tmp_path).parent
    for number in range(1, KEPT + 1):
        map_split(replace(digits[0], digest=str(number)), "train", tmp_path)
        if number == 1:
            map_split(first, "train", tmp_path)  # used again: younger than number 1
            (second,) = {path for path in tmp_path.glob("*/") if path != oldest}
    assert len(list(tmp_path.glob("*/"))) == KEPT
    assert oldest.is_dir()
    assert not second.exists()
    for number in range(2, KEPT + 2):
        map_split(replace(digits[0], digest=str(number)), "train", tmp_path)
    assert not oldest.exists()
    assert np.array_equal(images, before)  # who has it mapped keeps it


def test_a_disk_without_room_is_said_before_anything_is_written(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    map_split(replace(digits[0], digest="older"), "train", tmp_path)
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda path: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(DataError, match=r"expected room for the decoded train split.*training\.reading: streamed"):
        map_split(digits[0], "train", tmp_path)
    assert list(tmp_path.glob("*/train")) == []  # what could make room has been tried


def test_a_disk_that_runs_full_is_said_alike_and_leaves_nothing(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(decoded.os, "fsync", full)
    with pytest.raises(DataError, match="expected room for the decoded validation split"):
        map_split(digits[0], "validation", tmp_path)
    assert [path.name for path in tmp_path.glob("*/*")] == []


def test_a_broken_sample_is_named_and_nothing_half_decoded_is_left(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    shutil.copytree(digits[0].folder, tmp_path / "data")
    shard = tmp_path / "data" / "train-00000.parquet"
    table = pq.read_table(shard)
    images = table["image"].to_pylist()
    images[5] = b"nothing"
    pq.write_table(table.set_column(table.column_names.index("image"), "image", pa.array(images)), shard)
    with pytest.raises(DataError, match=f"{table['id'][5].as_py()}: is text, not a picture"):
        map_split(Dataset.load(tmp_path / "data"), "train", tmp_path / "cache")
    assert list((tmp_path / "cache").glob("*/*")) == []
