"""A split of a `Dataset` → arrays in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from components.artifacts import Dataset, InputSpec, Split
from components.data import images
from components.data.errors import DataError


@dataclass(frozen=True)
class Arrays:
    """N samples in their stored order."""

    ids: npt.NDArray[np.str_]
    images: npt.NDArray[np.uint8]  # (N, H, W, C)
    targets: npt.NDArray[Any]  # int64 (N,), or uint8 (N, H, W)
    groups: dict[str, npt.NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.ids)


def load_split(dataset: Dataset, split: Split, limit: int | None = None, seed: int = 0) -> Arrays:
    """The split's samples; with `limit`, a seeded random subset of at most that many, order kept.

    Raises DataError naming the sample whose image or mask cannot be decoded or has another size than declared.
    """
    card = dataset.card
    table = dataset.table(split, ["id", "image", "target", *card.groups])
    if limit is not None and limit < len(table):
        chosen = np.sort(np.random.default_rng(seed).choice(len(table), size=limit, replace=False))
        table = table.take(pa.array(chosen))
    ids = np.array(table.column("id").to_pylist(), dtype=np.str_)
    return Arrays(
        ids=ids,
        images=_decode_column(table.column("image"), ids, card.input),
        targets=_targets(table.column("target"), ids, card.input),
        groups={name: np.array(table.column(name).to_pylist(), dtype=np.str_) for name in card.groups},
    )


def decode_image(content: bytes, spec: InputSpec, *, resize: bool = False) -> npt.NDArray[np.uint8]:
    """One encoded image as `(H, W, C)` uint8.

    With `resize`, any image is converted as `prepare` would; without, one of another size or colour raises DataError.
    """
    image = images.open_image(content)
    if resize and image.size != (spec.width, spec.height):
        image = image.resize((spec.width, spec.height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    if image.size != (spec.width, spec.height) or not (resize or image.mode in images.LOSSLESS[spec.channels]):
        raise DataError(
            f"expected an image of {spec.width}×{spec.height} in mode {images.MODE[spec.channels]}, "
            f"received {image.width}×{image.height} in mode {image.mode}"
        )
    return images.to_array(images.convert(image, spec.channels))


def _decode_column(column: pa.ChunkedArray, ids: npt.NDArray[np.str_], spec: InputSpec) -> npt.NDArray[np.uint8]:
    decoded = np.empty((len(column), spec.height, spec.width, spec.channels), dtype=np.uint8)
    at = 0
    for chunk in column.chunks:
        rows = slice(at, at + len(chunk))
        at += len(chunk)
        stored = images.decode_stored(chunk)
        if stored is not None and stored.shape[1:] == decoded.shape[1:]:
            decoded[rows] = stored
        elif len(chunk):
            named = list(zip(ids[rows], chunk.to_pylist(), strict=True))
            decoded[rows] = images.in_threads(lambda item: _decode_named(item[0], item[1], spec), named)
    return decoded


def _decode_named(sample: str, content: bytes, spec: InputSpec) -> npt.NDArray[np.uint8]:
    try:
        return decode_image(content, spec)
    except DataError as error:
        raise DataError(f"{sample}: {error}") from None


def _targets(column: pa.ChunkedArray, ids: npt.NDArray[np.str_], spec: InputSpec) -> npt.NDArray[Any]:
    if pa.types.is_integer(column.type):
        labels: npt.NDArray[np.int64] = column.to_numpy().astype(np.int64)
        return labels
    masks: list[images.Pixels] = []
    for sample, mask in zip(ids, (mask for chunk in column.chunks for mask in images.decode_masks(chunk)), strict=True):
        if mask is None or mask.shape != (spec.height, spec.width):
            received = "bytes that are none" if mask is None else f"one of {mask.shape[1]}×{mask.shape[0]}"
            raise DataError(f"{sample}: expected a mask of {spec.width}×{spec.height}, received {received}")
        masks.append(mask)
    return np.stack(masks) if masks else np.empty((0, spec.height, spec.width), dtype=np.uint8)
