"""Everything that is measured about one model on one split: `Evidence`.

Works for every task, for it only asks the task to measure a table under sample weights. A figure that cannot be
computed is NaN and stays NaN. Limits are not looked at here: that is what the gates are for.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from fairlearn.metrics import MetricFrame

from components import machine
from components.artifacts import (
    WITH_TWINS,
    CellFigure,
    Dataset,
    Evidence,
    Figure,
    GroupFigure,
    Model,
    Predictions,
    Split,
)
from components.config import EvaluateConfig
from components.data.reading.loading import load_split
from components.evaluate import cells, cost, slices
from components.evaluate.robustness import conditions, robustness
from components.evaluate.worst import at_its_worst
from components.metrics import bootstrap
from components.metrics.figures import figure
from components.metrics.metric import Metric
from components.tasks import registry as tasks
from components.tasks.capabilities import WithClasses, WithClassMetric
from components.tasks.protocol import Task

Floats = npt.NDArray[np.float64]

FEW = 30  # samples below which a group's figure is called uncertain in a note


def evaluate(
    model: Model, dataset: Dataset, config: EvaluateConfig, *, split: Split = "test"
) -> tuple[Evidence, Predictions]:
    """Let the model answer on the split, and on corrupted pictures of it; measure the answers, its size and its speed.

    Figures: every metric of the task, `worst_group_PRIMARY`, that of a class in a group (`worst_group_recall`),
    `robustness_PRIMARY`, `parameters`, `size_bytes`, and on one thread `latency_ms` (median for one image) and
    `throughput_64` (images/s, 64 at a time); those of `twin_figures` where samples of the split have twins that were
    learnt from. An int8 graph whose sums can saturate is judged by the worse of its answers here and where they do:
    `PRIMARY_as_run` and `PRIMARY_saturating` have both.
    """
    evidence, predictions = quality(model, dataset, config, split=split)
    return timed({"model": model}, {"model": evidence})["model"], predictions


def quality(
    model: Model, dataset: Dataset, config: EvaluateConfig, *, split: Split = "test"
) -> tuple[Evidence, Predictions]:
    """All of `evaluate` but the speed, which is better measured of several models in one go."""
    task = tasks.of(model.card, dataset.card)
    asked = at_its_worst(model, dataset, split, config.slices)
    answer, predictions = asked.answer, asked.predictions
    evidence = measure(predictions, task, config, split=split, twins=dataset.card.twins)
    figures, notes = evidence.figures | asked.figures | cost.weight(model), (*evidence.notes, *asked.notes)
    if config.corruptions is not None:
        some = load_split(dataset, split, limit=config.corruptions.samples, seed=config.seed)
        figures |= robustness(answer, task, some, dataset.card, config)
        notes += (f"Robustness: the mean under {conditions(config.corruptions)}, {len(some)} samples each.",)
    found = {
        "figures": figures,
        "notes": notes,
        "runtime": cost.executed_by(model),
        "sums": asked.sums,
        "processor": machine.kind(),
    }
    return evidence.model_copy(update=found), predictions


def timed(models: Mapping[str, Model], found: Mapping[str, Evidence]) -> dict[str, Evidence]:
    """The same Evidence with how fast each model is, all timed in turn."""
    speeds = cost.speed(models)
    return {
        name: evidence.model_copy(update={"figures": evidence.figures | speeds[name]})
        for name, evidence in found.items()
    }


def measure(
    predictions: Predictions,
    task: Task,
    config: EvaluateConfig,
    *,
    split: Split = "test",
    twins: Container[str] = frozenset(),
) -> Evidence:
    """The quality half of the Evidence: figures with bootstrap intervals, classes, groups, cells and disparity.

    `twins` are ids of samples that have a twin in what was learnt from.
    """
    primary = task.spec.primary_metric
    figures = metric_figures(predictions, task, config)
    alike = twin_figures(predictions, task, config, twins)
    figures |= alike
    groups = group_figures(predictions, task, config)
    own = [row for row in groups if row.metric == primary]
    if own:
        figures[f"worst_group_{primary}"] = _worst(own, task.spec.primary)
    crossed = cell_figures(predictions, task, config)
    if isinstance(task, WithClassMetric) and (least := cells.worst(crossed, task.class_metric)) is not None:
        figures[f"worst_group_{task.class_metric.name}"] = least
    return Evidence(
        model=predictions.model,
        data=predictions.data,
        split=split,
        samples=len(predictions.table),
        primary=primary,
        figures=figures,
        classes=task.by_class(predictions) if isinstance(task, WithClasses) else {},
        groups=groups,
        cells=crossed,
        min_samples=config.min_samples if crossed else 0,
        disparity=disparity(predictions, task),
        notes=(
            *_notes_on_twins(alike, primary, len(predictions.table)),
            *_notes(predictions, own),
            *cells.notes(crossed, config),
        ),
    )


def metric_figures(predictions: Predictions, task: Task, config: EvaluateConfig) -> dict[str, Figure]:
    """Every metric of the task with its percentile bootstrap interval."""
    samples = len(predictions.table)
    values = task.measure(predictions, np.ones((1, samples)))
    spread = bootstrap.distribution(
        lambda weights: task.measure(predictions, weights), samples, config.bootstrap, config.seed
    )
    return {
        name: figure(float(value[0]), spread[name], config.confidence, task.spec.metric(name).unit)
        for name, value in values.items()
    }


def twin_figures(
    predictions: Predictions, task: Task, config: EvaluateConfig, twins: Container[str]
) -> dict[str, Figure]:
    """What samples that may have been learnt by heart make of the primary metric; nothing where there are none.

    `PRIMARY_without_twins` is the metric of all others, `PRIMARY_change_by_twins` that of all less that of the others,
    resampled together (paired bootstrap), and `samples_with_twins` how many they are. `twins` are their ids.
    """
    ids = predictions.table.column("id").to_pylist()
    others = np.array([name not in twins for name in ids], dtype=np.float64)
    number = len(ids) - int(others.sum())
    if not number:
        return {}
    primary = task.spec.primary_metric

    def measured(weights: Floats) -> dict[str, Floats]:
        whole, rest = (task.measure(predictions, each)[primary] for each in (weights, weights * others))
        return {f"{primary}_without_twins": rest, f"{primary}_change_by_twins": whole - rest}

    values = measured(np.ones((1, len(ids))))
    spread = bootstrap.distribution(measured, len(ids), config.bootstrap, config.seed)
    unit = task.spec.primary.unit
    figures = {name: figure(float(value[0]), spread[name], config.confidence, unit) for name, value in values.items()}
    return {**figures, WITH_TWINS: Figure(value=number, unit="samples")}


def group_figures(predictions: Predictions, task: Task, config: EvaluateConfig) -> tuple[GroupFigure, ...]:
    """The primary metric of every group and slice, with an interval from resampling that group alone."""
    primary = task.spec.primary_metric
    return tuple(
        GroupFigure(
            column=column,
            group=group,
            metric=primary,
            samples=len(part.table),
            figure=metric_figures(part, task, config)[primary],
        )
        for column, group, part in _parts(predictions)
    )


def cell_figures(predictions: Predictions, task: Task, config: EvaluateConfig) -> tuple[CellFigure, ...]:
    """The metric of each class in each group and slice; none where the task has no metric of single classes."""
    if not isinstance(task, WithClassMetric):
        return ()
    return tuple(
        cell
        for column in slices.columns(predictions.table.column_names)
        for cell in cells.cells_of(predictions, column, task, config)
    )


def disparity(predictions: Predictions, task: Task) -> dict[str, float]:
    """Fairlearn's difference and ratio of the primary metric between the groups of each column.

    NaN where the metric of any group is NaN: Fairlearn would pass over that group, and look fairer for it.
    """
    rows = np.arange(len(predictions.table))

    def metric(chosen: npt.NDArray[np.int64], _: npt.NDArray[np.int64]) -> float:
        part = subset(predictions, np.asarray(chosen))
        return float(task.measure(part, np.ones((1, len(part.table))))[task.spec.primary_metric][0])

    result = {}
    for column in slices.columns(predictions.table.column_names):
        labels = predictions.table.column(column).to_pylist()
        frame = MetricFrame(metrics=metric, y_true=rows, y_pred=rows, sensitive_features=labels)
        known = not frame.by_group.isna().any()
        result[f"{column}.difference"] = float(frame.difference()) if known else math.nan
        result[f"{column}.ratio"] = float(frame.ratio()) if known else math.nan
    return result


def paired_difference(
    candidate: Predictions,
    production: Predictions,
    task: Task,
    metric: str,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Figure:
    """The candidate's metric less production's on the same samples, resampled together (paired bootstrap).

    Of a metric that is no share, in parts of production's.
    Raises ValueError where the two tables are not about the same samples of the same data, or the metric is unknown.
    """
    other = _aligned(candidate, production)
    samples = len(candidate.table)

    def difference(weights: Floats) -> Mapping[str, Floats]:
        ours, theirs = task.measure(candidate, weights), task.measure(other, weights)
        if metric not in ours:
            raise ValueError(f"metric: expected one of {', '.join(ours)}, received {metric!r}")
        own = task.spec.metric(metric)
        return {metric: -own.sign * own.lost(theirs[metric], ours[metric])}

    value = float(difference(np.ones((1, samples)))[metric][0])
    spread = bootstrap.distribution(difference, samples, resamples, seed)[metric]
    return figure(value, spread, confidence)


def against(rival: Model, predictions: Predictions, dataset: Dataset, config: EvaluateConfig) -> Figure:
    """The primary metric behind `predictions` less the rival's, which answers for the same samples now."""
    other = at_its_worst(rival, dataset, "test", config.slices).predictions
    return paired(predictions, other, tasks.of(dataset.card), config)


