"""Pictures by hand, of kinds that Pillow cannot write; and the usual ones, encoded."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> npt.NDArray[np.uint8]:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, depth: int, colour: int, rows: Sequence[bytes], *before: bytes, after: bytes = b""
) -> bytes:
    """A PNG of that bit depth and colour type from its rows, with further chunks before and behind the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(before) + pixels + after + chunk(b"IEND", b"")


def tiff(width: int, height: int, data: bytes, order: str = "<", **tags: Any) -> bytes:
    """A TIFF of one strip (or one tile), not compressed. `tags` by name: bits, photometric, samples, format,
    orientation, and `tile` (its side), `subfile`, `extra`, `more` (whole entries `(tag, type, count, value)`)."""
    bits = tags.get("bits", 8)
    samples = tags.get("samples", 1)
    entries: list[tuple[int, int, list[int]]] = [
        (254, 4, [tags.get("subfile", 0)]),
        (256, 4, [width]),
        (257, 4, [height]),
        (258, 3, [bits] * samples),
        (259, 3, [1]),
        (262, 3, [tags.get("photometric", 1)]),
        (274, 3, [tags.get("orientation", 1)]),
        (277, 3, [samples]),
        (339, 3, [tags.get("format", 1)] * samples),
    ]
    if "extra" in tags:
        entries.append((338, 3, [tags["extra"]]))
    tile = tags.get("tile")
    where = [(322, 4, [tile]), (323, 4, [tile]), (324, 4, [0]), (325, 4, [len(data)])]
    entries += where if tile else [(273, 4, [0]), (278, 4, [height]), (279, 4, [len(data)])]
    more = tags.get("more", ())
    head = 8 + 2 + 12 * (len(entries) + len(more)) + 4
    letter, aside = {3: "H", 4: "I"}, b""
    lines = []
    sizes = {number: kind for number, kind, _ in entries}
    start = head + sum(len(v) * 2 for n, k, v in entries if k == 3 and len(v) > 2)
    for number, kind, given in entries:
        values = [start] if number in (273, 324) else given
        packed = struct.pack(f"{order}{len(values)}{letter[sizes[number]]}", *values)
        if len(packed) > 4:
            lines.append((number, struct.pack(f"{order}HHII", number, kind, len(values), head + len(aside))))
            aside += packed
        else:
            line = struct.pack(f"{order}HHI", number, kind, len(values)) + packed.ljust(4, b"\0")
            lines.append((number, line))
    lines += [(entry[0], struct.pack(f"{order}HHI", *entry[:3]) + entry[3]) for entry in more]
    body = b"".join(line for _, line in sorted(lines))
    mark = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(f"{order}H", len(lines))
    return mark + struct.pack(f"{order}I", 8) + count + body + struct.pack(f"{order}I", 0) + aside + data


def exif(orientation: int, order: str = "<", *entries: tuple[int, int, int, bytes], extra: bytes = b"") -> bytes:
    """An EXIF block that says an orientation, and further entries `(tag, type, count, four bytes)`."""
    lines = [(0x0112, 3, 1, struct.pack(f"{order}HH", orientation, 0)), *entries]
    body = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(lines))
    for tag, kind, count, value in lines:
        body += struct.pack(f"{order}HHI", tag, kind, count) + value
    return b"Exif\0\0" + body + struct.pack(f"{order}I", 0) + extra


def with_exif(jpeg: bytes, block: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]
