"""The tables that expectations speak of: a row a sample, a row a split and class, a row a group column.

Samples come a chunk at a time. What needs all of them at once (copies of an input, samples of one group in two splits)
is counted beforehand over hashes, eight bytes a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from components import spelling
from components.artifacts import SPLITS, Dataset
from components.config import DatasetConfig
from components.data.families import joined, leaks, learnt, moves
from components.data.inspection.base.findings import TWINS, Inspection, load_findings
from components.inputs import registry as inputs
from components.inputs.protocol import InputKind
from components.targets import registry as targets
from components.targets.protocol import TargetKind, Within
from components.tasks import registry as tasks
from components.tasks.protocol import Task

CHUNK_ROWS = 100_000
NAME = "the group's name"  # however it is spelt; no column of the data
_IMAGELESS = 10_000  # masks that are decoded at a time

Codes = npt.NDArray[np.uint64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Across:
    """Twins in several splits, and how many samples each way to deal with them would concern."""

    leaking: frozenset[str]  # ids that have a twin in a later split
    moving: int  # that and later splits would gain, whole groups where they are declared
    judged: int  # test samples with a twin in what is learnt from


@dataclass(frozen=True)
class Tables:
    """What is known of a prepared data set, with what its inspection has found."""

    dataset: Dataset
    config: DatasetConfig
    inspected: Path

    @cached_property
    def given(self) -> InputKind:
        """What an input is."""
        return inputs.of(self.dataset.card)

    @cached_property
    def kind(self) -> TargetKind:
        """What a target is, whatever the task wants."""
        return targets.of(self.dataset)

    @cached_property
    def task(self) -> Task:
        return tasks.get(self.config.task)

    @property
    def fits(self) -> bool:
        """Whether targets are of the task's kind: otherwise the task has nothing that it could speak of."""
        return self.kind.name == self.task.spec.target

    @cached_property
    def inspection(self) -> Inspection:
        return Inspection.load(self.inspected)

    def samples(self) -> Iterator[pd.DataFrame]:
        """At most `CHUNK_ROWS` samples at a time: all columns but inputs, copies, findings, facts of targets."""
        at = 0
        waiting: list[pd.DataFrame] = []
        for split in SPLITS:
            for batch in self.dataset.batches(split, self._columns, rows=_IMAGELESS):
                waiting.append(self._frame(batch, slice(at, at + len(batch))))
                at += len(batch)
                if sum(map(len, waiting)) >= CHUNK_ROWS:
                    yield pd.concat(waiting, ignore_index=True)
                    waiting = []
        if waiting or at == 0:
            yield pd.concat(waiting or [self._empty()], ignore_index=True)

    def counts(self) -> pd.DataFrame:
        """A row a split and class, and a fold and class: how many samples show the class. `id` is `SPLIT/CLASS`.

        `learnt` are those of the training split, and nothing in the rows of the others.
        """
        classes = self.dataset.card.classes
        parts = [*SPLITS, *(f"fold {number}" for number in range(self.dataset.card.folds or 0))]
        total = {part: np.zeros(len(classes), dtype=np.int64) for part in parts}
        columns = ["target", *(["fold"] if self.dataset.card.folds else [])]
        for split in SPLITS:
            for batch in self.dataset.batches(split, columns, rows=_IMAGELESS):
                shown = self.kind.shown(batch.column("target").combine_chunks(), len(classes))
                total[split] += shown.counts(len(classes))
                if self.dataset.card.folds and split == "train":
                    folds = batch.column("fold").to_numpy()
                    for number in range(self.dataset.card.folds):
                        total[f"fold {number}"] += shown.counts(len(classes), folds == number)
        rows = [
            {"id": f"{part}/{name}", "samples": int(count), "learnt": int(count) if part == "train" else None}
            for part, values in total.items()
            for name, count in zip(classes, values, strict=True)
        ]
        return pd.DataFrame(rows)

    def groups(self) -> pd.DataFrame:
        """A row a group column: whether it all but tells the class."""
        confounded = self._found("confounded-group")
        return pd.DataFrame([{"id": name, "confounded": name in confounded} for name in self.dataset.card.groups])

    # -- columns ----------------------------------------------------------------------------------------------------

    @property
    def _columns(self) -> list[str]:
        """All but the inputs, where targets are no places in them: they are the bulk, and told by facts."""
        left = () if isinstance(self.kind, Within) else (self.given.name,)
        return [name for name in self._schema.names if name not in left]

    @cached_property
    def _schema(self) -> pa.Schema:
        return self.dataset.schema

    def _frame(self, batch: pa.Table, rows: slice) -> pd.DataFrame:
        aside = ("target", self.given.name, self.given.digest)
        frame: pd.DataFrame = batch.select([name for name in batch.column_names if name not in aside]).to_pandas()
        frame["target_kind"], kind = self.kind.name, self.kind
        if isinstance(kind, Within):
            kind = kind.beside(batch.column(self.given.name).combine_chunks())
        for name, facts in kind.facts(batch.column("target").combine_chunks(), self.dataset.card).items():
            frame[name] = facts
        for name, values in self._copies.items():
            frame[name] = values[rows]
        for name, ids in self._findings.items():
            frame[name] = frame["id"].isin(ids)
        return frame

    def _empty(self) -> pd.DataFrame:
        return self._frame(self.dataset.table("train", self._columns).slice(0, 0), slice(0, 0))

    @cached_property
    def _copies(self) -> dict[str, Counts]:
        """Of every sample: how often its id and input occur, and in how many splits its input and group do, however
        the group's value is spelt."""
        group, content = self.config.split.group, self.given.digest
        columns = ["id", content, *([group] if group else [])]
        codes: dict[str, list[Codes]] = {name: [] for name in (*columns, *([NAME] if group else []))}
        splits: list[npt.NDArray[np.uint8]] = []
        for number, split in enumerate(SPLITS):
            for batch in self.dataset.batches(split, columns, rows=CHUNK_ROWS):
                splits.append(np.full(len(batch), number, dtype=np.uint8))
                start = sum(map(len, codes["id"]))
                for name in columns:
                    codes[name].append(_codes(batch.column(name), start))
                if group:
                    codes[NAME].append(_codes(_keys(batch.column(group)), start))
        where = np.concatenate(splits) if splits else np.zeros(0, dtype=np.uint8)
        joined = {name: np.concatenate(parts) if parts else np.zeros(0, np.uint64) for name, parts in codes.items()}
        in_split = joined[content] * np.uint64(4) + where  # distinct with the input: 62 bits are enough
        copies = {
            "copies_of_id": _times(joined["id"]),
            "copies_in_split": _times(in_split),
            "splits_with_same_input": _splits_of(joined[content], where),
        }
        if group:
            copies["splits_with_same_group"] = _splits_of(joined[group], where)
            copies["splits_with_same_name"] = _splits_of(joined[NAME], where)
        return copies

    # -- findings ---------------------------------------------------------------------------------------------------

    @cached_property
    def _findings(self) -> dict[str, frozenset[str]]:
        """Column → the ids of which it is true."""
        return {
            "blank": self._found("blank"),
            "outlier": self._found("outlier"),
            "doubtful_label": self._found("label-noise"),
            "twin_in_other_split": self.across.leaking,
            "unreviewed": frozenset(self.inspection.unreviewed),
        }

    @cached_property
    def _table(self) -> pd.DataFrame:
        table: pd.DataFrame = load_findings(self.inspected).select(["kind", "id", "other"]).to_pandas()
        return table

    def _found(self, kind: str) -> frozenset[str]:
        return frozenset(self._table.loc[self._table["kind"] == kind, "id"])

    @cached_property
    def across(self) -> Across:
        """Near-duplicates in several splits; what was dropped is in none."""
        pairs = self._table.loc[self._table["kind"].isin(TWINS), ["id", "other"]]
        families = joined(pairs.itertuples(index=False, name=None))
        wanted = {name for family in families for name in family}
        place = {name: split for name, split, _ in self._places(None) if name in wanted} if wanted else {}
        leaking, group = leaks(families, place), self.config.split.group
        if not leaking:
            return Across(frozenset(), 0, 0)
        moving = len(leaking)
        if group is not None:
            whole = list(self._places(group))
            groups = {name: value for name, _, value in whole if value is not None}
            moving = len(moves(families, {name: split for name, split, _ in whole}, groups))
        judged = sum(place[name] == "test" for name in learnt(families, place))
        return Across(frozenset(leaking), moving, judged)

    def _places(self, group: str | None) -> Iterator[tuple[str, str, str | None]]:
        """Id, split and value of the group of every sample."""
        for split in SPLITS:
            for batch in self.dataset.batches(split, ["id", *([group] if group else [])], rows=CHUNK_ROWS):
                ids = batch.column("id").to_pylist()
                values = batch.column(group).to_pylist() if group else [None] * len(ids)
                yield from zip(ids, [split] * len(ids), values, strict=True)


