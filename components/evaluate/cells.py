"""How well each class is answered within each group: what a metric of the whole group hides.

A group of which nearly all samples are of one class has a high accuracy while it misses every sample of the other. So a
cell is a class within a group; its metric is the task's own for one class (`WithClassMetric`). A cell with few samples
is withheld: it is listed with how many they are, and nothing is said of how well they are answered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.artifacts import CellFigure, Evidence, Figure, Predictions
from components.config import EvaluateConfig
from components.metrics import bootstrap
from components.metrics.metric import Metric
from components.metrics.proportion import exact
from components.tasks.capabilities import WithClassMetric

Floats = npt.NDArray[np.float64]

NAMED = 3  # withheld cells that a note names


@dataclass(frozen=True)
class Table:
    """The cells of one column: classes are rows, groups are columns, and None is where a group has no such sample."""

    column: str
    groups: tuple[str, ...]
    rows: Mapping[str, tuple[CellFigure | None, ...]]


def cells_of(
    part: Predictions, column: str, group: str, task: WithClassMetric, config: EvaluateConfig
) -> tuple[CellFigure, ...]:
    """A cell for each class that the group `part` has, in the classes' order."""
    counts = task.with_class(part).sum(axis=0)
    figures = _figures(part, task, config, counts) if (counts >= config.min_samples).any() else {}
    return tuple(
        CellFigure(
            column=column,
            group=group,
            label=name,
            metric=task.class_metric.name,
            samples=int(count),
            figure=figures.get(place),
        )
        for place, (name, count) in enumerate(zip(part.classes, counts, strict=True))
        if count
    )


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
        groups = tuple(dict.fromkeys(cell.group for cell in own))
        known = {(cell.label, cell.group): cell for cell in own}
        rows = {
            label: tuple(known.get((label, group)) for group in groups)
            for label in dict.fromkeys(cell.label for cell in own)
        }
        found.append(Table(column, groups, rows))
    return tuple(found)


def notes(cells: Sequence[CellFigure], config: EvaluateConfig) -> tuple[str, ...]:
    """What is withheld, in words."""
    small = [f"{cell.label} in {cell.column} {cell.group} ({cell.samples})" for cell in cells if cell.figure is None]
    if not small:
        return ()
    more = f" and {len(small) - NAMED} more" if len(small) > NAMED else ""
    return (
        f"Fewer than {config.min_samples} samples of a class in a group, so its {cells[0].metric} there is withheld "
        f"({len(small)} of {len(cells)}): {', '.join(small[:NAMED])}{more}.",
    )


def _figures(
    part: Predictions, task: WithClassMetric, config: EvaluateConfig, counts: npt.NDArray[np.int64]
) -> dict[int, Figure]:
    """Place of the class → its figure, of those that have samples enough."""
    samples = len(part.table)
    values = task.class_values(part, np.ones((1, samples)))[0]
    spread: Floats | None = None
    if not task.binomial:
        spread = bootstrap.distribution(
            lambda weights: {"": task.class_values(part, weights)}, samples, config.bootstrap, config.seed
        )[""]
    return {
        int(place): _figure(
            float(values[place]), int(counts[place]), config.confidence, None if spread is None else spread[:, place]
        )
        for place in np.flatnonzero(counts >= config.min_samples)
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
