"""Images' bytes → the bytes to store, in the declared form, and facts about each.

Nothing is judged here: an image that cannot be decoded or is not what was declared is kept and described, so that
validation can name it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components import decoding
from components.config import ImageDeclaration
from components.data import images

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
class Described:
    """N images: what to store of each, its facts by name, and exact sums over its pixels.

    `total` and `squares` are `(N, C)` sums of the pixels and of their squares, `pixels` `(N,)` how many there are; all
    zero where an image is not as declared.
    """

    stored: pa.Array
    facts: dict[str, pa.Array]
    total: npt.NDArray[np.int64]
    squares: npt.NDArray[np.int64]
    pixels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Decoded:
    """One image, as far as it may be brought to the declared form."""

    pixels: images.Pixels  # (H, W, C)
    mode: str
    kept: bool  # the original bytes are what is stored


Decode = Callable[[bytes | None], "_Decoded | str"]  # why it cannot be decoded, where it is none
Mapping = Callable[[Decode, Sequence[bytes | None]], Iterable["_Decoded | str"]]


def describe(column: pa.Array, declared: ImageDeclaration, mapping: Mapping = images.in_threads) -> Described:
    """Describe encoded images. `mapping` decodes them: in a few threads, or by `map` where processes share the work.

    The original bytes are kept where they already are what was declared. Otherwise the image is converted, if nothing
    is lost or if the declaration says `resize`; what may not be converted is kept for validation to refuse.
    """
    shape = (declared.height, declared.width, declared.channels)
    packed = images.decode_stored(column)
    if packed is not None and packed.shape[1:] == shape:
        return _described(column, packed, np.ones(len(packed), dtype=bool), {})
    contents: list[bytes | None] = column.to_pylist()
    form = decoding.Form.of(declared.model_dump())
    decoded = list(mapping(partial(_decode, form=form), contents))
    usable = np.array([not isinstance(image, str) and image.pixels.shape == shape for image in decoded], dtype=bool)
    batch = np.zeros((len(decoded), *shape), dtype=np.uint8)
    unlike: dict[int, dict[str, Any]] = {}
    for index, image in enumerate(decoded):
        if isinstance(image, str):
            unlike[index] = _UNDECODABLE | {"problem": image}
            continue
        if not image.kept:
            contents[index] = None
        if usable[index]:
            batch[index] = image.pixels
            unlike[index] = {"mode": image.mode}  # a mode that may not be converted, for all that its pixels fit
        else:
            facts, _, _ = _measure(image.pixels[None])
            unlike[index] = {name: values[0] for name, values in facts.items()} | {"mode": image.mode}
    _encode_missing(contents, decoded, batch, usable)
    return _described(pa.array(contents, pa.binary()), batch, usable, unlike)


_UNDECODABLE: dict[str, Any] = {name: None for name, _ in FACTS} | {"decodable": False}


def _described(
    stored: pa.Array, batch: images.Pixels, usable: npt.NDArray[np.bool_], unlike: dict[int, dict[str, Any]]
) -> Described:
    """Facts of `(N, H, W, C)` pixels, with those of the images that are not like the others in their places."""
    facts, total, squares = _measure(batch)
    for index, own in unlike.items():
        for name, value in own.items():
            facts[name][index] = value
    typed = {name: pa.array(facts[name], kind, from_pandas=True) for name, kind in FACTS}
    pixels = usable * np.int64(batch.shape[1] * batch.shape[2])
    return Described(stored, typed, total * usable[:, None], squares * usable[:, None], pixels)


def _encode_missing(
    contents: list[bytes | None],
    decoded: Sequence[_Decoded | str],
    batch: images.Pixels,
    usable: npt.NDArray[np.bool_],
) -> None:
    """Fill in the bytes of what was converted, all of one size at once."""
    missing = np.array([content is None for content in contents], dtype=bool)
    same = np.flatnonzero(missing & usable)
    for index, content in zip(same, images.encode(batch[same]).to_pylist() if len(same) else [], strict=True):
        contents[index] = content
    for other in np.flatnonzero(missing & ~usable).tolist():
        image = decoded[other]
        if not isinstance(image, str):
            contents[other] = images.encode(image.pixels[None])[0].as_py()


def _measure(batch: images.Pixels) -> tuple[dict[str, Any], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
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


def _totals(flat: images.Pixels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Exact sums of `(N, P, C)` pixels and of their squares, `(N, C)` each.

    Whole numbers below 2^53 are exact in float64, in which the processor sums a few times faster than in integers.
    """
    count, pixels, channels = flat.shape
    total, squares = np.zeros((2, count, channels), dtype=np.int64)
    step = max(1, _BLOCK // (pixels * channels))
    for start in range(0, count, step):
        rows = slice(start, start + step)
        for channel in range(channels):
            block = flat[rows, :, channel].astype(np.float64)
            total[rows, channel] = block.sum(axis=1)
            squares[rows, channel] = np.einsum("np,np->n", block, block)
    return total, squares


def _digest(pixels: images.Pixels, height: int, width: int, channels: int) -> str:
    """Of the decoded pixels and their shape: the same picture in another format has the same digest."""
    digest = hashlib.sha256(b"%d %d %d\0" % (height, width, channels))
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _decode(content: bytes | None, form: decoding.Form) -> _Decoded | str:
    """The image as declared, as far as that is allowed; or why these bytes are none."""
    try:
        with decoding.opened(content or b"", range=form.range, frames=form.frames) as picture:
            image, mode = picture.image, picture.header.mode
            if not form.resize:
                form = form._replace(width=image.width, height=image.height)
                if mode not in decoding.LOSSLESS[form.channels]:
                    return _Decoded(decoding.to_array(image), mode, kept=True)
            fitted = decoding.fit(image, form)
            kept = picture.own and fitted is image
            return _Decoded(decoding.to_array(fitted), decoding.MODE[form.channels], kept)
    except decoding.UndecodableError as error:
        return str(error)
