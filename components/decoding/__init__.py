"""Encoded bytes → a picture of 8 bits: the one way in which Convoy opens an image, in training and in serving.

These very files are stored with every registered model and run from there, so they import nothing of the project: the
standard library, NumPy and Pillow. Whatever is wrong is an `UndecodableError`, a short reason without the file's name,
which the caller puts in front. Left to others: where the bytes come from, and what is stored of the result.

What a picture becomes, before any resizing:

| in the file | read as |
|---|---|
| format | by its content, never its name: PNG, JPEG, WEBP, BMP, GIF, TIFF, PPM and its family, JPEG 2000, AVIF |
| size | at most 64 million pixels, 65,535 a side, and 512 MiB, by the header, before anything is decoded |
| 1, L and LA, La | grey |
| P, PA, RGB, RGBA, RGBa, RGBX, CMYK, YCbCr, HSV, LAB | colour (sRGB; embedded profiles are not applied) |
| transparency, colour keys | laid over white |
| 16-bit grey | divided by 257; of 12 bits (TIFF) by 4095 / 255 |
| 16-bit colour | the high byte of each value |
| 32-bit and signed whole numbers | refused without `image.range` |
| floating point | all values in [0, 1] times 255; others are refused without `image.range` |
| `image.range: [low, high]` | grey of 16 or 32 bits, floating point: low is black, high is white, cut off beyond |
| grey whose 0 is white (TIFF) | inverted |
| orientation | turned upright by EXIF, or by XMP where EXIF says nothing; as stored where neither can be read |
| several frames or pages | refused, or the first with `image.frames: first`; previews (MPO, TIFF) do not count |
| damaged or cut short | refused |
"""

from __future__ import annotations

from .errors import UndecodableError
from .instead import FORMATS
from .opening import LARGEST_BYTES, LARGEST_PIXELS, LARGEST_SIDE, room
from .placing import Fit, Placing, place
from .reading import (
    LOSSLESS,
    MODE,
    Form,
    Header,
    Picture,
    decode,
    fit,
    header,
    indices,
    is_grey,
    load,
    opened,
    read,
    read_as,
    to_array,
    unlike,
)

__all__ = [
    "FORMATS",
    "LARGEST_BYTES",
    "LARGEST_PIXELS",
    "LARGEST_SIDE",
    "LOSSLESS",
    "MODE",
    "Fit",
    "Form",
    "Header",
    "Picture",
    "Placing",
    "UndecodableError",
    "decode",
    "fit",
    "header",
    "indices",
    "is_grey",
    "load",
    "opened",
    "place",
    "read",
    "read_as",
    "room",
    "to_array",
    "unlike",
]
