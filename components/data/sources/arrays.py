"""NumPy arrays: an `.npz` or a folder of `.npy`. Mapped into memory, never unpickled.

An `.npz` is a zip of `.npy` files and is unpacked as any archive is, since nothing can be mapped inside of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import SPLITS
from components.config import ArraysSource, OfSplits
from components.data.errors import DataError
from components.data.sources.base import boundary, limits, rows
from components.data.sources.base.form import BATCH_BYTES, BATCH_ROWS, SourceData, schema
from components.data.sources.layouts import arrays as layouts
from components.data.sources.places import archive, place
from components.inputs import png

LAYOUTS = layouts.LAYOUTS

Array = npt.NDArray[Any]

_CONVERSIONS = {  # kind of dtype → how to come to uint8
    "u": "(images // 257).astype(numpy.uint8) for the full range of uint16",
    "f": "(images * 255).round().astype(numpy.uint8) for values in [0, 1]",
    "b": "images.astype(numpy.uint8) * 255",
    "i": "images.astype(numpy.uint8), if they are in 0 … 255",
}


def read(source: ArraysSource, project: Path) -> SourceData:
    folder = _folder(source, project)
    if isinstance(source.images, dict) and isinstance(source.labels, dict):
        return _of_splits(folder, source.images, source.labels, source.names)
    pixels = _images(folder, str(source.images))
    labels = _loaded(folder, str(source.labels), pixels)
    classes, targets = _targets(folder / f"{source.labels}.npy", labels, source.names)
    columns: dict[str, Any] = {"target": targets}
    columns["id"] = _texts(folder, "id", pixels) or [f"image-{index:07d}" for index in range(len(pixels))]
    if None in columns["id"]:
        raise DataError(f"{folder / 'id.npy'}, row {columns['id'].index(None)}: expected an id, received none")
    rows.unique((name, f"{folder / 'id.npy'}, row {index}") for index, name in enumerate(columns["id"]))
    splits = _texts(folder, "split", pixels) or [None] * len(pixels)
    columns["published"] = [rows.published(name, f"split.npy, row {index}") for index, name in enumerate(splits)]
    groups = tuple(sorted(path.stem for path in folder.glob("group_*.npy")))
    for group in groups:
        columns[group] = _texts(folder, group, pixels)
    timed = (folder / "time.npy").exists()
    if timed:
        columns["time"] = _times(folder, pixels)
    return SourceData(classes, "class", _tables(pixels, columns, schema("class", groups, timed)), groups, timed)


def _of_splits(folder: Path, images: OfSplits, labels: OfSplits, names: tuple[str, ...] | None) -> SourceData:
    """Arrays of images and labels that a split has each for itself."""
    pixels = {split: _images(folder, images[split]) for split in SPLITS if split in images}
    answers = {
        split: _labels(_loaded(folder, labels[split], each), folder / f"{labels[split]}.npy")
        for split, each in pixels.items()
    }
    every = np.concatenate(list(answers.values()))
    said = " and ".join(f"{labels[split]}.npy" for split in answers)
    classes, targets = _targets(folder / said, every, names)

    def tables() -> Iterator[pa.Table]:
        start = 0
        for split, each in pixels.items():
            columns = {
                "target": targets[start : start + len(each)],
                "id": [f"{split}-{index:07d}" for index in range(len(each))],
                "published": [split] * len(each),
            }
            yield from _tables(each, columns, schema("class"))
            start += len(each)

    return SourceData(classes, "class", tables())


def _folder(source: ArraysSource, project: Path) -> Path:
    """The folder of `.npy` files, that of an unpacked `.npz` being one."""
    path = place.local(source, project)
    packed = [path] if path.is_file() else sorted(path.glob("*.npz"))
    name = source.images if isinstance(source.images, str) else next(iter(source.images.values()))
    if path.is_dir() and (path / f"{name}.npy").exists():
        return path
    if len(packed) != 1:
        raise DataError(
            f"{path}: expected {name}.npy or one .npz, received {', '.join(each.name for each in packed) or 'neither'}"
        )
    return archive.unpacked(packed[0], project, place.file_digest(packed[0])).resolve()


def _tables(pixels: Array, columns: dict[str, Any], form: pa.Schema) -> Iterator[pa.Table]:
    step = max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, math.prod(pixels.shape[1:]))))
    for start in range(0, len(pixels), step):
        part = slice(start, start + step)
        encoded = png.encode(np.ascontiguousarray(pixels[part]))
        values = {name: encoded if name == "image" else columns[name][part] for name in form.names}
        yield pa.table({name: pa.array(each, form.field(name).type) for name, each in values.items()})


_NO_OBJECTS = "Python objects are not read: save them as text, such as labels.astype(str)"


def _loaded(folder: Path, name: str, pixels: Array | None = None) -> Array:
    path = rows.inside(folder, f"{name}.npy", f"{folder} (arrays)")
    with boundary.reading(path, "an array of numbers or text", _NO_OBJECTS):
        _check_header(path)
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not array.ndim:
        raise DataError(f"{path}: expected an array with one row per image, received a single value")
    if pixels is None:
        return array
    if len(array) != len(pixels):
        raise DataError(f"{path}: expected a value for each of {len(pixels)} images, received {len(array)}")
    most = max(limits.HELD, pixels.nbytes // 4)
    if array.nbytes > most:
        raise DataError(f"{path}: expected at most {most:,} bytes of values, received {array.nbytes:,}; shorten them")
    return array


def _check_header(path: Path) -> None:
    """Raises ValueError where a file is not as long as its header says: mapped into memory, it would be believed."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}.get(version, np.lib.format.read_array_header_2_0)
        shape, _, kind = read(file)
        stated, there = math.prod(shape) * kind.itemsize, path.stat().st_size - file.tell()
    if any(side < 0 for side in shape) or not kind.itemsize:
        raise ValueError(f"its header states the shape {shape} of {kind}")
    if not kind.hasobject and stated != there:
        raise ValueError(f"its header states {shape} of {kind}, {stated} bytes, and {there} follow")


