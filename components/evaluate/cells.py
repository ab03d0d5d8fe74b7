"""How well each class is answered within each group: what a metric of the whole group hides.

A group of which nearly all samples are of one class has a high accuracy while it misses every sample of the other. So a
cell is a class within a group; its metric is the task's own for one class (`WithClassMetric`). A cell with few samples
is withheld: it is listed with how many they are, and nothing is said of how well they are answered. So that no class
gets away by being rare in every group, those groups of a column are measured once more together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import CellFigure, Evidence, Figure, Predictions
from components.config import EvaluateConfig
from components.metrics import bootstrap
from components.metrics.metric import Metric
from components.metrics.proportion import exact
from components.tasks.capabilities import WithClassMetric

Floats = npt.NDArray[np.float64]

TOGETHER = "withheld groups together"  # head of the column of cells that are measured so
NAMED = 3  # withheld cells that a note names
SETS = 16  # of groups that are resampled together, in a column
SHOWN = 30  # groups of a column from which on those of which all is withheld are left out of its table


@dataclass(frozen=True)
class Table:
    """The cells of one column: classes are rows, groups are columns, and None is where a group has no such sample."""

    column: str
    groups: tuple[str, ...]
    left_out: int  # groups of which all is withheld, where there are many
    rows: Mapping[str, tuple[CellFigure | None, ...]]


def cells_of(
    predictions: Predictions, column: str, task: WithClassMetric, config: EvaluateConfig
) -> tuple[CellFigure, ...]:
    """A cell for each class that a group of the column has, group by group, and those that are measured together."""
    labels = np.asarray(predictions.table.column(column).to_pylist())
    groups, place = np.unique(labels, return_inverse=True)
    held = task.with_class(predictions)
    counts = np.stack([held[place == number].sum(axis=0) for number in range(len(groups))])  # (G, C)

    def cell(label: int, samples: int, figure: Figure | None, group: str = "", together: int = 0) -> CellFigure:
        return CellFigure(
            column=column,
            group=group,
            label=predictions.classes[label],
            metric=task.class_metric.name,
            samples=samples,
            figure=figure,
            together=together,
        )

    found = []
    for number, group in enumerate(groups):
        enough = counts[number] >= config.min_samples
        figures = _figures(_rows(predictions, place == number), task, config, counts[number], enough)
        there = ((label, count) for label, count in enumerate(counts[number].tolist()) if count)
        found += [cell(label, count, figures.get(label), str(group)) for label, count in there]
    small = (counts > 0) & (counts < config.min_samples)
    number_of = np.where(small, counts, 0).sum(axis=0)
    for which in _sets(small, number_of >= config.min_samples, limited=not task.binomial):
        own = counts[which.groups].sum(axis=0)
        figures = _figures(_rows(predictions, np.isin(place, which.groups)), task, config, own, which.classes)
        found += [cell(label, int(own[label]), each, together=len(which.groups)) for label, each in figures.items()]
    return tuple(found)


def worst(cells: Sequence[CellFigure], metric: Metric) -> Figure | None:
    """The figure whose interval reaches furthest to the worse side; None where all are withheld.

    NaN if any figure is, or has no interval, for that cell may be the worst.
    """
    figures = [cell.figure for cell in cells if cell.figure is not None]
    if any(math.isnan(figure.value) or figure.low is None for figure in figures):
        return Figure(value=math.nan)
    return metric.worst(figures, lambda figure: end(figure, metric)) if figures else None


def end(figure: Figure, metric: Metric) -> float:
    """The worse end of its interval, NaN where it has none."""
    found = figure.low if metric.more else figure.high
    return math.nan if found is None else found


def tables(evidence: Evidence) -> tuple[Table, ...]:
    """The cells as people read them, a table a column."""
    found = []
    for column in dict.fromkeys(cell.column for cell in evidence.cells):
        own = [cell for cell in evidence.cells if cell.column == column]
        every = tuple(dict.fromkeys(map(_where, own)))
        judged = {_where(cell) for cell in own if cell.figure is not None}
        shown = every if len(every) <= SHOWN else tuple(where for where in every if where in judged)
        known = {(cell.label, _where(cell)): cell for cell in own}
        rows = {
            label: tuple(known.get((label, where)) for where in shown)
            for label in dict.fromkeys(cell.label for cell in own if _where(cell) in shown)
        }
        heads = tuple(TOGETHER if together else group for group, together in shown)
        found.append(Table(column, heads, len(every) - len(shown), rows))
    return tuple(found)


def _where(cell: CellFigure) -> tuple[str, bool]:
    """Its column of a table: the group, and whether it is that of groups together."""
    return cell.group, cell.together > 0


def notes(evidence_cells: Sequence[CellFigure], config: EvaluateConfig) -> tuple[str, ...]:
    """What is withheld, in words."""
    alone = [cell for cell in evidence_cells if not cell.together]
    small = [f"{cell.label} in {cell.column} {cell.group} ({cell.samples})" for cell in alone if cell.figure is None]
    if not small:
        return ()
    more = f" and {len(small) - NAMED} more" if len(small) > NAMED else ""
    return (
        f"Fewer than {config.min_samples} samples of a class in a group, so its {alone[0].metric} there is withheld "
        f"({len(small)} of {len(alone)}), and such groups are measured together: {', '.join(small[:NAMED])}{more}.",
    )


@dataclass(frozen=True)
class _Together:
    """Groups that are measured together, and the classes `(C,)` of which that is asked."""

    groups: npt.NDArray[np.int64]
    classes: npt.NDArray[np.bool_]


def _sets(small: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_], *, limited: bool) -> list[_Together]:
    """For the classes that are `asked` for, `(C,)`, the groups in which they are withheld, `small` (G, C).

    Each set is resampled once; where there are more than `SETS`, and they are `limited`, all groups are one.
    """
    columns = {label: small[:, label].tobytes() for label in np.flatnonzero(asked).tolist()}
    if limited and len(set(columns.values())) > SETS:
        return [_Together(np.arange(len(small)), asked)]
    sets = []
    for bits in dict.fromkeys(columns.values()):
        classes = np.array([columns.get(label) == bits for label in range(small.shape[1])])
        sets.append(_Together(np.flatnonzero(np.frombuffer(bits, dtype=np.bool_)), classes))
    return sets


def _rows(predictions: Predictions, chosen: npt.NDArray[np.bool_]) -> Predictions:
    return replace(predictions, table=predictions.table.filter(pa.array(chosen)))


def _figures(
    part: Predictions,
    task: WithClassMetric,
    config: EvaluateConfig,
    counts: npt.NDArray[np.int64],
    asked: npt.NDArray[np.bool_],
) -> dict[int, Figure]:
    """Place of the class → its figure among the samples of `part`, of the classes that are `asked` for, `(C,)`."""
    if not asked.any():
        return {}
    samples = len(part.table)
    values = task.class_values(part, np.ones((1, samples)))[0]
    spread: Floats | None = None
    if not task.binomial:
        spread = bootstrap.distribution(
            lambda weights: {"": task.class_values(part, weights)}, samples, config.bootstrap, config.seed
        )[""]
    return {
        int(label): _figure(
            float(values[label]), int(counts[label]), config.confidence, None if spread is None else spread[:, label]
        )
        for label in np.flatnonzero(asked)
    }


def _figure(value: float, samples: int, confidence: float, spread: Floats | None) -> Figure:
    """With the interval of its resamples; with the exact one of a proportion, and where all resamples are alike.

    A resample without the class says nothing of it. Resamples are alike where every sample is right, or none, which
    does not make it certain.
    """
    known = None if spread is None else spread[~np.isnan(spread)]
    if math.isnan(value) or (known is not None and not len(known)):
        return Figure(value=value)
    if known is None or known.min() == known.max():
        low, high = exact(value, samples, confidence)
    else:
        low, high = bootstrap.interval(known, confidence)
    return Figure(value=value, low=low, high=high)
