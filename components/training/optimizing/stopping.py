"""When to end a training, by its validation figures alone. Pure rules; the loop applies them.

Only metrics of the validation split are looked at: the training split always gets better, and a training that looked
at the test split would be judged on what it was chosen by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from components.metrics.metric import Metric

VALIDATION = "validation_"

History = Sequence[Mapping[str, Any]]  # an epoch's record each, in order; its figures are under "metrics"


def of_validation(metric: Metric) -> Metric:
    """The metric as the loop logs it: of the validation split."""
    return replace(metric, name=f"{VALIDATION}{metric.name}")


def stop(history: History, patience: int | None, metric: Metric) -> bool:
    """Whether the last `patience` epochs were all no better than the best one before them; None: never stop.

    `metric` is a figure of the validation split, such as `validation_accuracy`; ValueError for any other. An equal
    figure is no improvement, and neither is NaN.
    """
    if patience is None:
        _of_validation(metric)
        return False
    return len(history) - (best_epoch(history, metric) or 0) >= patience


def best_epoch(history: History, metric: Metric) -> int | None:
    """The epoch, counted from 1, whose weights are to be kept: the first of the best. None where all are NaN."""
    _of_validation(metric)
    best: tuple[float, int] | None = None
    for epoch, record in enumerate(history, start=1):
        value = float(record["metrics"][metric.name])
        score = metric.sign * value
        if not math.isnan(score) and (best is None or score > best[0]):
            best = score, epoch
    return None if best is None else best[1]


def _of_validation(metric: Metric) -> None:
    if not metric.name.startswith(VALIDATION):
        raise ValueError(f"metric: expected a metric of the validation split, {VALIDATION}…, received {metric.name}")
