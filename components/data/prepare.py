"""`data/raw/NAME` → the `Dataset` in `data/prepared/NAME`: images in their declared form, facts about each, splits.

Nothing is judged here. An image that cannot be decoded or is not what was declared is kept and described, so that
validation can name it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from components.artifacts import SPLITS, Dataset, DatasetCard, InputSpec, Split, replacing
from components.config import DatasetConfig, ImageDeclaration
from components.data import images
from components.data.ingest import RawCard
from components.data.shards import SHARD_ROWS, ShardWriter
from components.data.splits import assign

UNKNOWN = -1  # the target of a label that `classes:` does not declare
UNKNOWN_PIXEL = 255

_FACTS = [
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("mode", pa.string()),
    ("decodable", pa.bool_()),
    ("pixels_sha256", pa.string()),
    ("mean", pa.float64()),
    ("std", pa.float64()),
]


def schema(target: str, groups: tuple[str, ...]) -> pa.Schema:
    """The columns of a prepared shard."""
    return pa.schema(
        [
            ("id", pa.string()),
            ("image", pa.binary()),
            ("target", pa.int64() if target == "class" else pa.binary()),
            *[(group, pa.string()) for group in groups],
            ("split", pa.string()),
            *_FACTS,
        ]
    )


@dataclass
class _Moments:
    """Exact sums over the training split's pixels, a value a channel: order and batches cannot change them."""

    pixels: int
    total: npt.NDArray[np.int64]
    squares: npt.NDArray[np.int64]

    def add(self, batch: npt.NDArray[np.uint8]) -> None:
        values = batch.reshape(-1, batch.shape[-1]).astype(np.int64)
        self.pixels += len(values)
        self.total += values.sum(axis=0)
        self.squares += (values**2).sum(axis=0)

    def spec(self, declared: ImageDeclaration) -> InputSpec:
        count = max(self.pixels, 1)
        mean = self.total / count
        deviation = np.sqrt(np.maximum(self.squares / count - mean**2, 0.0))
        deviation[deviation == 0.0] = 255.0  # constant pictures: validation says so, and nobody divides by zero
        return InputSpec(
            height=declared.height,
            width=declared.width,
            channels=declared.channels,
            mean=tuple(float(value) for value in mean / 255.0),
            std=tuple(float(value) for value in deviation / 255.0),
        )


def prepare(name: str, config: DatasetConfig, raw: Path, folder: Path) -> Dataset:
    """Write the data set into `folder`, in one move."""
    card = RawCard.load(raw)
    shards = sorted(raw.glob("raw-*.parquet"))
    classes = config.classes or card.classes
    splits = _splits(shards, config, card)
    moments = _Moments(0, *np.zeros((2, config.image.channels), dtype=np.int64))
    columns = schema(card.target, card.groups)
    with replacing(folder) as temporary:
        with ExitStack() as stack:
            writers = {split: stack.enter_context(ShardWriter(temporary, split, columns)) for split in SPLITS}
            at = 0
            for rows in _rows(shards):
                members = np.array(splits[at : at + len(rows)])
                at += len(rows)
                table, pixels = _prepare_rows(rows, config.image, members)
                table = table.set_column(2, "target", _targets(rows.column("target"), card.classes, classes))
                _count(moments, pixels, members)
                for split in SPLITS:
                    writers[split].add(table.filter(pa.array(members == split)).select(columns.names))
        written = DatasetCard(
            name=name,
            task=config.task,
            classes=classes,
            groups=card.groups,
            input=moments.spec(config.image),
            splits={split: writers[split].rows for split in SPLITS},
            fingerprint=card.fingerprint,
        )
        (temporary / "dataset.json").write_text(written.to_json(), encoding="utf-8")
    return Dataset.load(folder)


def _rows(shards: list[Path]) -> Iterator[pa.Table]:
    for shard in shards:
        table = pq.read_table(shard)
        step = SHARD_ROWS
        for start in range(0, len(table), step):
            yield table.slice(start, step).combine_chunks()


def _splits(shards: list[Path], config: DatasetConfig, card: RawCard) -> list[Split]:
    tables = [pq.read_table(shard, columns=["id", "target", "published"]) for shard in shards]
    table = pa.concat_tables(tables).combine_chunks()
    if card.target == "class":
        strata = table.column("target").to_pylist()
    else:
        strata = [_foreground(mask) for mask in images.decode_masks(table.column("target").chunk(0))]
    return assign(table.column("id").to_pylist(), strata, table.column("published").to_pylist(), config.split)


def _foreground(mask: npt.NDArray[np.uint8] | None) -> int:
    """The class that covers most of a mask, the background (0) aside: what dense targets are stratified by."""
    if mask is None:
        return 0
    counts = np.bincount(mask.ravel(), minlength=2)
    return 1 + int(counts[1:].argmax()) if counts[1:].any() else 0


def _count(moments: _Moments, pixels: list[npt.NDArray[np.uint8]], members: npt.NDArray[np.str_]) -> None:
    """Add the training split's images; `pixels` is one array of them all, or one an image (None: not usable)."""
    train = members == "train"
    if isinstance(pixels, np.ndarray):
        moments.add(pixels[train])
        return
    for image in (image for image, counts in zip(pixels, train, strict=True) if counts and image is not None):
        moments.add(image)


