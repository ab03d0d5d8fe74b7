"""Images' bytes → the bytes to store, in the declared form, and facts about each.

Nothing is judged here: an image that cannot be decoded or is not what was declared is kept and described, so that
validation can name it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components import decoding
from components.artifacts import ImageSpec
from components.config import ImageDeclaration
from components.inputs import png
from components.inputs.protocol import Described, Each

_BLOCK = 2**18  # pixels that are summed at a time: what fits into a core's cache

FACTS = [
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("mode", pa.string()),
    ("decodable", pa.bool_()),
    ("problem", pa.string()),
    ("pixels_sha256", pa.string()),
    ("mean", pa.float64()),
    ("std", pa.float64()),
]


@dataclass(frozen=True)
class Pictured(Described):
    """N images, and exact sums over the pixels of each.

    `total` and `squares` are `(N, C)` sums of the pixels and of their squares, `pixels` `(N,)` how many there are; all
    zero where an image is not as declared.
    """

    total: npt.NDArray[np.int64]
    squares: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Decoded:
    """One image in the declared form."""

    pixels: png.Pixels  # (H, W, C)
    kept: bool  # the original bytes are what is stored


Decode = Callable[[bytes | None], "_Decoded | dict[str, Any]"]  # the facts of what is not as declared


def describe(column: pa.Array, declared: ImageDeclaration, each: Each = png.in_threads) -> Pictured:
    """Describe encoded images. `each` decodes them: in a few threads, or by `map` where processes share the work.

    The original bytes are kept where they already are what was declared. Otherwise the image is converted, if nothing
    is lost or if the declaration says `resize`; what may not be converted is kept for validation to refuse.
    """
    shape = (declared.height, declared.width, declared.channels)
    packed = png.decode_stored(column)
    if packed is not None and packed.shape[1:] == shape:
        return _described(column, packed, np.ones(len(packed), dtype=bool), {})
    contents: list[bytes | None] = column.to_pylist()
    form = decoding.Form.of(declared.model_dump())
    batch = np.zeros((len(contents), *shape), dtype=np.uint8)
    usable, converted = np.zeros((2, len(contents)), dtype=bool)
    unlike: dict[int, dict[str, Any]] = {}
    for index, image in enumerate(each(partial(_decode, form=form), contents)):
        if isinstance(image, _Decoded):
            batch[index], usable[index], converted[index] = image.pixels, True, not image.kept
        else:
            unlike[index] = image
    places = np.flatnonzero(converted)
    encoded = png.encode(batch[places]).to_pylist() if len(places) else []
    for place, content in zip(places.tolist(), encoded, strict=True):
        contents[place] = content
    return _described(pa.array(contents, pa.binary()), batch, usable, unlike)


def foretold(size: tuple[int, int], mode: str, declared: ImageDeclaration | decoding.Form) -> dict[str, Any]:
    """Width, height and mode that an image of this size `(width, height)` and Pillow mode is going to have."""
    if declared.resize:
        return {"width": declared.width, "height": declared.height, "mode": decoding.MODE[declared.channels]}
    lossless = mode in decoding.LOSSLESS[declared.channels]
    return {"width": size[0], "height": size[1], "mode": decoding.MODE[declared.channels] if lossless else mode}


_UNDECODABLE: dict[str, Any] = {name: None for name, _ in FACTS} | {"decodable": False}


def _described(
    stored: pa.Array, batch: png.Pixels, usable: npt.NDArray[np.bool_], unlike: dict[int, dict[str, Any]]
) -> Pictured:
    """Facts of `(N, H, W, C)` pixels, with those of the images that are not like the others in their places."""
    facts, total, squares = _measure(batch)
    for index, own in unlike.items():
        for name, value in own.items():
            facts[name][index] = value
    typed = {name: pa.array(facts[name], kind, from_pandas=True) for name, kind in FACTS}
    pixels = usable * np.int64(batch.shape[1] * batch.shape[2])
    return Pictured(stored, typed, total * usable[:, None], squares * usable[:, None], pixels)


def _measure(batch: png.Pixels) -> tuple[dict[str, Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Facts of `(N, H, W, C)` images of one size, N values each; and their `_totals`."""
    count, height, width, channels = batch.shape
    total, squares = _totals(batch.reshape(count, height * width, channels))
    pixels = height * width * channels
    summed, squared = total.sum(axis=1), squares.sum(axis=1)
    facts = {
        "width": np.full(count, width, dtype=object),
        "height": np.full(count, height, dtype=object),
        "mode": [decoding.MODE[channels]] * count,
        "decodable": [True] * count,
        "problem": [None] * count,
        "pixels_sha256": [_digest(image, height, width, channels) for image in batch],
        # In [0, 1], from exact sums: the same on every machine.
        "mean": summed / pixels / 255.0,
        "std": np.sqrt((squared * pixels - summed * summed) / (pixels * pixels)) / 255.0,
    }
    return facts, total, squares


