"""Pixels of any mode → 8 bits, grey or colour, over white."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from .errors import UndecodableError
from .orientation import tag

Range = tuple[float, float]

GREY = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
_STRIP = 2**20  # pixels that are converted at a time: a picture of 64 million is not held three times over


def eight_bits(image: Image.Image, content: memoryview, declared: Range | None) -> tuple[Image.Image, int | None]:
    """A decoded image in mode L or RGB, over white; and the greatest value where it was 16-bit grey and is read so.

    The image itself where it is that already. `declared` is what is black and what is white. Some lines are converted
    at a time.
    """
    if image.mode in ("L", "RGB") and image.format != "TIFF" and "transparency" not in image.info:
        return image, None
    values = _values(image, content, declared)
    if values is not None:
        return _grey(image, values)
    mode = "L" if image.mode in GREY else "RGB"
    key = _key(image, content)
    if image.mode == mode and key is None:
        return image, None
    if image.width * image.height <= _STRIP:
        return _plain(image, mode, key), None
    result = Image.new(mode, image.size)
    for top, bottom in _strips(image):
        result.paste(_plain(image.crop((0, top, image.width, bottom)), mode, key), (0, top))
    return result, None


def _strips(image: Image.Image) -> Iterator[tuple[int, int]]:
    step = max(1, _STRIP // image.width)
    for top in range(0, image.height, step):
        yield top, min(top + step, image.height)


def _plain(part: Image.Image, mode: str, key: tuple[int, ...] | None) -> Image.Image:
    if key is not None:
        pixels = np.array(part.convert(mode))
        hit = (pixels == key[0]) if len(key) == 1 else (pixels == np.array(key)).all(axis=2)
        pixels[hit] = 255
        return Image.fromarray(pixels)
    if part.has_transparency_data:
        layered = part.convert({"La": "LA", "RGBa": "RGBA"}.get(part.mode, part.mode)).convert("RGBA")
        part = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    elif part.mode == "LAB":
        part = _from_lab(part)
    return part if part.mode == mode else part.convert("RGB").convert(mode)


def _from_lab(part: Image.Image) -> Image.Image:
    try:
        return part.convert("RGB")  # by LittleCMS
    except ImportError:
        raise UndecodableError("has colours in L*a*b*, which this Pillow cannot convert; save it in RGB") from None


def _key(image: Image.Image, content: memoryview) -> tuple[int, ...] | None:
    """The colour that is see-through, of a picture without palette; a value a channel, of 8 bits."""
    key = image.info.get("transparency")
    if image.mode not in ("1", "L", "RGB") or not isinstance(key, int | tuple):
        return None
    depth = _depth(image, content)
    if depth == 16:
        raise UndecodableError(
            "has 16 bits a channel and a colour that is see-through (tRNS), which would be compared at 8 bits; save it "
            "with an alpha channel"
        )
    values = key if isinstance(key, tuple) else (key,)
    return tuple((value & (2**depth - 1)) * 255 // (2**depth - 1) for value in values)


def _depth(image: Image.Image, content: memoryview) -> int:
    """Bits a value, of a PNG; 8 of everything else."""
    return int(content[24]) if image.format == "PNG" else 8


class _Values(NamedTuple):
    """How the numbers of a grey picture of more than 8 bits are read."""

    range: Range | None  # black and white; None: as 16 bits are
    kind: npt.DTypeLike | None  # what the values are where Pillow's array has another type
    inverted: bool  # the least is white
    white: int | None  # the value that is see-through


def _values(image: Image.Image, content: memoryview, declared: Range | None) -> _Values | None:
    """None for pictures whose values have 8 bits."""
    signed = image.format == "TIFF" and tag(image, 339, 1) == 2
    if not image.mode.startswith(("I", "F")) and not (image.mode == "L" and signed):
        return None
    inverted = image.format == "TIFF" and tag(image, 262, 1) == 0
    bits = tag(image, 258, 16)
    kind: npt.DTypeLike | None = None
    range = declared
    if image.mode == "L":
        kind, inverted = np.int8, False
    elif image.mode == "I" and image.format == "TIFF" and not signed:
        kind = np.uint32
    if declared is None and image.mode.startswith("I;16") and image.format == "TIFF" and bits == 12:
        range = (0, 4095)
    elif declared is None and image.mode == "F":
        range = _unit(image)
    elif declared is None and not image.mode.startswith("I;16") and image.format != "PPM":
        least, most = _extremes(image, kind)
        sort = f"{bits}-bit{' signed' if signed else ''} whole numbers"
        raise UndecodableError(f"has {sort} ({least:,.0f} to {most:,.0f}), which have {_NO_RANGE}", "range")
    key = image.info.get("transparency")
    return _Values(range, kind, inverted, key if isinstance(key, int) else None)


_NO_RANGE = (
    "no black and white of their own; say which values are: `image.range: [LOW, HIGH]` of the data set in params.yaml"
)


def _unit(image: Image.Image) -> Range:
    """[0, 1], where all of a picture's values lie in it."""
    least, most = _extremes(image, None)
    if least < 0.0 or most > 1.0:
        raise UndecodableError(
            f"has floating-point values from {least:g} to {most:g}, outside of [0, 1], which have {_NO_RANGE}", "range"
        )
    return 0.0, 1.0


def _extremes(image: Image.Image, kind: npt.DTypeLike | None) -> Range:
    least, most = math.inf, -math.inf
    for values in _numbers(image, kind):
        least, most = min(least, float(values.min())), max(most, float(values.max()))
    return least, most


def _numbers(image: Image.Image, kind: npt.DTypeLike | None) -> Iterator[npt.NDArray[Any]]:
    """The values, some lines at a time; raises UndecodableError for what is no number."""
    for top, bottom in _strips(image):
        values = np.asarray(image.crop((0, top, image.width, bottom)))
        if kind is not None:
            values = values.view(kind)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UndecodableError("has values that are not numbers (NaN or infinite); replace them")
        yield values


def _grey(image: Image.Image, how: _Values) -> tuple[Image.Image, int | None]:
    """Numbers → mode L, and the greatest of them where they are of 16 bits and nothing else is said."""
    pixels, peak = np.empty((image.height, image.width), dtype=np.uint8), 0
    for (top, bottom), values in zip(_strips(image), _numbers(image, how.kind), strict=True):
        peak = max(peak, int(values.max())) if how.range is None else peak
        if how.range is None:
            scaled = values.astype(np.uint32) // 257
        else:
            low, high = how.range
            share = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
            scaled = np.rint(share * 255.0)
        part = scaled.astype(np.uint8)
        part = 255 - part if how.inverted else part
        if how.white is not None:
            part[values == how.white] = 255
        pixels[top:bottom] = part
    return Image.fromarray(pixels), peak if how.range is None else None