def _targets(column: pa.ChunkedArray, source: tuple[str, ...], declared: tuple[str, ...]) -> pa.Array:
    """Targets that index the declared classes, matched by name; a class that is not declared becomes unknown."""
    values = column.combine_chunks()
    if source == declared:
        return values
    number = {name: index for index, name in enumerate(declared)}
    if pa.types.is_integer(values.type):
        lookup = np.array([number.get(name, UNKNOWN) for name in source], dtype=np.int64)
        return pa.array(lookup[values.to_numpy()])
    pixel = np.full(256, UNKNOWN_PIXEL, dtype=np.uint8)
    pixel[: len(source)] = [number.get(name, UNKNOWN_PIXEL) for name in source]
    masks = images.decode_masks(values)
    return pa.array(
        [None if mask is None else images.encode(pixel[mask][None])[0].as_py() for mask in masks], pa.binary()
    )


# -- images and their facts ------------------------------------------------------------------------------------------


def _prepare_rows(rows: pa.Table, declared: ImageDeclaration, members: npt.NDArray[np.str_]) -> tuple[pa.Table, Any]:
    column = rows.column("image").combine_chunks()
    pixels: Any
    stored = images.decode_stored(column)
    shape = (declared.height, declared.width, declared.channels)
    if stored is not None and (stored.shape[1:] == shape):
        prepared, facts, pixels = column, _facts_of_all(stored), stored
    else:
        results = images.in_threads(lambda content: prepare_image(content, declared), column.to_pylist())
        prepared = pa.array([content for content, _, _ in results], pa.binary())
        facts = {key: [fact[key] for _, fact, _ in results] for key, _ in _FACTS}
        pixels = [image if image is not None and image.shape == shape else None for _, _, image in results]
    table = pa.table(
        {
            "id": rows.column("id"),
            "image": prepared,
            "target": rows.column("target"),
            **{name: rows.column(name) for name in rows.column_names if name.startswith("group_")},
            "split": pa.array(members.tolist(), pa.string()),
            **{key: pa.array(facts[key], kind) for key, kind in _FACTS},
        }
    )
    return table, pixels


def _facts_of_all(batch: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """Facts of `(N, H, W, C)` images of one size, at once."""
    count, height, width, channels = batch.shape
    flat = batch.reshape(count, -1)
    total = flat.sum(axis=1, dtype=np.int64)
    squares = np.einsum("ij,ij->i", flat, flat, dtype=np.int64, casting="safe")
    mean, std = _mean_and_std(total, squares, flat.shape[1])
    return {
        "width": np.full(count, width, dtype=np.int32),
        "height": np.full(count, height, dtype=np.int32),
        "mode": [images.MODE[channels]] * count,
        "decodable": np.ones(count, dtype=bool),
        "pixels_sha256": [_digest(image, height, width, channels) for image in flat],
        "mean": mean,
        "std": std,
    }


def _mean_and_std(total: Any, squares: Any, pixels: int) -> tuple[Any, Any]:
    """In [0, 1], from exact sums."""
    variance = (squares * pixels - total * total) / (pixels * pixels)
    return total / pixels / 255.0, np.sqrt(variance) / 255.0


def _digest(pixels: npt.NDArray[np.uint8], height: int, width: int, channels: int) -> str:
    """Of the decoded pixels and their shape: the same picture in another format has the same digest."""
    return hashlib.sha256(b"%d %d %d\0" % (height, width, channels) + pixels.tobytes()).hexdigest()


def prepare_image(
    content: bytes, declared: ImageDeclaration
) -> tuple[bytes, dict[str, Any], npt.NDArray[np.uint8] | None]:
    """Bytes to store, facts, and pixels `(H, W, C)` where there are any.

    The original bytes are kept where they already are what was declared. Otherwise the image is converted, if nothing
    is lost or if the declaration says `resize`; what may not be converted is kept for validation to refuse.
    """
    try:
        image = images.open_image(content)
    except images.UndecodableError:
        return content, dict.fromkeys((key for key, _ in _FACTS), None) | {"decodable": False}, None
    converted = declared_form(image, declared)
    if converted.mode not in images.MODE.values():
        pixels = images.to_array(images.convert(converted, 3))
    else:
        pixels = images.to_array(converted)
        if images.header(content) != (converted.mode, converted.size):
            content = images.encode(pixels[None])[0].as_py()
    height, width, channels = pixels.shape
    flat = pixels.astype(np.int64).ravel()
    mean, std = _mean_and_std(int(flat.sum()), int((flat * flat).sum()), flat.size)
    facts = {
        "width": width,
        "height": height,
        "mode": converted.mode,
        "decodable": True,
        "pixels_sha256": _digest(pixels, height, width, channels),
        "mean": float(mean),
        "std": float(std),
    }
    return content, facts, pixels


def declared_form(image: Image.Image, declared: ImageDeclaration) -> Image.Image:
    """The image as declared, as far as that is allowed."""
    channels = declared.channels
    if image.mode != images.MODE[channels] and (
        declared.resize or (image.mode in images.LOSSLESS[channels] and "transparency" not in image.info)
    ):
        image = images.convert(image, channels)
    if declared.resize and image.size != (declared.width, declared.height):
        image = image.resize((declared.width, declared.height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return image
