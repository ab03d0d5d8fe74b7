"""A split of a `Dataset` → memory maps: decoded once on a machine, and its pages shared by all that read it.

`CACHE/DATA/SPLIT/` holds `inputs.npy`, `targets.npy`, `ids.npy` and `decoded.json`, which says what they must be; DATA
stands for the data's digest, its shards and the code that decodes them. A folder appears whole or not at all; whoever
comes first decodes under a file lock, and the others wait. Left to others: which samples are read when
(`components.training`).
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from filelock import FileLock

from components.artifacts import ArtifactError, Card, Dataset, Split
from components.data.errors import DataError
from components.data.reading.loading import Arrays, decode_rows, layout_of
from components.files import digest_values, replacing
from components.members import INPUTS, TARGETS, Member
from components.own_files import remove
from components.provenance import code_digest
from components.targets import registry as targets

KEPT = 3  # data sets, those used last: the one in use and two to go back to; an older one is soon decoded again
DECODE_BYTES = 32 * 2**20  # decoded at a time: enough for the threads that decode, and little beside any network
FULL = {errno.ENOSPC, errno.EDQUOT}
ARRAYS = ("inputs", "targets", "ids")


class FileRecord(Card):
    """A file as it was written. Who changes a file changes its time; where only the time differs, content decides."""

    size: int
    modified: int  # ns
    sha256: str


class DecodedCard(Card):
    """`decoded.json`: what the arrays beside it are."""

    data: str  # digest of the data set
    split: str
    files: dict[str, FileRecord]


def map_split(
    dataset: Dataset, split: Split, cache: Path, on_damage: Callable[[str], None] = lambda message: None
) -> Arrays:
    """The split as `load_split` gives it, bit for bit but without its groups, in pages of read-only files.

    Decodes it first where `cache` does not have it, or has it damaged, which `on_damage` hears of. Raises DataError as
    `load_split` does, and where the disk has no room for the decoded split.
    """
    folder = place(dataset, cache) / split
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "lock"):
        if folder.parent.is_file():
            folder.parent.unlink()
        if folder.exists() and (wrong := _damage(folder, dataset, split)) is not None:
            on_damage(f"{wrong}; decoding the {split} split again")
            remove(folder)
        if not folder.exists():
            _decode(dataset, split, folder)
        _used(folder.parent)
        forget(cache, KEPT)
        given, answers, ids = (np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in ARRAYS)
    return Arrays(ids=ids, inputs=given, targets=answers, groups={})


def place(dataset: Dataset, cache: Path) -> Path:
    """The data set's folder in the cache, which goes when it is forgotten; also for what its inputs are turned into."""
    data = digest_values(
        {
            "data": dataset.digest,
            "shards": {shard.name: shard.stat().st_size for shard in sorted(dataset.folder.glob("*.parquet"))},
            "code": code_digest(
                [__name__], [Member(INPUTS, dataset.card.input.kind), Member(TARGETS, targets.of(dataset).name)]
            ),
            "pillow": PIL.__version__,
        }
    )
    return cache / data[:16]


def _used(folder: Path) -> None:
    now = time.time_ns()  # the file system's own clock may tick only every few milliseconds
    os.utime(folder, ns=(now, now))


def forget(cache: Path, keep: int) -> None:
    """Remove all but the data sets used last; who has them mapped keeps their pages. Called under the lock."""
    folders = [path for path in cache.iterdir() if path.is_dir()]
    for old in sorted(folders, key=lambda path: path.stat().st_mtime_ns, reverse=True)[keep:]:
        shutil.rmtree(old)


# -- writing ---------------------------------------------------------------------------------------------------------


