"""What was added, removed and changed between two versions of a data set, without looking at an input.

Samples are compared by their `id`, in columns of Arrow: nothing here is slower than a pass over the ids.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from components.artifacts import DatasetCard
from components.data.versions.repository import at_work
from components.data.versions.revisions import Contents, Revision, contents, resolved
from components.data.versions.samples import samples

NONE = "(none)"  # a label that is not declared, a group that is missing


@dataclass(frozen=True)
class Tally:
    """How one class, split or group fared. A sample that changed counts where it is after the change."""

    by: str  # class, split, or a `group_*` column
    value: str
    before: int  # samples
    after: int
    added: int
    removed: int
    changed: dict[str, int]  # samples of which that changed: each of `Difference.changes`


@dataclass(frozen=True)
class Move:
    """Samples that went from one class, split or group to another."""

    by: str
    before: str
    after: str
    samples: int


@dataclass(frozen=True)
class Difference:
    """Two versions compared.

    `rows` has one row per sample that is not the same in both, by `change` and `id`: `change` (added, removed,
    changed), what changed (each of `changes`: booleans), and `class_*`, `split_*` and `GROUP_*` for `before` and
    `after`, null where there is none.
    """

    name: str
    before: Revision
    after: Revision
    samples: tuple[int, int]  # before, after
    counts: dict[str, int]  # added, removed, changed, and of the changed each of `changes`
    changes: tuple[str, ...]  # what can change: the input, by the name of its kind, label, split, group
    tallies: tuple[Tally, ...]  # by class, split and group, only those in which something differs
    moves: tuple[Move, ...]  # the most frequent first
    notes: tuple[str, ...]  # what differs as a whole: classes, groups, sizes of inputs
    rows: pa.Table

    @property
    def same(self) -> bool:
        """Whether the two are the same bytes."""
        return self.before.digest == self.after.digest


def diff(root: Path, name: str, before: str, after: str) -> Difference:
    """Compare two revisions (see `revisions`) of the data set `name`.

    A sample's input has changed where the digest of the prepared one has; its label where the class's name has (a
    class may get another number), or the bytes of its mask; its group where any `group_*` column has that both versions
    know. The split `dropped` is what left the training split. Raises DataError for a revision that is not known, is
    another data set's, or whose files are neither in the cache nor to be fetched from the remote.
    """
    root = root.resolve()
    with at_work(root) as repo:
        old, new = (contents(repo, root, name, resolved(repo, root, name, asked)) for asked in (before, after))
        renumber = old.card.classes != new.card.classes
        tables = [samples(version, renumber=renumber) for version in (old, new)]
    return _compare(name, old, new, *tables)


def _compare(name: str, old: Contents, new: Contents, before: pa.Table, after: pa.Table) -> Difference:
    groups = [group for group in new.card.groups if group in old.card.groups]
    place = pc.index_in(after.column("key"), value_set=before.column("key"))
    added = after.filter(pc.is_null(place))
    removed = before.filter(pc.invert(pc.is_in(before.column("key"), value_set=after.column("key"))))
    stayed_after, stayed_before = after.filter(pc.is_valid(place)), before.take(place.drop_null())
    changed = {
        new.card.input.kind: _differs(stayed_before, stayed_after, ["input"]),
        "label": _differs(stayed_before, stayed_after, ["class", "content"]),
        "split": _differs(stayed_before, stayed_after, ["split"]),
        "group": _differs(stayed_before, stayed_after, groups),
    }
    any_change = np.logical_or.reduce(list(changed.values()))
    columns = ["class", "split", *dict.fromkeys([*old.card.groups, *new.card.groups])]
    rows = pa.concat_tables(
        [
            _rows("added", None, added, columns, dict.fromkeys(changed)),
            _rows("removed", removed, None, columns, dict.fromkeys(changed)),
            _rows(
                "changed",
                stayed_before.filter(pa.array(any_change)),
                stayed_after.filter(pa.array(any_change)),
                columns,
                {change: values[any_change] for change, values in changed.items()},
            ),
        ]
    ).sort_by([("change", "ascending"), ("id", "ascending")])
    compared = ["class", "split", *groups]
    return Difference(
        name=name,
        before=old.revision,
        after=new.revision,
        samples=(len(before), len(after)),
        counts={
            "added": len(added),
            "removed": len(removed),
            "changed": int(any_change.sum()),
            **{change: int(values.sum()) for change, values in changed.items()},
        },
        changes=tuple(changed),
        tallies=tuple(tally for by in compared for tally in _tallies(by, before, after, rows, tuple(changed))),
        moves=tuple(move for by in compared for move in _moves(by, rows)),
        notes=tuple(_notes(old.card, new.card)),
        rows=rows,
    )


def _differs(before: pa.Table, after: pa.Table, columns: Iterable[str]) -> npt.NDArray[np.bool_]:
    """(N,): whether any of the columns differs between rows of the same samples."""
    result = np.zeros(len(after), dtype=bool)
    for column in columns:
        result |= _unequal(before.column(column), after.column(column))
    return result


def _unequal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """(N,): nulls are equal to each other and to nothing else."""
    values = pc.fill_null(pc.not_equal(one, other), pa.scalar(False))
    return np.asarray(pc.or_(values, pc.not_equal(pc.is_null(one), pc.is_null(other))))


def _rows(
    change: str,
    before: pa.Table | None,
    after: pa.Table | None,
    columns: list[str],
    changed: Mapping[str, npt.NDArray[np.bool_] | None],
) -> pa.Table:
    """One kind of rows; `before` and `after` are row by row the same samples where both are given.

    `changed` is what can change, and of whom it has; None: of nobody.
    """
    sides = {when: table for when, table in (("before", before), ("after", after)) if table is not None}
    ids = next(iter(sides.values())).column("id")
    values: dict[str, Any] = {"change": pa.repeat(change, len(ids)), "id": ids}
    for what, whose in changed.items():
        values[what] = pa.array(np.zeros(len(ids), dtype=bool) if whose is None else whose)
    for column in columns:
        for when in ("before", "after"):
            known = when in sides and column in sides[when].column_names
            values[f"{column}_{when}"] = sides[when].column(column) if known else pa.nulls(len(ids), pa.string())
    return pa.table(values)


def _tallies(by: str, before: pa.Table, after: pa.Table, rows: pa.Table, changes: tuple[str, ...]) -> Iterator[Tally]:
    if by == "class" and before.column(by).null_count == len(before) and after.column(by).null_count == len(after):
        return  # masks: a sample is of no one class
    totals = [_counted(table.column(by)) for table in (before, after)]
    gone = pc.equal(rows.column("change"), "removed")
    value = pc.if_else(gone, rows.column(f"{by}_before"), rows.column(f"{by}_after"))
    added, removed = (
        _counted(value.filter(pc.equal(rows.column("change"), change))) for change in ("added", "removed")
    )
    told = {change: _counted(value.filter(rows.column(change))) for change in changes}
    # A class that everything was moved out of has no `after`.
    left = _counted(rows.filter(pc.not_equal(rows.column("change"), "added")).column(f"{by}_before"))
    for name in sorted(set(left).union(added, removed, *told.values())):
        changed = {change: counted[name] for change, counted in told.items()}
        yield Tally(by, name, totals[0][name], totals[1][name], added[name], removed[name], changed)


def _moves(by: str, rows: pa.Table) -> Iterator[Move]:
    columns = [f"{by}_before", f"{by}_after"]
    stayed = rows.filter(pc.equal(rows.column("change"), "changed")).select(columns)
    moved = stayed.filter(pa.array(_unequal(*stayed.columns)))
    counted = moved.group_by(columns).aggregate([([], "count_all")])
    order = [("count_all", "descending"), *((column, "ascending") for column in columns)]
    for row in counted.sort_by(order).to_pylist():
        yield Move(by, row[columns[0]] or NONE, row[columns[1]] or NONE, row["count_all"])


def _counted(values: pa.ChunkedArray) -> Counter[str]:
    return Counter({row["values"] or NONE: row["counts"] for row in pc.value_counts(values).to_pylist()})


def _notes(old: DatasetCard, new: DatasetCard) -> Iterator[str]:
    for what, before, after in (("classes", old.classes, new.classes), ("groups", old.groups, new.groups)):
        if added := [value for value in after if value not in before]:
            yield f"new {what}: {', '.join(added)}"
        if removed := [value for value in before if value not in after]:
            yield f"{what} that are gone: {', '.join(removed)}"
    if set(old.classes) == set(new.classes) and old.classes != new.classes:
        yield "the classes have other numbers"
    if (now := new.target.get("ignore")) != old.target.get("ignore"):
        yield f"pixels of masks are ignored {'no longer' if now is None else 'now'}"
    shapes = [card.input.said for card in (old, new)]
    if shapes[0] != shapes[1]:
        yield f"inputs were {shapes[0]} and are {shapes[1]}"
    if old.task != new.task:
        yield f"the task was {old.task} and is {new.task}"
