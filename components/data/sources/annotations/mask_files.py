"""Masks that lie in files of their own → the masks of their pictures: of their size, and turned as they are.

A mask belongs to the picture as people see it. Where only the stored pixels of a picture that lies on its side are of
the mask's size, it was drawn over those, and is turned with them (see `frames`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from components import decoding
from components.config import Ignored, MaskValues
from components.data.errors import DataError
from components.data.sources.annotations import frames
from components.data.sources.base.faults import Fault, Kind
from components.inputs import png

_CLASSES = frozenset({"L", "P", "1", "I;16", "I;16B", "I;16L"})  # of one channel, whose values are whole numbers
_AS_THEY_ARE = frozenset({"L", "P"})
_MOST = 255  # of a pixel's number, since masks are kept in bytes
_AT_ONCE = 64  # masks in memory at a time
_NAMED = 4  # classes of an example in a message
_COLOURS = frozenset({"P", "PA", "RGB", "RGBA", "RGBX", "L", "1"})
_BACK = {6: 8, 8: 6}  # what undoes an orientation; the others undo themselves

UNREADABLE = Kind("mask", "masks", "that can be read", "unreadable")
NO_CLASSES = Kind(
    *("mask", "masks"),
    "of one channel whose pixels are numbers of classes (PNG of mode L or P), or colours that `source.values` lists",
    "of something else",
)
NO_COLOURS = Kind("mask", "masks", "in the colours that `source.values` lists", "of something else")
UNNAMED = Kind("mask", "masks", "of the values that `source.values` lists", "of another value")
NOTHING = Kind("mask", "masks", "with a pixel that is not ignored", "ignored as a whole")
OTHER_SIZE = Kind("mask", "masks", "of the size of their pictures", "of another size")


class File(NamedTuple):
    """A file's content, and how messages call it."""

    content: bytes
    name: str


def aligned(image: File, mask: File) -> bytes | Fault:
    """The mask of a picture as PNG of its upright size: the file itself, where it is that.

    What is no picture is left to the inspection, which says so of all of them.
    """
    try:
        picture = decoding.header(image.content)
    except decoding.UndecodableError:
        return mask.content
    try:
        return _fitted(decoding.header(mask.content), picture, image, mask)
    except decoding.UndecodableError as error:
        return Fault(UNREADABLE, f"{mask.name} {error}")


def target(image: File, mask: File, values: MaskValues | None, ignored: Ignored = ()) -> bytes | Fault:
    """The mask of a picture as PNG of its upright size, whose pixels are numbers of classes or `png.IGNORED`.

    `values`, and what is `ignored`, are as in the catalogue.
    """
    painted = values is not None and isinstance(np.ravel(np.array(values[0], dtype=object))[0], str)
    found = coloured(mask, values, ignored) if painted else mask.content  # type: ignore[arg-type]
    if isinstance(found, Fault):
        return found
    fitted = aligned(image, File(found, mask.name))
    if not painted and (values is not None or ignored) and not isinstance(fitted, Fault):
        fitted = renumbered(File(fitted, mask.name), values, ignored)  # type: ignore[arg-type]
    if not ignored or isinstance(fitted, Fault):
        return fitted
    return judged(fitted, mask.name)


def judged(content: bytes, name: str) -> bytes | Fault:
    """A mask of which something is not ignored."""
    whole = bool((decoding.indices(content) == png.IGNORED).all())
    return Fault(NOTHING, name) if whole else content


def about(ignored: object) -> dict[str, int]:
    """What a source says about its masks: what is ignored of them is `png.IGNORED`, however their files say it."""
    return {"ignore": png.IGNORED} if ignored else {}


def numbered(contents: Iterable[bytes], where: str, which: str, ignored: Ignored = ()) -> tuple[str, ...]:
    """`0`, `1`, … up to the largest number in masks; raises DataError where their pixels are other numbers than these.

    `where` and `which` name the file and the masks in it. What is `ignored` is no class.
    """
    seen = np.zeros(_MOST + 2, dtype=bool)  # the last stands for all that is larger
    modes: Counter[str] = Counter()
    waiting = iter(contents)
    while some := list(islice(waiting, _AT_ONCE)):
        for mode, values in png.in_threads(_used, some):
            modes[mode] += 1
            seen[np.minimum(np.array(values, dtype=np.int64), _MOST + 1)] = True
    modes.pop("", None)
    seen[np.array(ignored, dtype=np.int64)] = False
    found = np.flatnonzero(seen).tolist() or [0]
    if found[-1] >= _MOST - bool(ignored) or 2 * len(found) < found[-1] + 1:
        names = ["background", *(f"class-{number}" for number in range(1, len(found)))][:_NAMED]
        keys = {"names": f"[{', '.join(names)}]", "values": str(found[:_NAMED])}
        entry = " and ".join(f"`{key}: {value}`" for key, value in keys.items())
        options = " ".join(f"-S '{key}={value}'" for key, value in keys.items())
        raise DataError(
            f"{where}: expected masks whose pixels are numbers of classes, 0, 1, 2 and so on, received values of "
            f"{listed(found)} in {which} (mode {' and '.join(sorted(modes))}); say which value is which class, such as "
            f"{entry} under `source:` (`{options}`); a value of pixels that are neither to be learnt nor judged is "
            f"said as `ignore: {_MOST}`"
        )
    return tuple(str(number) for number in range(found[-1] + 1))


