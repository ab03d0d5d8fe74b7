"""What a candidate costs on labelled samples: the primary metric with its interval, the loss, and whose loss it is.

Losses are paired: both networks answer for the same samples and are resampled together, so that what makes a sample
hard for both cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.artifacts import DatasetCard, Figure, Predictions
from components.compress.quantization.report import Difference, GroupLoss
from components.data.reading.loading import Arrays
from components.metrics import bootstrap
from components.metrics.figures import figure
from components.metrics.metric import SHARE, Metric
from components.runtimes.execution import Inputs
from components.runtimes.protocol import Answerer, Answers
from components.tasks.asking import batches, primary
from components.tasks.capabilities import Deciding, Labels, WithClasses
from components.tasks.protocol import Task

Floats = npt.NDArray[np.float64]
Members = Mapping[tuple[str, str], npt.NDArray[np.int64]]  # (column, group) → the rows of its samples

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0
ALIKE = 0.01  # difference below which answers count as equal, where a task does not say which are


@dataclass(frozen=True)
class Measured:
    """The primary metric on all samples: its value, and the same under each resample."""

    value: float
    spread: Floats  # (RESAMPLES,); equal seeds, so two networks' are paired
    unit: str = SHARE  # of the metric

    @property
    def figure(self) -> Figure:
        return figure(self.value, self.spread, CONFIDENCE, self.unit)


def measured(task: Task, answers: Predictions) -> Measured:
    """The task's primary metric; NaN where it cannot be computed."""
    samples = len(answers.table)
    spread = bootstrap.distribution(lambda weights: task.measure(answers, weights), samples, RESAMPLES, SEED)
    return Measured(primary(task, answers), spread[task.spec.primary_metric], task.spec.primary.unit)


def loss(task: Task, exact: Measured, rounded: Measured, confidence: float = CONFIDENCE) -> Figure:
    """How much worse `rounded` is than `exact`, as `Metric.lost` has it, with a paired interval."""
    lost = task.spec.primary.lost
    return figure(lost(exact.value, rounded.value), lost(exact.spread, rounded.spread), confidence)


def members(task: Task, samples: Arrays, card: DatasetCard) -> Members:
    """Who is compared: the classes, where a sample has one, and the groups that the data declares."""
    labels = {name: values.astype(np.str_) for name, values in samples.groups.items()}
    if isinstance(task, Labels):
        labels["class"] = np.array(card.classes, dtype=np.str_)[task.labels(samples.targets)]
    return {
        (column, str(group)): np.flatnonzero(values == group)
        for column, values in labels.items()
        for group in np.unique(values)
        if len(np.unique(values)) > 1
    }


def group_losses(
    task: Task, exact: Predictions, rounded: Predictions, who: Members, allowance: float
) -> tuple[GroupLoss, ...]:
    """What each class and group loses.

    One is flagged where it loses more than the rest even at the lower end of its loss's interval, which is so wide
    that of all groups together one in twenty would be flagged by chance (Bonferroni). A dense task's classes share
    samples and have no interval: they are flagged where they lose `allowance` more than the others do on average.
    """
    found = []
    for (column, group), rows in who.items():
        others = np.setdiff1d(np.arange(len(exact.table)), rows)
        confidence = 1.0 - (1.0 - CONFIDENCE) / len(who)
        lost = loss(task, measured(task, _part(exact, rows)), measured(task, _part(rounded, rows)), confidence)
        rest = loss(task, _point(task, _part(exact, others)), _point(task, _part(rounded, others))).value
        flagged = lost.low is not None and lost.low > max(rest, 0.0)
        found.append(
            GroupLoss(column=column, group=group, samples=len(rows), loss=lost, rest=rest, flagged=bool(flagged))
        )
    if isinstance(task, WithClasses) and not isinstance(task, Labels):
        found += _dense_classes(task.spec.primary, task, exact, rounded, allowance)
    return tuple(found)


def difference(task: Task, one: Answerer, other: Answerer, inputs: Inputs, batch: int = 64) -> Difference:
    """Compare what two executions answer for `inputs`."""
    largest, total, values, equal = 0.0, 0.0, 0, 0.0
    for left, right in _both(one, other, inputs, batch):
        apart = task.difference(left, right)
        largest = max(largest, float(apart.max()))
        for before, after in _measured_outputs(task, left, right):
            total, values = total + float(np.abs(before - after).sum()), values + before.size
        same = task.agreement(left, right) if isinstance(task, Deciding) else apart <= ALIKE
        equal += float(same.sum())
    return Difference(samples=len(inputs), largest=largest, mean=total / values, agreement=equal / len(inputs))


def signal_to_noise(task: Task, exact: Answerer, rounded: Answerer, inputs: Inputs, batch: int = 64) -> float:
    """Power of the answers over that of their error, in decibels; needs no labels, and sees more than accuracy.

    Of several outputs that of the one which suffers most. Infinite where there is no error.
    """
    power = np.zeros((2, sum(output.measured for output in task.spec.outputs)))
    for left, right in _both(exact, rounded, inputs, batch):
        for number, (truth, found) in enumerate(_measured_outputs(task, left, right)):
            power[:, number] += float((truth**2).sum()), float(((truth - found) ** 2).sum())
    return min(10.0 * math.log10(signal / noise) if noise > 0 else math.inf for signal, noise in power.T)


def _measured_outputs(task: Task, one: Answers, other: Answers) -> Iterator[tuple[Floats, Floats]]:
    """Both executions' numbers, output by output."""
    for output in task.spec.outputs:
        if output.measured:
            yield one[output.name].astype(np.float64), other[output.name].astype(np.float64)


def _both(one: Answerer, other: Answerer, inputs: Inputs, batch: int) -> Iterator[tuple[Any, Any]]:
    return ((one(inputs[part]), other(inputs[part])) for part in batches(len(inputs), batch))


def _dense_classes(
    metric: Metric, views: WithClasses, exact: Predictions, rounded: Predictions, allowance: float
) -> list[GroupLoss]:
    before, after = views.by_class(exact), views.by_class(rounded)
    losses = {name: metric.lost(_first(before[name]), _first(after[name])) for name in before}
    found = []
    for name, lost in losses.items():
        others = [value for other, value in losses.items() if other != name]
        rest = float(np.mean(others)) if others else math.nan
        flagged = lost - max(rest, 0.0) > allowance
        found.append(
            GroupLoss(
                column="class",
                group=name,
                samples=len(exact.table),
                loss=Figure(value=lost),
                rest=rest,
                flagged=bool(flagged),
            )
        )
    return found


def _first(metrics: Mapping[str, float]) -> float:
    return next(iter(metrics.values()))


def _part(answers: Predictions, rows: npt.NDArray[np.int64]) -> Predictions:
    return Predictions(answers.table.take(pa.array(rows)), answers.model, answers.data, answers.classes)


def _point(task: Task, answers: Predictions) -> Measured:
    value = task.measure(answers, np.ones((1, len(answers.table))))[task.spec.primary_metric]
    return Measured(float(value[0]), value)
