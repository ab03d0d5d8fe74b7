"""A class for each pixel: a PNG whose pixels are numbers of classes, 0 the background.

Where a data set says so (`ignore` of what a source says about its masks, and of the card), pixels of 255 are of no
class: they are neither counted nor followed, and a mask of nothing else is an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components import decoding
from components.artifacts import DatasetCard
from components.decoding import Fit
from components.inputs import png
from components.inputs.protocol import Expectation, Size
from components.targets.palette import colour
from components.targets.plain import Plain
from components.targets.protocol import Layout, Numbers, Shown, UnreadableTargetError

UNKNOWN_PIXEL = 255  # of a class that is not declared; where pixels are ignored, 254 is
UNDECLARED = "(none)"  # the name of a class that the data set does not declare
IGNORED = "(ignored)"  # what pages call pixels of no class
_GREY, _HATCH = (150, 150, 150), 4  # of these, and pixels from one line of their hatching to the next
_SHADE = 0.45  # of a mask's colour over its image


class Mask(Plain):
    """A class for every pixel of the picture."""

    name = "mask"
    stored = pa.binary()
    labelled: Literal["several"] = "several"
    background = True
    says = "a mask shows several classes at once"
    task = "segmentation"

    def shown(self, column: pa.Array, classes: int) -> Shown:
        """Rows are stratified by their foreground: the class that covers most of it, 1 more than its place in it."""
        rows: list[Numbers] = [np.zeros(0, np.int64)]
        shows: list[Numbers] = [np.zeros(0, np.int64)]
        strata = np.zeros(len(column), dtype=np.int64)
        for row, mask in enumerate(png.decode_masks(column)):
            if mask is None:
                continue
            counts = png.class_counts(mask)
            own = np.flatnonzero(counts[:classes])
            rows.append(np.full(len(own), row))
            shows.append(own)
            strata[row] = foreground(counts if classes > UNKNOWN_PIXEL else counts[:UNKNOWN_PIXEL])
        return Shown(np.concatenate(rows), np.concatenate(shows), strata)

    def renamed(
        self, column: pa.Array, before: tuple[str, ...], after: tuple[str, ...], about: Mapping[str, Any]
    ) -> pa.Array:
        number = {name: index for index, name in enumerate(after)}
        ignored = ignored_of(about)
        unknown = UNKNOWN_PIXEL if ignored is None else UNKNOWN_PIXEL - 1  # which is no class, or is ignored by mistake
        pixel = np.full(256, unknown, dtype=np.uint8)
        pixel[: len(before)] = [number.get(name, unknown) for name in before]
        if ignored is not None:
            pixel[ignored] = ignored
        return _stored(None if mask is None else pixel[mask] for mask in png.decode_masks(column))

    def numbered(self, column: pa.Array, lookup: Numbers) -> pa.Array:
        pixel = np.arange(256, dtype=np.uint8)
        pixel[: len(lookup)] = lookup
        return pa.array(
            [
                before if mask is None else png.encode(pixel[mask][None])[0].as_py()
                for before, mask in zip(column.to_pylist(), png.decode_masks(column), strict=True)
            ],
            pa.binary(),
        )

    def fitted(
        self, column: pa.Array, pictures: Iterable[Size | None], size: Size, fit: Fit, about: Mapping[str, Any]
    ) -> pa.Array:
        """Around a picture that does not fill its new size is background, or what is ignored, where anything is."""
        around = ignored_of(about) or 0
        return _stored(
            _of_size(mask, own, size, fit, around) for mask, own in zip(png.decode_masks(column), pictures, strict=True)
        )

    def record(
        self, about: Mapping[str, Any], columns: Iterable[pa.Array], others: Iterable[pa.Array] = ()
    ) -> dict[str, Any]:
        """What is ignored, where anything is."""
        ignored = ignored_of(about)
        return {} if ignored is None else {"kind": self.name, "ignore": ignored}

    def facts(self, column: pa.Array, card: DatasetCard) -> dict[str, Sequence[Any]]:
        """Of each mask its largest class and its size; where pixels may be ignored, how many are not."""
        shown: list[str | None] = []
        largest: list[int | None] = []
        sizes: list[str | None] = []
        judged: list[int | None] = []
        ignored = ignored_of(card.target)
        for mask in png.decode_masks(column):  # none is kept
            shown.append(None if mask is None else "mask")
            sizes.append(None if mask is None else f"{mask.shape[0]}x{mask.shape[1]}")
            classed = mask if mask is None or ignored is None else mask[mask != ignored]
            largest.append(int(classed.max()) if classed is not None and classed.size else None)
            judged.append(None if classed is None else classed.size)
        facts: dict[str, Sequence[Any]] = {"target": shown, "mask_max": largest, "mask_size": sizes}
        return facts if ignored is None else {**facts, "mask_judged": judged}

    def expectations(self, card: DatasetCard) -> Sequence[Expectation]:
        last = len(card.classes) - 1
        judged = Expectation(
            "ExpectColumnValuesToBeBetween",
            {"column": "mask_judged", "min_value": 1},
            "error",
            "no mask is ignored as a whole (`source.ignore`): there is nothing to be learnt or judged",
        )
        return [
            *([] if ignored_of(card.target) is None else [judged]),
            Expectation(
                "ExpectColumnValuesToBeBetween",
                {"column": "mask_max", "min_value": 0, "max_value": last},
                "error",
                f"every pixel of a mask is one of the {len(card.classes)} known classes (or see `source.values`)",
            ),
            Expectation(
                "ExpectColumnValuesToBeInSet",
                {"column": "mask_size", "value_set": [f"{card.picture.height}x{card.picture.width}"]},
                "error",
                "every mask has its image's size",
            ),
            Expectation(
                "ExpectColumnValuesToBeBetween",
                {"column": "mask_max", "min_value": 1, "mostly": 0.95},
                "warning",
                "masks show something besides background",
            ),
        ]

    def layout(self, card: DatasetCard) -> Layout:
        return Layout((card.picture.height, card.picture.width), np.dtype(np.uint8))

    def arrays(self, column: pa.Array, card: DatasetCard) -> npt.NDArray[Any]:
        spec = card.picture
        masks: list[png.Pixels] = []
        for row, mask in enumerate(png.decode_masks(column)):
            if mask is None or mask.shape != (spec.height, spec.width):
                received = "bytes that are none" if mask is None else f"one of {mask.shape[1]}×{mask.shape[0]}"
                raise UnreadableTargetError(row, f"expected a mask of {spec.width}×{spec.height}, received {received}")
            masks.append(mask)
        return np.stack(masks) if masks else np.empty((0, spec.height, spec.width), dtype=np.uint8)

    def summary(self, arrays: npt.NDArray[Any], card: DatasetCard) -> dict[str, npt.NDArray[Any]]:
        """Of each class its share of the pixels, of those that are not ignored."""
        shares = {f"share_{name}": (arrays == index).mean(axis=(1, 2)) for index, name in enumerate(card.classes)}
        ignored = ignored_of(card.target)
        if ignored is None:
            return shares
        judged = np.maximum((arrays != ignored).mean(axis=(1, 2)), 1.0 / max(1, arrays[:1].size))
        return {name: share / judged for name, share in shares.items()}

    def described(self, classes: Sequence[str], about: Mapping[str, Any]) -> str:
        beside = "" if ignored_of(about) is None else " and pixels of none, which are ignored"
        return f"in {len(classes):,} class{'' if len(classes) == 1 else 'es'}{beside}"

    def digests(self, column: pa.Array, classes: tuple[str, ...] | None) -> pa.Array:
        return pa.array(list(_digests(column, classes)), pa.binary())

    def drawn(self, picture: Image.Image, target: Any, about: Mapping[str, Any]) -> Image.Image:
        (mask,) = png.decode_masks(pa.array([target], pa.binary()))
        return picture if mask is None or mask.shape != picture.size[::-1] else self.marked(picture, mask, about)

    def marked(self, picture: Image.Image, target: npt.NDArray[Any], about: Mapping[str, Any]) -> Image.Image:
        pixels = np.asarray(picture.convert("RGB"), dtype=np.float32)
        colours = np.array([(0, 0, 0), *(colour(number - 1) for number in range(1, 256))], dtype=np.float32)
        shade = np.where(target[..., None] > 0, _SHADE, 0.0)
        if (ignored := ignored_of(about)) is not None:
            colours[ignored] = _GREY
            rows, columns = np.indices(target.shape)
            lines = (target == ignored) & ((rows + columns) % _HATCH == 0)
            shade[lines] = 1.0
        return Image.fromarray((pixels * (1 - shade) + colours[target] * shade).astype(np.uint8))

    def colours(self, classes: Sequence[str], about: Mapping[str, Any]) -> dict[str, tuple[int, int, int]]:
        found = {name: colour(number - 1) for number, name in enumerate(classes) if number > 0}
        return found if ignored_of(about) is None else {**found, IGNORED: _GREY}


TARGET = Mask()


def ignored_of(about: Mapping[str, Any]) -> int | None:
    """The value of pixels that are ignored, by what a source says about its masks or a card keeps of them; or None."""
    value: int | None = about.get("ignore")
    return value


def foreground(counts: Numbers) -> int:
    """The class that covers most, by the pixels of each, `(C,)`; the background is 0 and counts only alone."""
    return 1 + int(counts[1:].argmax()) if counts[1:].any() else 0


def _stored(masks: Iterable[png.Pixels | None]) -> pa.Array:
    return pa.array([None if mask is None else png.encode(mask[None])[0].as_py() for mask in masks], pa.binary())


def _of_size(mask: png.Pixels | None, own: Size | None, size: Size, fit: Fit, around: int) -> png.Pixels | None:
    if mask is None or own not in (None, mask.shape[::-1]):
        return mask
    height, width = mask.shape
    return png.place_mask(mask, decoding.place((width, height), size, fit), around)


def _digests(masks: pa.Array, classes: tuple[str, ...] | None) -> Iterator[bytes | None]:
    """SHA-256 of the bytes; where classes have other numbers in the other version, of the classes' names by pixel."""
    if classes is None:
        for mask in masks:
            yield None if mask.as_py() is None else hashlib.sha256(mask.as_buffer()).digest()
        return
    for pixels in png.decode_masks(masks):
        yield None if pixels is None else _named(pixels, classes)


def _named(pixels: png.Pixels, classes: tuple[str, ...]) -> bytes:
    """Classes in order of their names, whatever their numbers; pixels of undeclared ones in order of these."""
    known = {int(value): classes[value] if value < len(classes) else UNDECLARED for value in np.unique(pixels)}
    total = hashlib.sha256(repr(pixels.shape).encode())
    for value, name in sorted(known.items(), key=lambda each: (each[1], each[0])):
        total.update(hashlib.sha256(name.encode() + np.packbits(pixels == value).tobytes()).digest())
    return total.digest()
