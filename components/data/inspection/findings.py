"""What an inspection has found, and what is to be done about it: plain values, and the files they are kept in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from components.artifacts import SPLITS, ArtifactError, Card, writing

Kind = Literal[
    "corrupt",  # cannot be decoded to its end
    "blank",  # of one value, or so nearly that nothing is to be seen
    "duplicate",  # the same pixels as `other`
    "near-duplicate",  # all but the same picture as `other`
    "outlier",  # far from everything else, as an embedding sees it
    "label-noise",  # its label is probably wrong; `other` is the class it looks like
    "missing-group",  # no value in a `group_*` column, which `other` names
    "small-class",  # a class with fewer samples than its splits need: `id` is the class
    "confounded-group",  # a `group_*` column that all but tells the class: `id` is the column
    "spelling",  # a class or a group's value in several spellings: `id` is the most frequent, `other` the column or ""
    "several-labels",  # a class or a group's value that lists several: `id` is it, `other` the column or ""
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]

TWINS: tuple[Kind, ...] = ("duplicate", "near-duplicate")

SCHEMA = pa.schema(
    [
        ("kind", pa.string()),
        ("id", pa.string()),
        ("other", pa.string()),
        ("score", pa.float64()),  # greater is worse; what it means is the kind's own
        ("says", pa.string()),  # a sentence for people
    ]
)


class Finding(NamedTuple):
    """One row of the table of findings."""

    kind: Kind
    id: str
    other: str
    score: float
    says: str


class Decisions(Card):
    """`decisions.json`: what `prepare` is to do. Empty unless the catalogue says `drop` or a person has said so."""

    drop: dict[str, str] = Field(default={})  # id → why: it leaves the training split
    verdicts: dict[str, str] = Field(default={})  # id → why: it leaves whichever split it is in, since a person says so
    twins: tuple[tuple[str, str], ...] = ()  # pairs that may not be in two splits: the training one leaves

    @classmethod
    def load(cls, folder: Path) -> Decisions:
        return cls.read(folder / "decisions.json")


class Inspection(Card):
    """`inspection.json`: what was looked at, and how much was found."""

    samples: int
    classes: dict[str, int]  # samples a class
    groups: dict[str, dict[str, int]]  # `group_*` → value → samples
    sizes: dict[str, int]  # `WIDTHxHEIGHT` → images, the most frequent ones
    modes: dict[str, int]  # Pillow's mode → images
    found: dict[str, int]  # kind → findings
    unreviewed: tuple[str, ...] = ()  # ids that `review` asks a person about, without a verdict yet
    notes: tuple[str, ...] = ()  # what could not be looked at, and why

    @classmethod
    def load(cls, folder: Path) -> Inspection:
        return cls.read(folder / "inspection.json")


def as_table(found: Iterable[Finding]) -> pa.Table:
    """Columns of `SCHEMA`: kind by kind, the worst first, and what is equally bad in order of id."""
    place = {kind: number for number, kind in enumerate(KINDS)}
    ordered = sorted(found, key=lambda one: (place[one.kind], -one.score, one.id, one.other))
    columns = zip(*ordered, strict=True) if ordered else [[] for _ in SCHEMA]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def families(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The samples that pairs of twins join, directly or through others: each family sorted, in order of its first."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for one, other in pairs:
        first, second = sorted((root(one), root(other)))
        parent[second] = first
    gathered: dict[str, list[str]] = {}
    for name in sorted(parent):
        gathered.setdefault(root(name), []).append(name)
    return [gathered[name] for name in sorted(gathered)]


def leaks(pairs: Iterable[tuple[str, str]], splits: Mapping[str, str]) -> dict[str, str]:
    """Samples that have a twin in a later split (train, validation, test), and one such twin.

    Of a family only a tree of pairs is listed, so that one may be in two splits though no pair is: what counts is the
    family. Samples that `splits` does not name (what was dropped) count for nothing, but still join the others.
    """
    found: dict[str, str] = {}
    for family in families(pairs):
        members = [name for name in family if name in splits]
        latest = max((SPLITS.index(splits[name]) for name in members), default=0)
        stays = next((name for name in members if splits[name] == SPLITS[latest]), "")
        found |= {name: stays for name in members if splits[name] != SPLITS[latest]}
    return found


def load_findings(folder: Path) -> pa.Table:
    """The table of findings, columns of `SCHEMA`, the worst of each kind first."""
    path = folder / "findings.parquet"
    try:
        return pq.read_table(path, schema=SCHEMA)
    except (OSError, pa.ArrowInvalid) as error:
        raise ArtifactError(f"{path}: expected a table of findings: {error}") from error


def save_findings(table: pa.Table, folder: Path) -> None:
    with writing(folder / "findings.parquet") as temporary:
        pq.write_table(table.cast(SCHEMA), temporary)