def _images(folder: Path, name: str) -> Array:
    pixels = _loaded(folder, name)
    path = folder / f"{name}.npy"
    if pixels.dtype != np.uint8:
        how = _CONVERSIONS.get(pixels.dtype.kind, "an array of uint8")
        raise DataError(f"{path}: expected uint8, received {pixels.dtype}; save {how}")
    shape = pixels.shape
    if pixels.ndim in (3, 4):
        limits.check_pictures(path, len(pixels), path.stat().st_size)
    if pixels.ndim == 3 or (pixels.ndim == 4 and shape[3] in (1, 3)):
        limits.check_picture(path, shape[1], shape[2])
        return pixels
    hint = "; save images.transpose(0, 2, 3, 1)" if pixels.ndim == 4 and shape[1] in (1, 3) else ""
    raise DataError(f"{path}: expected images (N, H, W) or (N, H, W, 3), received {shape}{hint}")


def _targets(path: Path, labels: Array, names: tuple[str, ...] | None) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Classes, and each sample's index among them."""
    labels = _labels(labels, path)
    different, indices = np.unique(labels, return_inverse=True)
    found = [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in different.tolist()]
    if "" in found:
        row = int(np.flatnonzero(indices == found.index(""))[0])
        raise DataError(f"{path}, row {row}: expected a class, received an empty text")
    if names is None:
        classes = rows.ordered(found)
        lookup = [classes.index(name) for name in found]
    else:
        classes = names
        by_name = {str(index) if labels.dtype.kind in "iu" else name: index for index, name in enumerate(names)}
        unknown = [name for name in found if name not in by_name]
        if unknown:
            row = int(np.flatnonzero(indices == found.index(unknown[0]))[0])
            raise DataError(
                f"{path}, row {row}: expected one of the {len(names)} classes of source.names, received {unknown[0]}"
            )
        lookup = [by_name[name] for name in found]
    return classes, np.array(lookup, dtype=np.int64)[indices]


def _labels(labels: Array, path: Path) -> Array:
    """Labels (N,), (N, 1), or (N, K) with one column per class → `(N,)` whole numbers or texts."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        marked = (labels == 1).sum(axis=1)
        wrong = np.flatnonzero((marked != 1) | (((labels != 0) & (labels != 1)).any(axis=1)))
        if len(wrong):
            raise DataError(
                f"{path}: expected labels (N,), or one column per class of which one is 1 and the others are 0, "
                f"received {labels.shape} with {len(wrong):,} other rows, the first of them row {wrong[0]}, "
                f"{np.array2string(np.asarray(labels[wrong[0]]), threshold=8, edgeitems=3)}; several classes of one "
                "picture are not learnt"
            )
        return np.asarray(np.argmax(labels, axis=1), dtype=np.int64)
    if labels.dtype.kind == "f" and labels.ndim == 1 and (labels == np.round(labels)).all():
        labels = labels.astype(np.int64)
    if labels.ndim != 1 or labels.dtype.kind not in "iuUS":
        raise DataError(f"{path}: expected whole numbers or texts (N,), received {labels.dtype} {labels.shape}")
    return labels


def _texts(folder: Path, name: str, pixels: Array) -> list[str | None]:
    """Text, or None where a value is missing; nothing where there is no such array."""
    if not (folder / f"{name}.npy").exists():
        return []
    array = _loaded(folder, name, pixels)
    if array.ndim != 1:
        raise DataError(f"{folder / name}.npy: expected values (N,), received {array.shape}")
    return [rows.text(value.decode() if isinstance(value, bytes) else value) for value in array.tolist()]


def _times(folder: Path, pixels: Array) -> list[float]:
    array = _loaded(folder, "time", pixels)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]").astype(np.float64) / 1e6
    return [rows.seconds(value, f"{folder / 'time.npy'}, row {index}") for index, value in enumerate(array.tolist())]
