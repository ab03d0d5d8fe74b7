"""Pictures of a prepared data set for people: a few of each class, and those of given ids, as data URIs.

Reads as few shards as it can: of each class the first that has some, of ids those that hold them.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from components import decoding
from components.artifacts import Dataset, Split
from components.data import images

SIDE = 96  # pixels: what a page shows; smaller pictures are enlarged by whoever shows them
BUDGET = 2**30  # bytes of shards that are read for single pictures: seconds, on a disk
_LOSSLESS = 64  # pixels: below, PNG is as small as JPEG and shows every pixel as it is
_SHADE = 0.45  # of a mask's colour over its image
# Okabe and Ito's colours and three of Tol's, told apart by colour-blind people too; the background is left as it is.
PALETTE = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
    *((136, 34, 85), (153, 153, 51), (170, 170, 221)),
)


@dataclass(frozen=True)
class Picture:
    """One sample, small. `uri` is None where its image cannot be decoded."""

    id: str
    uri: str | None
    target: str = ""


def colour(number: int) -> tuple[int, int, int]:
    """Of a class in a mask; the first class is the background."""
    return PALETTE[(number - 1) % len(PALETTE)]


def are_masks(dataset: Dataset) -> bool:
    """Whether targets are masks."""
    return not pa.types.is_integer(pq.read_schema(dataset.shards("train")[0]).field("target").type)


def of_classes(dataset: Dataset, classes: Iterable[str], each: int, split: Split = "train") -> dict[str, list[Picture]]:
    """At most `each` samples of every class named, chosen by the digest of their ids: the same ones every time."""
    wanted = {dataset.card.classes.index(name): name for name in classes}
    result: dict[str, list[Picture]] = {name: [] for name in wanted.values()}
    for shard in dataset.shards(split):
        missing = {number: each - len(result[name]) for number, name in wanted.items() if len(result[name]) < each}
        if not missing:
            break
        chosen = _choose(shard, missing)
        if not chosen:
            continue
        rows = sorted({row for picked in chosen.values() for row in picked})
        pictures = dict(zip(rows, _pictures(shard, rows, dataset.card.classes), strict=True))
        for number, picked in chosen.items():
            result[wanted[number]] += [pictures[row] for row in picked]
    return result


def of_ids(dataset: Dataset, ids: Iterable[str]) -> dict[str, Picture]:
    """The samples named, as far as they are there and within `BUDGET`: those that were dropped, too."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    holding: list[tuple[Path, list[int]]] = []
    for shard in sorted(dataset.folder.glob("*.parquet")):
        names = pq.read_table(shard, columns=["id"]).column("id")
        rows = np.flatnonzero(pa.compute.is_in(names, value_set=wanted).to_numpy()).tolist()
        if rows:
            holding.append((shard, rows))
    result: dict[str, Picture] = {}
    spent = 0
    for shard, rows in sorted(holding, key=lambda each: -len(each[1])):
        spent += shard.stat().st_size
        if spent > BUDGET and result:
            break
        result |= {picture.id: picture for picture in _pictures(shard, rows, dataset.card.classes)}
    return result


def thumbnail(content: bytes, mask: bytes | None = None) -> str | None:
    """A data URI of the image, at most `SIDE` pixels a side, its mask laid over it; None where it is not decodable."""
    try:
        picture = decoding.decode(content, frames="first").image
    except decoding.UndecodableError:
        return None
    if mask is not None:
        picture = _shaded(picture.convert("RGB"), mask)
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    if max(picture.size) <= _LOSSLESS:
        picture.save(stream, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(stream, "JPEG", quality=82)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _shaded(picture: Image.Image, mask: bytes) -> Image.Image:
    (classes,) = images.decode_masks(pa.array([mask], pa.binary()))
    pixels = np.asarray(picture, dtype=np.float32)
    if classes is None or classes.shape != pixels.shape[:2]:
        return picture
    colours = np.array([(0, 0, 0), *(colour(number) for number in range(1, 256))], dtype=np.float32)[classes]
    shade = np.where(classes[..., None] > 0, _SHADE, 0.0)
    return Image.fromarray((pixels * (1 - shade) + colours * shade).astype(np.uint8))


def _choose(shard: Path, missing: Mapping[int, int]) -> dict[int, list[int]]:
    """Class → rows of the shard."""
    table = pq.read_table(shard, columns=["id", "target"])
    ids = table.column("id").to_pylist()
    found: dict[int, list[int]] = {number: [] for number in missing}
    for row, shown in enumerate(_shown(table.column("target"))):
        for number in shown:
            if number in found:
                found[number].append(row)
    order = {number: sorted(rows, key=lambda row: _digest(ids[row])) for number, rows in found.items()}
    return {number: rows[: missing[number]] for number, rows in order.items() if rows}


def _shown(targets: pa.ChunkedArray) -> Iterator[list[int]]:
    if pa.types.is_integer(targets.type):
        yield from ([] if number is None else [number] for number in targets.to_pylist())
        return
    for chunk in targets.chunks:
        yield from (
            [] if mask is None else np.flatnonzero(images.class_counts(mask)).tolist()
            for mask in images.decode_masks(chunk)
        )


def _pictures(shard: Path, rows: list[int], classes: tuple[str, ...]) -> list[Picture]:
    table = pq.read_table(shard, columns=["id", "image", "target"]).take(pa.array(rows))
    return [_picture(row, classes) for row in table.to_pylist()]


def _picture(row: Mapping[str, object], classes: tuple[str, ...]) -> Picture:
    target = row["target"]
    mask = target if isinstance(target, bytes) else None
    named = classes[target] if isinstance(target, int) and 0 <= target < len(classes) else ""
    return Picture(str(row["id"]), thumbnail(row["image"], mask), named)  # type: ignore[arg-type]


def _digest(name: str) -> bytes:
    return hashlib.sha1(name.encode(), usedforsecurity=False).digest()
