"""Pixels ↔ the PNG in which they are stored, without compression (zlib "stored" blocks).

Lossless, read by every viewer, the same bytes on every machine whatever its zlib, and, since all images of one size
share one layout, packed and unpacked 10,000 at a time without a decoder. Parquet compresses them. Everything that
others have encoded is read by `components.decoding`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components import decoding

Pixels = npt.NDArray[np.uint8]

IGNORED = 255  # in masks, where a data set has it: of no class, neither learnt nor judged

_COUNTED = 2**20  # pixels at a time
_MASK_PIXELS = 32 * 2**20  # of masks that are decoded together: half of the largest that is read
_BLOCK = 65535  # most bytes of a stored block (RFC 1951, 3.2.4)


# -- PNG of one size, many at a time ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """Where everything is in the stored PNG of one size."""

    height: int
    width: int
    template: Pixels  # the whole file, zero where it depends on the picture
    fixed: npt.NDArray[np.bool_]  # which bytes do not depend on the picture
    blocks: tuple[tuple[int, int], ...]  # offset in the file and length of each run of filtered rows
    stream: slice  # the zlib stream


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@lru_cache(maxsize=64)
def _layout(height: int, width: int, channels: int) -> _Layout:
    rows = height * (1 + width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
    lengths = [min(_BLOCK, rows - offset) for offset in range(0, rows, _BLOCK)]
    stream = bytearray(b"\x78\x01")
    blocks = []
    for index, length in enumerate(lengths):
        stream += struct.pack("<BHH", index == len(lengths) - 1, length, length ^ 0xFFFF)
        blocks.append((len(start) + 8 + len(stream), length))
        stream += bytes(length)
    stream += bytes(4)
    content = start + struct.pack(">I", len(stream)) + b"IDAT" + bytes(stream) + bytes(4) + _chunk(b"IEND", b"")
    first = len(start) + 8
    fixed = np.ones(len(content), dtype=bool)
    for offset, length in blocks:
        fixed[offset : offset + length] = False
    fixed[first + len(stream) - 4 : first + len(stream) + 4] = False
    template = np.frombuffer(content, dtype=np.uint8)
    return _Layout(height, width, template, fixed, tuple(blocks), slice(first, first + len(stream)))


def encode(images: Pixels) -> pa.BinaryArray:
    """`(N, H, W)` or `(N, H, W, C)`, C 1 or 3 → N PNG files."""
    if images.ndim == 3:
        images = images[..., None]
    count, height, width, channels = images.shape
    layout = _layout(height, width, channels)
    rows = np.zeros((count, height, 1 + width * channels), dtype=np.uint8)
    rows[:, :, 1:] = images.reshape(count, height, width * channels)
    rows = rows.reshape(count, -1)
    files = np.tile(layout.template, (count, 1))
    at = 0
    for offset, length in layout.blocks:
        files[:, offset : offset + length] = rows[:, at : at + length]
        at += length
    end = layout.stream.stop
    sums = np.array([zlib.adler32(row.data) for row in rows], dtype=">u4")
    files[:, end - 4 : end] = sums.view(np.uint8).reshape(count, 4)
    files[:, end : end + 4] = _checks(files, layout)
    offsets = np.arange(count + 1, dtype=np.int64) * files.shape[1]
    if count and offsets[-1] >= 2**31:
        raise ValueError(f"expected less than 2 GB of images at a time, received {offsets[-1]} bytes")
    return pa.BinaryArray.from_buffers(
        pa.binary(), count, [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(files)]
    )


def decode_stored(column: pa.Array) -> Pixels | None:
    """What `encode` has written, as `(N, H, W, C)`; None where any of it is something else or is damaged."""
    files = _as_rows(column)
    layout = None if files is None else _stated_layout(files[0])
    if files is None or layout is None or (files[:, layout.fixed] != layout.template[layout.fixed]).any():
        return None
    end = layout.stream.stop
    rows = np.concatenate([files[:, offset : offset + length] for offset, length in layout.blocks], axis=1)
    rows = rows.reshape(len(files), layout.height, -1)
    filtered = rows[:, :, 0].any()  # by what `encode` does not use
    if filtered or (files[:, end : end + 4] != _checks(files, layout)).any():
        return None
    return np.ascontiguousarray(rows[:, :, 1:]).reshape(len(files), layout.height, layout.width, -1)


def _as_rows(column: pa.Array) -> Pixels | None:
    """`(N, bytes)` without a copy, where all N values are of one length that a PNG can have."""
    count = len(column)
    if count == 0 or column.null_count:
        return None
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int32)[column.offset : column.offset + count + 1]
    size = int(offsets[1] - offsets[0])
    if size < 57 or (np.diff(offsets) != size).any():
        return None
    data: Pixels = np.frombuffer(column.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    return data.reshape(count, size)


def _stated_layout(file: Pixels) -> _Layout | None:
    """The layout of the size in a PNG's header, if a stored PNG of that size is as long as this one."""
    width, height = struct.unpack(">II", file[16:24].tobytes())
    channels = 3 if file[25] == 2 else 1
    if not 0 < width * height * channels <= len(file):
        return None
    layout = _layout(height, width, channels)
    return layout if len(layout.template) == len(file) else None


