"""Pictures of a prepared data set for people: a few of each part, and those of given ids, as data URIs.

Reads as few shards as it can: of each part the first that has some, of ids those that hold them.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from components import decoding
from components.artifacts import Dataset, DatasetCard, Split
from components.targets import registry as targets
from components.targets.protocol import TargetKind

SIDE = 96  # pixels: what a page shows; smaller pictures are enlarged by whoever shows them
BUDGET = 2**30  # bytes of shards that are read for single pictures: seconds, on a disk
_LOSSLESS = 64  # pixels: below, PNG is as small as JPEG and shows every pixel as it is


@dataclass(frozen=True)
class Picture:
    """One sample, small. `uri` is None where its image cannot be decoded."""

    id: str
    uri: str | None
    target: str = ""


def of_parts(dataset: Dataset, parts: Iterable[str], each: int, split: Split = "train") -> dict[str, list[Picture]]:
    """At most `each` samples of every part named: a class, or a range of a value.

    They are chosen by the digest of their ids: the same ones every time.
    """
    kind = targets.of(dataset)
    every = kind.parts(dataset.card)
    wanted = {every.index(name): name for name in parts}
    result: dict[str, list[Picture]] = {name: [] for name in wanted.values()}
    for shard in dataset.shards(split):
        missing = {number: each - len(result[name]) for number, name in wanted.items() if len(result[name]) < each}
        if not missing:
            break
        chosen = _choose(shard, missing, kind, dataset.card)
        if not chosen:
            continue
        rows = sorted({row for picked in chosen.values() for row in picked})
        pictures = dict(zip(rows, _pictures(shard, rows, kind, dataset.card), strict=True))
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
        result |= {picture.id: picture for picture in _pictures(shard, rows, targets.of(dataset), dataset.card)}
    return result


def thumbnail(content: bytes, drawn: Callable[[Image.Image], Image.Image] = lambda picture: picture) -> str | None:
    """A data URI of the image, at most `SIDE` pixels a side, as `drawn` makes it; None where it is not decodable."""
    try:
        picture = decoding.decode(content, frames="first").image
    except decoding.UndecodableError:
        return None
    picture = drawn(picture)
    picture.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    if max(picture.size) <= _LOSSLESS:
        picture.save(stream, "PNG", optimize=True)
        kind = "png"
    else:
        picture.save(stream, "JPEG", quality=82)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _choose(shard: Path, missing: Mapping[int, int], kind: TargetKind, card: DatasetCard) -> dict[int, list[int]]:
    """Part → rows of the shard."""
    table = pq.read_table(shard, columns=["id", "target"])
    ids = table.column("id").to_pylist()
    found: dict[int, list[int]] = {number: [] for number in missing}
    shown = kind.parted(table.column("target").combine_chunks(), card)
    for row, number in zip(shown.rows.tolist(), shown.classes.tolist(), strict=True):
        if number in found:
            found[number].append(row)
    order = {number: sorted(rows, key=lambda row: _digest(ids[row])) for number, rows in found.items()}
    return {number: rows[: missing[number]] for number, rows in order.items() if rows}


def _pictures(shard: Path, rows: list[int], kind: TargetKind, card: DatasetCard) -> list[Picture]:
    table = pq.read_table(shard, columns=["id", "image", "target"]).take(pa.array(rows))
    names = kind.names(table.column("target").combine_chunks(), card.classes).to_pylist()
    drawn = partial(kind.drawn, about=card.target)
    return [
        Picture(str(row["id"]), thumbnail(row["image"], partial(drawn, target=row["target"])), name or "")
        for row, name in zip(table.to_pylist(), names, strict=True)
    ]


def _digest(name: str) -> bytes:
    return hashlib.sha1(name.encode(), usedforsecurity=False).digest()