def paired(predictions: Predictions, other: Predictions, task: Task, config: EvaluateConfig) -> Figure:
    """`paired_difference` of the primary metric, resampled as `config` says."""
    return paired_difference(
        predictions,
        other,
        task,
        task.spec.primary_metric,
        resamples=config.bootstrap,
        confidence=config.confidence,
        seed=config.seed,
    )


def subset(predictions: Predictions, rows: npt.NDArray[np.int64]) -> Predictions:
    """The chosen rows, in that order."""
    return Predictions(predictions.table.take(pa.array(rows)), predictions.model, predictions.data, predictions.classes)


def _parts(predictions: Predictions) -> Iterator[tuple[str, str, Predictions]]:
    """Column, group and its rows, for every group and slice."""
    for column in slices.columns(predictions.table.column_names):
        labels = np.asarray(predictions.table.column(column).to_pylist())
        for group in sorted(set(labels.tolist())):
            yield column, str(group), subset(predictions, np.flatnonzero(labels == group))


def _worst(rows: list[GroupFigure], metric: Metric) -> Figure:
    """The worst group's figure; NaN if any group's is, for that group may be the worst."""
    if any(math.isnan(row.figure.value) for row in rows):
        return Figure(value=math.nan)
    return metric.worst(rows, lambda row: row.figure.value).figure


