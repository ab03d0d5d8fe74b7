"""What `ingest` wrote → the `Dataset` in `.convoy/data/prepared/NAME`: inputs in their declared form, facts, splits.

Rows stream through; what stays in memory is a few words a sample. Nothing is judged here (`facts` describes,
validation judges), but what inspection has decided to drop is obeyed, and listed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from components.artifacts import SPLITS, Dataset, DatasetCard
from components.config import ChecksDeclaration, DatasetConfig
from components.data.errors import DataError
from components.data.families import leaks, learnt, moves
from components.data.inspection.base.findings import Decisions
from components.data.preparing.ingest import RawCard, raw_tables
from components.data.preparing.shards import SHARD_ROWS, ShardWriter
from components.data.preparing.splits import assign, assign_folds
from components.data.processes import in_processes, inside
from components.data.sources.base.form import agreed
from components.files import replacing
from components.inputs import png
from components.inputs import registry as inputs
from components.inputs.protocol import Described, InputKind, Size
from components.targets import registry as targets
from components.targets.protocol import TargetKind
from components.targets.strata import Strata

DROPPED = "dropped"
NO_FOLD = -1
MANY = 30_000  # inputs from which on starting processes (a second each) costs less than it saves


Describe = Callable[[Path, DatasetConfig, RawCard], Iterable[tuple[pa.Table, Described]]]


def schema(given: InputKind, target: str, groups: tuple[str, ...], *, folds: bool = False) -> pa.Schema:
    """The columns of a prepared shard."""
    return pa.schema(
        [
            ("id", pa.string()),
            (given.name, given.stored),
            ("target", targets.get(target).stored),
            *[(group, pa.string()) for group in groups],
            ("split", pa.string()),
            *([("fold", pa.int8())] if folds else []),
            *given.facts,
        ]
    )


def prepare(
    name: str,
    config: DatasetConfig,
    raw: Path,
    folder: Path,
    decisions: Decisions | None = None,
    *,
    describe: Describe | None = None,
) -> Dataset:
    """Write the data set into `folder`, in one move. Raises DataError where the splits cannot be drawn.

    What `decisions` drop goes into `dropped-*.parquet` and `DatasetCard.dropped`; it belongs to no split. Families of
    twins stay together where splits are drawn; what is done about those in several is said by `checks.leakage`.
    `describe` yields the raw rows without their inputs, in order, and what became of those; it decodes them by default.
    """
    card = RawCard.load(raw)
    agreed(config, card.given)
    given, kind, classes = inputs.get(config.input_kind), targets.get(card.target), config.classes or card.classes
    layout = _lay_out(raw, card, config, decisions or Decisions())
    gathered = given.gathering(config.declared)
    columns = schema(given, card.target, card.groups, folds=config.split.folds is not None)
    with replacing(folder) as temporary:
        with ExitStack() as stack:
            parts = (*SPLITS, *((DROPPED,) if layout.dropped else ()))
            writers = {part: stack.enter_context(ShardWriter(temporary, part, columns, given.name)) for part in parts}
            at = 0
            for rows, described in (describe or _described)(raw, config, card):
                members, folds = layout.rows(at, len(rows))
                at += len(rows)
                gathered.add(described, members == "train")
                table = pa.table(
                    {
                        "id": rows.column("id"),
                        given.name: described.stored,
                        "target": _renamed(rows.column("target"), kind, card, classes),
                        **{group: rows.column(group) for group in card.groups},
                        "split": pa.array(members, pa.string()),
                        "fold": pa.array(folds, pa.int8()),
                        **described.facts,
                    }
                ).select(columns.names)
                for part, writer in writers.items():
                    writer.add(table.filter(pa.array(members == part)))
        written = DatasetCard(
            name=name,
            task=config.task,
            classes=classes,
            groups=card.groups,
            input=gathered.spec(),
            target=kind.record(
                card.about, _targets_of(raw, layout, {"train"}), _targets_of(raw, layout, {*SPLITS} - {"train"})
            ),
            splits={split: writers[split].rows for split in SPLITS},
            fingerprint=card.fingerprint,
            folds=config.split.folds,
            dropped=layout.dropped,
            moved=layout.moved,
            twins=layout.twins,
        )
        (temporary / "dataset.json").write_text(written.to_json(), encoding="utf-8")
    return Dataset.load(folder)


# -- who goes where --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """A split (or `dropped`) and a fold for every row, in the order of the raw rows."""

    members: npt.NDArray[np.str_]
    folds: npt.NDArray[np.int8]
    dropped: dict[str, str]
    moved: dict[str, str]
    twins: dict[str, str]

    def rows(self, start: int, count: int) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int8]]:
        return self.members[start : start + count], self.folds[start : start + count]


def _lay_out(raw: Path, card: RawCard, config: DatasetConfig, decisions: Decisions) -> _Layout:
    columns = _read_columns(raw, card, config)
    ids, strata = columns["id"], columns["strata"]
    split = config.split
    groups = columns.get(split.group) if split.group else None
    shown = inputs.get(config.input_kind).shown
    # Before anything is dropped: the other samples stay where they are.
    splits = assign(
        ids,
        strata,
        columns["published"],
        split,
        groups=groups,
        times=columns.get("time"),
        families=decisions.twins,
        labels=columns["labels"] or None,
        shown=shown,
    )
    concerned = {*decisions.drop, *decisions.verdicts, *(name for family in decisions.twins for name in family)}
    whole = groups is not None and config.checks.leakage == "move"  # groups go along with what is moved
    place: dict[str, str] = {name: where for name, where in zip(ids, splits, strict=True) if whole or name in concerned}
    alike = f"all but the same {shown}"
    dropped = _dropped(place, decisions, config.checks, alike)
    left = {name: where for name, where in place.items() if name not in dropped}
    moved = _moved(left, decisions, config.checks, alike, dict(zip(ids, groups or (), strict=True)) if whole else None)
    left |= {name: where for name, (where, _) in moved.items()}
    members = np.array(
        [DROPPED if name in dropped else left.get(name, where) for name, where in zip(ids, splits, strict=True)]
    )
    folds = np.full(len(ids), NO_FOLD, dtype=np.int8)
    if split.folds is not None:
        train = np.flatnonzero(members == "train").tolist()
        folds[train] = assign_folds(
            [ids[index] for index in train],
            [strata[index] for index in train],
            split.folds,
            split.seed,
            groups=None if groups is None else [groups[index] for index in train],
            families=decisions.twins if split.twins == "together" else (),
            labels=[columns["labels"][index] for index in train] if columns["labels"] else None,
            shown=shown,
        )
    return _Layout(
        members,
        folds,
        dropped,
        moved={name: why for name, (_, why) in moved.items()},
        twins=learnt(decisions.twins, left),
    )


def _read_columns(raw: Path, card: RawCard, config: DatasetConfig) -> dict[str, list[Any]]:
    """What the splits depend on, a value a row; no input is read."""
    group = config.split.group
    if group is not None and group not in card.groups:
        raise DataError(
            f"split.group: expected one of the source's groups ({', '.join(card.groups) or 'it has none'}), "
            f"received {group!r}; correct it in params.yaml"
        )
    names = ["id", "published", *([group] if group else []), *(["time"] if card.time else [])]
    columns: dict[str, list[Any]] = {name: [] for name in names}
    strata = Strata()
    for table in raw_tables(raw, [*names, "target"]):
        for name in names:
            columns[name] += table.column(name).to_pylist()
        strata.add(targets.get(card.target).shown(table.column("target").combine_chunks(), len(card.classes)))
    return {**columns, "strata": strata.found(), "labels": strata.labels or []}


def _dropped(place: Mapping[str, str], decisions: Decisions, checks: ChecksDeclaration, alike: str) -> dict[str, str]:
    """Id → why. Of twins in two splits the one that is learnt from leaves, so that the other stays a fair question."""
    dropped = {name: why for name, why in decisions.drop.items() if place.get(name) == "train"}
    dropped |= {name: why for name, why in decisions.verdicts.items() if name in place}
    if checks.leakage == "drop":
        left = {name: split for name, split in place.items() if name not in dropped}
        for name, twin in leaks(decisions.twins, left).items():
            dropped[name] = f"{alike} as {twin}, which is in the {place[twin]} split"
    return dropped


def _moved(
    place: Mapping[str, str],
    decisions: Decisions,
    checks: ChecksDeclaration,
    alike: str,
    groups: Mapping[str, str] | None,
) -> dict[str, tuple[str, str]]:
    """Id → the split it goes to, and why: that of its latest twin, and with it its group where groups stay together."""
    if checks.leakage != "move":
        return {}
    own = leaks(decisions.twins, place)
    known = None if groups is None else {name: groups[name] for name in place}
    moved = {}
    for name, other in moves(decisions.twins, place, known).items():
        what = f"{alike} as {own[name]}" if name in own else "it goes with its group"
        moved[name] = (place[other], f"{place[name]} → {place[other]}: {what}")
    return moved


def _targets_of(raw: Path, layout: _Layout, splits: Collection[str]) -> Iterator[pa.Array]:
    """The targets of some splits, some rows at a time."""
    at = 0
    for table in raw_tables(raw, ["target"]):
        members, _ = layout.rows(at, len(table))
        at += len(table)
        yield table.column("target").combine_chunks().filter(pa.array(np.isin(members, sorted(splits))))


# -- rows ------------------------------------------------------------------------------------------------------------


def _described(raw: Path, config: DatasetConfig, card: RawCard) -> Iterator[tuple[pa.Table, Described]]:
    """The raw rows without their inputs, in order, and what became of these; masks in their images' size.

    Many inputs are described by one process a core: of small ones, Python's share of the work is most of it.
    """
    step = min(SHARD_ROWS, inputs.get(config.input_kind).rows(config.declared))
    parts = [
        _Part(shard, group, start, step, config.input_kind, config.declared, card.target, card.about)
        for shard in sorted(raw.glob("raw-*.parquet"))
        for group, rows in enumerate(_group_sizes(shard))
        for start in range(0, rows, step)
    ]
    if card.samples < MANY:
        yield from map(_describe_part, parts)
    else:
        yield from in_processes(_describe_part, parts)


@dataclass(frozen=True)
class _Part:
    """Some rows of a row group of a raw shard."""

    shard: Path
    group: int
    start: int
    rows: int
    given: str  # the kind of input
    declared: Any
    target: str  # the kind
    about: Mapping[str, Any]  # what the source says about its targets


def _group_sizes(shard: Path) -> list[int]:
    about = pq.read_metadata(shard)
    return [about.row_group(group).num_rows for group in range(about.num_row_groups)]


def _describe_part(part: _Part) -> tuple[pa.Table, Described]:
    with pq.ParquetFile(part.shard) as shard:
        table = shard.read_row_group(part.group).slice(part.start, part.rows)
    given = inputs.get(part.given)
    alone = table.column(given.name).combine_chunks()
    each = map if inside() else png.in_threads  # a process of many needs no threads beside it
    rest = table.drop_columns([given.name]).combine_chunks()
    sizes = given.sizes(alone, part.declared)
    if sizes is not None:
        rest = fitted(rest, part.target, sizes, part.declared, part.about)
    return rest, given.describe(alone, part.declared, each)


def fitted(
    rows: pa.Table, target: str, pictures: Iterable[Size | None], declared: Any, about: Mapping[str, Any]
) -> pa.Table:
    """The rows with their targets as they are when the pictures, of these sizes, have been brought to the declared one.

    A picture's size is `(width, height)`, None of what is no picture; `declared` is an `ImageDeclaration`, and `about`
    what the source says about its targets.
    """
    place = rows.schema.get_field_index("target")
    size = (declared.width, declared.height)
    column = targets.get(target).fitted(rows.column("target").combine_chunks(), pictures, size, declared.fit, about)
    return rows.set_column(place, "target", column)


def _renamed(column: pa.ChunkedArray, kind: TargetKind, card: RawCard, declared: tuple[str, ...]) -> pa.Array:
    """Targets that index the declared classes, matched by name; a class that is not declared becomes unknown."""
    values = column.combine_chunks()
    return values if card.classes == declared else kind.renamed(values, card.classes, declared, card.about)
