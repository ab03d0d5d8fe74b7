"""What an inspection has found, and what is to be done about it: plain values, and the files they are kept in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from components.artifacts import ArtifactError, Card
from components.files import writing

Kind = Literal[
    "corrupt",  # cannot be read to its end
    "narrow-range",  # 16-bit pictures use a low part of their range only: `id` is the key that says which
    "blank",  # nothing is to be seen in it
    "duplicate",  # the same content as `other`
    "near-duplicate",  # all but the same as `other`
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
    """`decisions.json`: what `prepare` is to do. What is dropped is what the catalogue or a person says."""

    drop: dict[str, str] = Field(default={})  # id → why: it leaves the training split
    verdicts: dict[str, str] = Field(default={})  # id → why: it leaves whichever split it is in, since a person says so
    twins: tuple[tuple[str, ...], ...] = ()  # families of ids, none in two of them: each is to stay in one split

    @classmethod
    def load(cls, folder: Path) -> Decisions:
        return cls.read(folder / "decisions.json")


class Inspection(Card):
    """`inspection.json`: what was looked at, and how much was found."""

    samples: int
    classes: dict[str, int]  # samples a class
    groups: dict[str, dict[str, int]]  # `group_*` → value → samples
    sizes: dict[str, int]  # how large → inputs, the most frequent ones; of pictures `WIDTHxHEIGHT`
    modes: dict[str, int]  # as files hold them → inputs; of pictures Pillow's mode
    found: dict[str, int]  # kind → findings
    unreviewed: tuple[str, ...] = ()  # ids that `review` asks a person about, without a verdict yet
    notes: tuple[str, ...] = ()  # what was left out of the source, and what could not be looked at, and why

    @classmethod
    def load(cls, folder: Path) -> Inspection:
        return cls.read(folder / "inspection.json")


def as_table(found: Iterable[Finding]) -> pa.Table:
    """Columns of `SCHEMA`: kind by kind, the worst first, and what is equally bad in order of id."""
    place = {kind: number for number, kind in enumerate(KINDS)}
    ordered = sorted(found, key=lambda one: (place[one.kind], -one.score, one.id, one.other))
    columns = zip(*ordered, strict=True) if ordered else [[] for _ in SCHEMA]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


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