def _decode(dataset: Dataset, split: Split, folder: Path) -> None:
    """Write the arrays and their record in one move; not through maps, where a full disk kills the process."""
    folder.parent.mkdir(exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}.*"):  # by a process that was killed: the lock is ours
        shutil.rmtree(left)
    layout = layout_of(dataset, split)
    names = (name for table in dataset.batches(split, ["id"]) for name in table["id"].to_pylist())
    ids = np.dtype(f"<U{max(1, max(map(len, names), default=1))}")
    needed = layout.bytes + layout.samples * ids.itemsize
    if shutil.disk_usage(folder.parent).free < needed:
        _used(folder.parent)
        forget(folder.parent.parent, 1)
    if shutil.disk_usage(folder.parent).free < needed:
        raise _no_room(split, folder, needed)
    shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        "inputs": (layout.input_type, (layout.samples, *layout.input)),
        "targets": (layout.target_type, (layout.samples, *layout.target)),
        "ids": (ids, (layout.samples,)),
    }
    rows = max(1, min(10_000, DECODE_BYTES // layout.bytes_per_sample))
    parts = (
        decode_rows(t, dataset.card)
        for t in dataset.batches(split, ["id", dataset.card.input.kind, "target"], rows=rows)
    )
    try:
        with replacing(folder) as temporary:
            files = _write(temporary, shapes, parts)
            card = DecodedCard(data=dataset.digest, split=split, files=files)
            (temporary / "decoded.json").write_text(card.to_json(), encoding="utf-8")
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise _no_room(split, folder, needed) from error


def _write(
    folder: Path, shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]], parts: Iterator[Arrays]
) -> dict[str, FileRecord]:
    """`NAME.npy` for each array, from its slices; returns what was written."""
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in shapes}
        sums = {name: hashlib.sha256() for name in shapes}

        def put(name: str, content: Any) -> None:
            files[name].write(content)
            sums[name].update(content)

        for name, (kind, shape) in shapes.items():
            put(name, _header(kind, shape))
        for part in parts:
            for name, (kind, _) in shapes.items():
                put(name, np.ascontiguousarray(getattr(part, name), dtype=kind).data.cast("B"))
        for file in files.values():
            file.flush()
            os.fsync(file.fileno())  # a crash of the machine must not leave a file of the right size and no content
    records = {}
    for name in shapes:
        state = (folder / f"{name}.npy").stat()
        records[f"{name}.npy"] = FileRecord(
            size=state.st_size, modified=state.st_mtime_ns, sha256=sums[name].hexdigest()
        )
    return records


def _header(kind: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(stream, described)
    return stream.getvalue()


def _no_room(split: str, folder: Path, needed: int) -> DataError:
    free = shutil.disk_usage(folder.parent).free
    return DataError(
        f"{folder.parent}: expected room for the decoded {split} split, {needed / 2**20:,.0f} MB, found "
        f"{free / 2**20:,.0f} MB; make room"
        + (", or set training.reading: streamed, which decodes without storing" if split == "train" else "")
    )


# -- reading ---------------------------------------------------------------------------------------------------------


def _damage(folder: Path, dataset: Dataset, split: Split) -> str | None:
    """What is wrong with a decoded split; None where it is as it was written."""
    try:
        card = DecodedCard.read(folder / "decoded.json")
    except ArtifactError as error:
        return str(error)
    expected: tuple[str, str, set[str]] = (dataset.digest, split, {f"{name}.npy" for name in ARRAYS})
    if (card.data, card.split, set(card.files)) != expected:
        return f"{folder / 'decoded.json'}: expected the {split} split of {dataset.digest[:12]}, found another's"
    for name, record in card.files.items():
        path = folder / name
        if not path.is_file():
            return f"{path}: expected a file, found none"
        state = path.stat()
        if state.st_size != record.size:
            return f"{path}: expected {record.size} bytes, found {state.st_size}"
        if state.st_mtime_ns == record.modified:
            continue
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != record.sha256:
                return f"{path}: expected the content that was written, found another"
        os.utime(path, ns=(state.st_atime_ns, record.modified))  # copied, perhaps: not to be read again each time
    return None
