"""Samples of a prepared data set for people: a few of each part, and those of given ids.

Reads as few shards as it can: of each part the first that has some, of ids those that hold them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import Dataset, DatasetCard, Split
from components.data.card.views.protocol import Look
from components.data.card.views.registry import of_kind
from components.inputs import registry as inputs
from components.targets import registry as targets
from components.targets.protocol import TargetKind

BUDGET = 2**30  # bytes of shards that are read for single samples: seconds, on a disk


@dataclass(frozen=True)
class Sample:
    """One sample, small."""

    id: str
    look: Look
    target: str = ""


def of_parts(dataset: Dataset, parts: Iterable[str], each: int, split: Split = "train") -> dict[str, list[Sample]]:
    """At most `each` samples of every part named: a class, or a range of a value.

    They are chosen by the digest of their ids: the same ones every time.
    """
    kind = targets.of(dataset)
    every = kind.parts(dataset.card)
    wanted = {every.index(name): name for name in parts}
    result: dict[str, list[Sample]] = {name: [] for name in wanted.values()}
    for shard in dataset.shards(split):
        missing = {number: each - len(result[name]) for number, name in wanted.items() if len(result[name]) < each}
        if not missing:
            break
        chosen = _choose(shard, missing, kind, dataset.card)
        if not chosen:
            continue
        rows = sorted({row for picked in chosen.values() for row in picked})
        some = dict(zip(rows, _samples(shard, rows, kind, dataset.card), strict=True))
        for number, picked in chosen.items():
            result[wanted[number]] += [some[row] for row in picked]
    return result


def of_ids(dataset: Dataset, ids: Iterable[str]) -> dict[str, Sample]:
    """The samples named, as far as they are there and within `BUDGET`: those that were dropped, too."""
    wanted = pa.array(sorted(set(ids)), pa.string())
    holding: list[tuple[Path, list[int]]] = []
    for shard in sorted(dataset.folder.glob("*.parquet")):
        names = pq.read_table(shard, columns=["id"]).column("id")
        rows = np.flatnonzero(pa.compute.is_in(names, value_set=wanted).to_numpy()).tolist()
        if rows:
            holding.append((shard, rows))
    result: dict[str, Sample] = {}
    spent = 0
    for shard, rows in sorted(holding, key=lambda each: -len(each[1])):
        spent += shard.stat().st_size
        if spent > BUDGET and result:
            break
        result |= {sample.id: sample for sample in _samples(shard, rows, targets.of(dataset), dataset.card)}
    return result


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


def _samples(shard: Path, rows: list[int], kind: TargetKind, card: DatasetCard) -> list[Sample]:
    view, given = of_kind(card.input.kind)(), inputs.of(card).name
    table = pq.read_table(shard, columns=["id", given, "target"]).take(pa.array(rows))
    answers = table.column("target").to_pylist()
    names = kind.captions(table.column("target").combine_chunks(), card.classes).to_pylist()
    drawn = partial(kind.drawn, about=card.target)
    looks = view.looks(table.column(given).combine_chunks(), answers, drawn)
    ids = table.column("id").to_pylist()
    return [Sample(str(name), look, label or "") for name, look, label in zip(ids, looks, names, strict=True)]


def _digest(name: str) -> bytes:
    return hashlib.sha1(name.encode(), usedforsecurity=False).digest()
