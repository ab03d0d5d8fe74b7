"""How an image lies, by EXIF and XMP, and the few other facts that are read from a file's own blocks."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

SIDEWAYS = frozenset({5, 6, 7, 8})  # orientations that swap width and height
ORIENTATION = 0x0112  # the tag
TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CHUNK = struct.Struct(">I4s")
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation(image: Image.Image, content: memoryview) -> int:
    """How the image lies, 1 to 8; 1 also where nothing is said, or nothing that can be understood. A TIFF's is 1: of
    these, Pillow gives the upright size and turns the pixels itself."""
    if image.format == "TIFF":
        return 1
    found = None
    for key, say in _SAYING.items():
        if not found and key in image.info:
            found = say(image.info[key])
    if not found and image.format == "PNG":
        found = _png_orientation(content)
    return found if found in TURN else 1


def _exif_orientation(exif: Any) -> int | None:
    """Of an EXIF block, which is a small TIFF; None where it says none."""
    if not isinstance(exif, bytes):
        return None
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number = struct.unpack_from(order + "HHI", exif, at)
            letter = {1: "B", 3: "H", 4: "I"}.get(kind)
            if tag == ORIENTATION and number == 1 and letter:
                return int(struct.unpack_from(order + letter, exif, at + 8)[0])
    except struct.error:
        return None
    return None


def _xmp_orientation(xmp: Any) -> int | None:
    said = xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp
    found = _XMP.search(said) if isinstance(said, bytes) else None
    return int(found[1]) if found else None


def _profile_orientation(profile: Any) -> int | None:
    """Of an EXIF block as ImageMagick writes it into a PNG: three lines, then hexadecimal digits."""
    try:
        return _exif_orientation(bytes.fromhex("".join(str(profile).split("\n")[3:])))
    except ValueError:
        return None


# What Pillow keeps of a file → how it is asked; the first that says anything counts.
_SAYING: dict[str, Callable[[Any], int | None]] = {
    "exif": _exif_orientation,
    "Raw profile type exif": _profile_orientation,
    "XML:com.adobe.xmp": _xmp_orientation,
    "xmp": _xmp_orientation,
}


def png_chunks(content: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end (of the whole chunk) of each chunk of a PNG, as far as they are whole."""
    at = 8
    size = content.nbytes
    while at + 12 <= size:
        length, kind = _CHUNK.unpack_from(content, at)
        end = at + 12 + length
        if end > size:
            return
        yield kind, at, end
        at = end


def _png_orientation(content: memoryview) -> int | None:
    """By EXIF or XMP behind the pixels, which Pillow reads only when these are decoded."""
    found = None
    for kind, start, end in png_chunks(content):
        if kind == b"eXIf":
            found = _exif_orientation(bytes(content[start + 8 : end - 4])) or found
        elif kind == b"iTXt" and bytes(content[start + 8 : start + 25]) == b"XML:com.adobe.xmp":
            found = found or _xmp_orientation(bytes(content[start + 8 : end - 4]))
    return found


def tag(image: Image.Image, number: int, otherwise: int) -> int:
    """A TIFF's tag that is one whole number, or the same number for each channel."""
    value = getattr(image, "tag_v2", {}).get(number, otherwise)
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    return value if isinstance(value, int) else otherwise


def tiff_orientation(image: Image.Image) -> int | None:
    """How a TIFF lies, which Pillow turns upright; None for what is stored upright, and for other formats."""
    lies = tag(image, ORIENTATION, 1)
    return lies if lies in TURN else None


def keep_orientation(image: Image.Image) -> None:
    """Pillow turns a TIFF upright while it loads, and writes all of its EXIF anew for that, which fails for many an odd
    tag: it is left with nothing but the orientation."""
    exif, lies = image.getexif(), tiff_orientation(image)
    for number in list(exif):
        del exif[number]
    if lies is not None:
        exif[ORIENTATION] = lies