def _notes_on_twins(figures: Mapping[str, Figure], primary: str, samples: int) -> tuple[str, ...]:
    if not figures:
        return ()
    without, change = figures[f"{primary}_without_twins"], figures[f"{primary}_change_by_twins"]
    interval = "" if change.low is None else f" [{change.low:+.4f}, {change.high:+.4f}]"
    return (
        f"{figures[WITH_TWINS].value:,.0f} of {samples:,} samples are all but the same picture as one that was learnt "
        f"from: they change {primary.replace('_', ' ')} by {change.value:+.4f}{interval}, and without them it is "
        f"{without.value:.4f}.",
    )


def _notes(predictions: Predictions, rows: list[GroupFigure]) -> tuple[str, ...]:
    notes = []
    names = slices.columns(predictions.table.column_names)
    if any(name.startswith(slices.PREFIX) for name in names):
        notes.append("The data declares no groups: slices of brightness and contrast stand in; they are not people.")
    if not names:
        notes.append("There are neither groups nor slices to compare.")
    small = [f"{row.column} {row.group} ({row.samples})" for row in rows if row.samples < FEW]
    if small:
        notes.append(f"Fewer than {FEW} samples, so the metric is uncertain: {', '.join(small)}.")
    return tuple(notes)


def _aligned(candidate: Predictions, production: Predictions) -> Predictions:
    """Production's rows in the candidate's order."""
    if candidate.data != production.data or candidate.classes != production.classes:
        raise ValueError(
            f"expected predictions on the same data, received {candidate.data[:12]} and {production.data[:12]}: "
            "let the production model answer on the candidate's data"
        )
    ours, theirs = candidate.table.column("id").to_pylist(), production.table.column("id").to_pylist()
    place = {sample: row for row, sample in enumerate(theirs)}
    if len(place) != len(theirs) or len(set(ours)) != len(ours) or place.keys() != set(ours):
        raise ValueError(
            f"expected the same {len(ours)} samples on both sides, received {len(theirs)} of which "
            f"{len(place.keys() & set(ours))} are shared"
        )
    return subset(production, np.array([place[sample] for sample in ours], dtype=np.int64))
