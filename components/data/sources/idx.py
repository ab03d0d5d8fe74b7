"""Images and labels as LeCun's idx files (MNIST, EMNIST, KMNIST, …), packed by gzip or not.

Read a few thousand images at a time, whatever a file's size.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.config import IdxSource
from components.data.errors import DataError
from components.data.sources.base import boundary, limits
from components.data.sources.base.form import BATCH_BYTES, BATCH_ROWS, SourceData
from components.data.sources.base.rows import inside
from components.data.sources.layouts import idx as layouts
from components.data.sources.places import place
from components.inputs import png

LAYOUTS = layouts.LAYOUTS

_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """The images and labels of one split."""

    split: str
    images: Path
    labels: Path


def read(source: IdxSource, project: Path) -> SourceData:
    folder = place.local(source, project)
    pairs = [Pair("train", _file(folder, source.images), _file(folder, source.labels))]
    if source.test_images and source.test_labels:
        there = [_there(folder, name) for name in (source.test_images, source.test_labels)]
        if any(there):
            pairs.append(Pair("test", _file(folder, source.test_images), _file(folder, source.test_labels)))
    labels = {pair.split: _labels(pair) for pair in pairs}
    there = np.unique(np.concatenate(list(labels.values()))).tolist()
    least, largest = (there[0], there[-1]) if there else (0, 0)
    if source.names is None:
        classes = tuple(map(str, range(least, largest + 1)))
    else:
        classes = source.names
        least = 1 if least == 1 and largest == len(classes) else 0  # EMNIST's letters are numbered from 1
        if largest >= least + len(classes):
            raise DataError(f"{folder}: expected labels below {len(classes)} (source.names), received {largest}")
    return SourceData(classes, "class", _tables(pairs, {split: each - least for split, each in labels.items()}))


def _there(folder: Path, name: str) -> Path | None:
    return next((folder / each for each in (name, f"{name}.gz") if (folder / each).exists()), None)


def _file(folder: Path, name: str) -> Path:
    found = _there(folder, name)
    return inside(folder, name if found is None else found.relative_to(folder).as_posix(), f"{folder} (idx)")


def _tables(pairs: list[Pair], labels: dict[str, Bytes]) -> Iterator[pa.Table]:
    for pair in pairs:
        with ExitStack() as stack:
            file = stack.enter_context(_opened(pair.images))
            shape = header(pair.images.name, file)
            answers = labels[pair.split].astype(np.int64)
            if len(shape) != 3 and not (len(shape) == 4 and shape[3] in (1, 3)):
                raise DataError(f"{pair.images}: expected images (N, H, W) or (N, H, W, 3), received {shape}")
            limits.check_picture(pair.images, shape[1], shape[2])
            if shape[0] != len(answers):
                raise DataError(
                    f"{pair.images}: expected one label per image, received {shape[0]} images and {len(answers)} labels"
                )
            step = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, math.prod(shape[1:]))))
            for start in range(0, shape[0], step):
                count = min(step, shape[0] - start)
                pixels = _values(pair.images.name, file, (count, *shape[1:]))
                yield pa.table(
                    {
                        "id": [f"{pair.split}-{index:05d}" for index in range(start, start + count)],
                        "image": png.encode(pixels),
                        "target": answers[start : start + count],
                        # A single pair is not split yet.
                        "published": pa.array([pair.split if len(pairs) > 1 else None] * count, pa.string()),
                    }
                )
            _end(pair.images.name, file)


def _labels(pair: Pair) -> Bytes:
    path = pair.labels
    with _opened(path) as file:
        shape = header(path.name, file)
        if len(shape) != 1:
            raise DataError(f"{path}: expected labels (N,), received {shape}")
        limits.check_pictures(path, shape[0], pair.images.stat().st_size)
        values = _values(path.name, file, shape)
        _end(path.name, file)
        return values


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if packed else path.open("rb")


# -- the format: 0, 0, type of element, dimensions; sizes as big-endian uint32; values ---------------------------------


def parse_idx(name: str, content: bytes) -> Bytes:
    """The array in a whole idx file of unsigned bytes; raises DataError with its name for anything else."""
    file = io.BytesIO(content)
    values = _values(name, file, header(name, file))
    _end(name, file)
    return values


def header(name: str, file: IO[bytes]) -> tuple[int, ...]:
    """The shape that an idx file states, `file` being left at its first value; raises DataError for other types."""
    start = _read(name, file, 4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or start[3] == 0:
        raise DataError(f"{name}: expected an idx file of unsigned bytes, received one that starts {start!r}")
    if start[2] != 0x08:
        raise DataError(
            f"{name}: expected an idx file of unsigned bytes, received one of {_TYPES[start[2]]}; convert it to uint8"
        )
    sizes = _read(name, file, 4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise DataError(f"{name}: expected {start[3]} dimensions, received a file that ends before them")
    return struct.unpack(f">{start[3]}I", sizes)


def _values(name: str, file: IO[bytes], shape: tuple[int, ...]) -> Bytes:
    content = _read(name, file, math.prod(shape))
    if len(content) != math.prod(shape):
        raise DataError(f"{name}: expected {shape} values, received {len(content)} of them")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _end(name: str, file: IO[bytes]) -> None:
    if _read(name, file, 1):
        raise DataError(f"{name}: expected as many values as its header states, received more")


def _read(name: str, file: IO[bytes], size: int) -> bytes:
    with boundary.reading(name, "an idx file, packed by gzip or not"):
        return file.read(size)