def _codes(column: pa.ChunkedArray, start: int) -> Codes:
    """A 64-bit hash of each string; a null, which is not known to be a copy, has that of its place in the data."""
    values = column.to_pandas()
    missing = values.isna().to_numpy()
    codes: Codes = pd.util.hash_array(values.to_numpy(dtype=object), categorize=False)
    places = pd.util.hash_array(np.arange(start, start + len(codes), dtype=np.uint64))
    return np.where(missing, places, codes)


def _keys(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """What all spellings of each value have in common."""
    coded = column.combine_chunks().dictionary_encode()
    keys = [spelling.key(value) for value in coded.dictionary.to_pylist()]
    return pa.chunked_array([pa.array(keys, pa.string()).take(coded.indices)])


def _times(codes: Codes) -> Counts:
    """How often each value occurs."""
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    times: Counts = counts[inverse].astype(np.int64)
    return times


def _splits_of(codes: Codes, where: npt.NDArray[np.uint8]) -> Counts:
    """In how many splits each value occurs."""
    unique, inverse = np.unique(codes, return_inverse=True)
    splits = np.zeros(len(unique), dtype=np.int64)
    for number in range(len(SPLITS)):
        present = np.zeros(len(unique), dtype=bool)
        present[inverse[where == number]] = True
        splits += present
    found: Counts = splits[inverse]
    return found
