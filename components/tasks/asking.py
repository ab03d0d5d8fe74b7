"""Samples in, `Predictions` out: the one way in which anybody who answers is asked, batch by batch.

Whoever answers, a network, an int8 graph or an ensemble in training, is judged by the rows that the task makes of its
answers. An answer is let go once its rows are made, so dense answers are never held together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import DatasetCard, Predictions
from components.tasks.answers import Answerer, Answers, Inputs
from components.tasks.protocol import Task

BATCH = 64  # samples at a time; ONNX Runtime gains nothing from larger batches on a CPU

Positions = npt.NDArray[np.int64]
Groups = Mapping[str, npt.NDArray[Any]]


class Given(Protocol):
    """N inputs of which a part can be had, be they in memory, mapped, or made when they are asked for."""

    def __getitem__(self, part: slice, /) -> Inputs: ...


class Samples(Protocol):
    """N samples in their stored order, as far as asking needs them."""

    @property
    def ids(self) -> npt.NDArray[Any]: ...

    @property
    def inputs(self) -> Given: ...

    @property
    def targets(self) -> npt.NDArray[Any]: ...

    @property
    def groups(self) -> Groups: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Asked:
    """One batch of answers. A row is named by a sample: `positions` are theirs, in the stored order."""

    positions: Positions
    answer: Answers
    targets: npt.NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """The task's own columns for some samples; small enough to be kept, and to be sent from worker to worker."""

    positions: Positions
    columns: pa.Table


@runtime_checkable
class Asking(Protocol):
    """A task that takes the lead: frames that are asked for in order, episodes that are played.

    While a network trains, its validation split is asked in the plain way all the same.
    """

    def asked(self, answerer: Answerer, samples: Samples, batch: int) -> Iterator[Asked]:
        """Every row once, in any order."""
        ...


@runtime_checkable
class Settling(Protocol):
    """A task that has the last word once all rows are known: ranks among all neighbours, for one."""

    def settled(self, columns: pa.Table) -> pa.Table:
        """The task's columns of all rows, in stored order → what is kept of them, as many rows."""
        ...


def batches(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices that cover `count` samples."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def ask(
    task: Task,
    answerer: Answerer,
    samples: Samples,
    card: DatasetCard,
    *,
    batch: int = BATCH,
    split: str = "",
    groups: Groups | None = None,
    model: str = "",
    data: str = "",
    watch: Callable[[Asked], None] | None = None,
) -> Predictions:
    """Have every sample answered for; `id`, `split` and the samples' groups (or `groups`) stand before the task's rows.

    `watch` sees every batch before its answer is let go. Raises ValueError where there is no sample.
    """
    if len(samples) == 0:
        raise ValueError(f"data set {card.name}: expected at least one sample to judge on, found none")
    rows = rows_of(task, asked(task, answerer, samples, batch), watch)
    named = label(samples.ids, split, samples.groups if groups is None else groups)
    return gathered(task, rows, card, named, model=model, data=data)


def asked(task: Task, answerer: Answerer, samples: Samples, batch: int = BATCH) -> Iterator[Asked]:
    """The answers batch by batch, as the task leads or in stored order."""
    if isinstance(task, Asking):
        yield from task.asked(answerer, samples, batch)
        return
    for part in batches(len(samples), batch):
        yield Asked(np.arange(part.start, part.stop), answerer(samples.inputs[part]), samples.targets[part])


def rows_of(task: Task, parts: Iterable[Asked], watch: Callable[[Asked], None] | None = None) -> Iterator[Rows]:
    """The rows of each batch; its answer is not kept."""
    for part in parts:
        if watch is not None:
            watch(part)
        yield Rows(part.positions, pa.table(task.rows(part.answer, part.targets)))


def label(ids: npt.NDArray[Any], split: str, groups: Groups) -> pa.Table:
    """What stands before a task's columns, of every sample in stored order."""
    texts = {"id": ids, "split": np.full(len(ids), split), **groups}
    return pa.table({name: pa.array(values.tolist(), pa.string()) for name, values in texts.items()})


def gathered(
    task: Task, parts: Iterable[Rows], card: DatasetCard, named: pa.Table | None, *, model: str = "", data: str = ""
) -> Predictions:
    """All rows as one table in stored order, each with what its sample is called in `named`, where that is known."""
    held = list(parts)
    positions = np.concatenate([part.positions for part in held])
    # A batch whose lists are all empty does not know of what: the others say it.
    columns = pa.concat_tables([part.columns for part in held], promote_options="permissive").combine_chunks()
    if len(positions) != len(columns):
        raise ValueError(f"task {task.spec.name}: expected {len(positions)} rows, received {len(columns)}")
    if np.any(positions[1:] < positions[:-1]):
        order = np.argsort(positions, kind="stable")
        positions, columns = positions[order], columns.take(order).combine_chunks()
    if isinstance(task, Settling):
        columns = task.settled(columns)
    table = columns
    if named is not None:
        whole = len(positions) == len(named) and np.array_equal(positions, np.arange(len(named)))
        about = named if whole else named.take(positions)
        table = pa.table({name: part.column(name) for part in (about, columns) for name in part.column_names})
    return Predictions(table, model, data, card.classes)


def primary(task: Task, predictions: Predictions) -> float:
    """The task's primary metric without an interval; NaN where it cannot be computed."""
    return float(task.measure(predictions, np.ones((1, len(predictions.table))))[task.spec.primary_metric][0])