def _totals(flat: png.Pixels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Exact sums of `(N, P, C)` pixels and of their squares, `(N, C)` each.

    Whole numbers below 2^53 are exact in float64, in which the processor sums a few times faster than in integers.
    """
    count, pixels, channels = flat.shape
    total, squares = np.zeros((2, count, channels), dtype=np.int64)
    step = max(1, _BLOCK // (pixels * channels))
    for start, first in product(range(0, count, step), range(0, pixels, _BLOCK)):
        rows, some = slice(start, start + step), slice(first, first + _BLOCK)
        for channel in range(channels):
            block = flat[rows, some, channel].astype(np.float64)
            total[rows, channel] += block.sum(axis=1).astype(np.int64)
            squares[rows, channel] += np.einsum("np,np->n", block, block).astype(np.int64)
    return total, squares


@dataclass
class Moments:
    """Exact sums over the training split's pixels, a value a channel: order and batches cannot change them."""

    declared: ImageDeclaration
    pixels: int = 0
    total: npt.NDArray[np.int64] = field(init=False)
    squares: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.total, self.squares = np.zeros((2, self.declared.channels), dtype=np.int64)

    def add(self, described: Described, chosen: npt.NDArray[np.bool_]) -> None:
        if not isinstance(described, Pictured):
            raise TypeError(f"expected images as `describe` has them, received {type(described).__name__}")
        self.pixels += int(described.pixels[chosen].sum())
        self.total += described.total[chosen].sum(axis=0)
        self.squares += described.squares[chosen].sum(axis=0)

    def spec(self) -> ImageSpec:
        declared, count = self.declared, max(self.pixels, 1)
        mean = self.total / count
        deviation = np.sqrt(np.maximum(self.squares / count - mean**2, 0.0))
        deviation[deviation == 0.0] = 255.0  # constant pictures: validation says so, and nobody divides by zero
        return ImageSpec(
            height=declared.height,
            width=declared.width,
            channels=declared.channels,
            mean=tuple(float(value) for value in mean / 255.0),
            std=tuple(float(value) for value in deviation / 255.0),
            resize=declared.resize,
            fit=declared.fit,
            range=declared.range,
            frames=declared.frames,
        )


def _digest(pixels: png.Pixels, height: int, width: int, channels: int) -> str:
    """Of the decoded pixels and their shape: the same picture in another format has the same digest."""
    digest = hashlib.sha256(b"%d %d %d\0" % (height, width, channels))
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _decode(content: bytes | None, form: decoding.Form) -> _Decoded | dict[str, Any]:
    """The image as declared; or the facts of one that is not and may not be brought there, or that is none.

    The pixels of those are let go of at once: nobody has said how large they are.
    """
    try:
        with decoding.opened(content or b"", range=form.range, frames=form.frames) as picture:
            if decoding.unlike(picture, form) is None:
                fitted = decoding.fit(picture.image, form)
                return _Decoded(decoding.to_array(fitted), picture.own and fitted is picture.image)
            mode = picture.header.mode
            own = form._replace(width=picture.image.width, height=picture.image.height)
            lossless = mode in decoding.LOSSLESS[form.channels]
            facts, _, _ = _measure(
                decoding.to_array(decoding.fit(picture.image, own) if lossless else picture.image)[None]
            )
            return {name: values[0] for name, values in facts.items()} | foretold(picture.image.size, mode, form)
    except decoding.UndecodableError as error:
        return _UNDECODABLE | {"problem": str(error)}