def _checks(files: Pixels, layout: _Layout) -> Pixels:
    """`(N, 4)`: the CRC of each file's IDAT chunk, most significant byte first."""
    seed = zlib.crc32(b"IDAT")
    sums = np.array([zlib.crc32(row.data, seed) for row in np.ascontiguousarray(files[:, layout.stream])], dtype=">u4")
    return sums.view(np.uint8).reshape(len(files), 4)


def decode_masks(column: pa.Array) -> Iterator[Pixels | None]:
    """Each PNG mask as `(H, W)` classes, None where it cannot be decoded; large ones are in memory a few at a time."""
    stored = decode_stored(column)
    if stored is not None and stored.shape[3] == 1:
        yield from stored[..., 0]
        return
    some: list[bytes | None] = []
    together = 0
    for content in column.to_pylist():
        pixels = _pixels(content)
        if together + pixels > _MASK_PIXELS:
            yield from in_threads(_decode_mask, some)
            some, together = [], 0
        some.append(content)
        together += pixels
    yield from in_threads(_decode_mask, some)


def class_counts(mask: Pixels) -> npt.NDArray[np.int64]:
    """`(256,)`: how many pixels of a mask `(H, W)` are of each class; `bincount` takes eight bytes a pixel."""
    counts = np.zeros(256, dtype=np.int64)
    flat = mask.reshape(-1)
    for start in range(0, len(flat), _COUNTED):
        counts += np.bincount(flat[start : start + _COUNTED], minlength=256)
    return counts


def _pixels(content: bytes | None) -> int:
    """By the header; 0 of what is no picture."""
    try:
        return decoding.header(content or b"").pixels
    except decoding.UndecodableError:
        return 0


def _decode_mask(content: bytes | None) -> Pixels | None:
    try:
        return decoding.indices(content or b"")
    except decoding.UndecodableError:
        return None


def place_mask(mask: Pixels, placing: decoding.Placing, around: int = 0) -> Pixels:
    """`(H, W)` classes where their picture goes, `around` it that value; each pixel takes the class of the nearest."""
    width, height = placing.whole
    if mask.shape == (height, width):
        return mask
    left, top, right, bottom = placing.covers
    part = Image.fromarray(mask).resize((right - left, bottom - top), Image.Resampling.NEAREST, box=placing.taken)
    placed = np.full((height, width), around, dtype=np.uint8)
    placed[top:bottom, left:right] = np.asarray(part)
    return placed


def in_threads(function: Any, items: Sequence[Any]) -> list[Any]:
    """`map` over a few threads: Pillow's decoders let go of the interpreter while they work."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(function, items, chunksize=64))