def _used(content: bytes) -> tuple[str, list[int]]:
    """A mask's mode, and the numbers of its pixels as its file has them; none where it is no mask."""
    try:
        image = decoding.load(content)
    except decoding.UndecodableError:
        return "", []
    if image.mode not in _CLASSES:
        return "", []
    pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        return image.mode, np.flatnonzero(png.class_counts(pixels)).tolist()
    found: list[int] = np.unique(pixels).astype(np.int64).tolist()
    return image.mode, found


def renumbered(mask: File, values: Sequence[int | Sequence[int]] | None, ignored: Sequence[int] = ()) -> bytes | Fault:
    """An aligned mask whose pixels are `values` (or one of several) → one whose pixels are these values' places.

    Without `values`, pixels are numbers of classes already. What is `ignored` becomes `png.IGNORED`.
    """
    number, known = np.arange(256, dtype=np.uint8), np.zeros(256, dtype=bool)
    if values is None:
        known[: png.IGNORED] = True
    for place, each in enumerate(values or ()):
        number[np.atleast_1d(each)], known[np.atleast_1d(each)] = place, True
    number[list(ignored)], known[list(ignored)] = png.IGNORED, True
    try:
        pixels = decoding.indices(mask.content)
    except decoding.UndecodableError as error:
        return Fault(UNREADABLE, f"{mask.name} {error}")
    other = np.flatnonzero(~known & (png.class_counts(pixels) > 0))
    if len(other):
        return Fault(UNNAMED, f"{mask.name} has {listed(other.tolist())}")
    content: bytes = png.encode(number[pixels][None])[0].as_py()
    return content


def coloured(mask: File, values: Sequence[str | Sequence[str]], ignored: Sequence[str] = ()) -> bytes | Fault:
    """A mask in colours (of a palette, or of red, green and blue) → one whose pixels are the places of these colours.

    What is `ignored` becomes `png.IGNORED`.

    It is upright as its file says, like any picture; see-through pixels have the colour that lies below.
    """
    try:
        image = decoding.load(mask.content)
    except decoding.UndecodableError as error:
        return Fault(UNREADABLE, f"{mask.name} {error}")
    if image.mode not in _COLOURS:
        return Fault(NO_COLOURS, f"{mask.name} has mode {image.mode}")
    pixels = np.asarray(image.convert("RGB")).astype(np.int32)
    codes = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    result, known = np.zeros(codes.shape, dtype=np.uint8), np.zeros(codes.shape, dtype=bool)
    for place, each in (*enumerate(values), *((png.IGNORED, colour) for colour in ignored)):
        for colour in np.atleast_1d(each).tolist():
            where = codes == int(str(colour)[1:], 16)
            result[where], known[where] = place, True
    other = np.unique(codes[~known])
    if len(other):
        said = ", ".join(f"#{code:06x}" for code in other[:4].tolist()) + (", …" if len(other) > 4 else "")
        return Fault(UNNAMED, f"{mask.name} has {said}")
    content: bytes = png.encode(result[None])[0].as_py()
    return content


def listed(values: Sequence[int]) -> str:
    """`0, 128, 255`; of many the first and the last."""
    some = [*map(str, values[:4]), "…", str(values[-1])] if len(values) > 6 else list(map(str, values))
    return ", ".join(some)


def _fitted(head: decoding.Header, picture: decoding.Header, image: File, mask: File) -> bytes | Fault:
    mode = head.mode.split()[0]  # whatever is see-through
    if mode in _AS_THEY_ARE and head.size == picture.size:
        return mask.content
    if mode not in _CLASSES:
        return Fault(NO_CLASSES, f"{mask.name} has mode {mode}")
    pixels = _turned(np.asarray(decoding.load(mask.content)), head, picture)
    if pixels is None:
        (width, height), (wide, high) = head.size, picture.size
        return Fault(OTHER_SIZE, f"{mask.name} is {width}×{height}, {image.name} {wide}×{high}")
    if pixels.max(initial=0) > _MOST:
        return Fault(NO_CLASSES, f"{mask.name} has numbers to {pixels.max():,} (mode {mode})")
    content: bytes = png.encode(pixels.astype(np.uint8)[None])[0].as_py()
    return content


def _turned(pixels: npt.NDArray[Any], mask: decoding.Header, picture: decoding.Header) -> npt.NDArray[Any] | None:
    """A mask `(H, W)`, which has been turned as its own file says, as its picture is; None where no turning fits."""
    if mask.size == picture.size:
        return pixels
    stored = frames.turned(pixels, _BACK.get(mask.orientation, mask.orientation))
    if mask.stored == picture.size:  # it is upright, and what its file says of turning was copied from elsewhere
        return stored
    return frames.turned(stored, picture.orientation) if mask.stored == picture.stored else None
