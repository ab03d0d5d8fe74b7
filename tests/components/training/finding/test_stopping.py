"""When a training ends early: a table of histories, and the splits that may not be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from components.metrics.metric import Metric
from components.training.optimizing.stopping import best_epoch, stop

NAN = float("nan")
ACCURACY = "validation_accuracy"


def history(values: Sequence[float], name: str = ACCURACY) -> list[dict[str, Any]]:
    return [{"epoch": epoch, "metrics": {name: value}} for epoch, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("values", "patience", "higher", "stops", "best"),
    [
        ([], 1, True, False, None),
        ([0.5], 1, True, False, 1),
        ([0.5, 0.6, 0.7], 1, True, False, 3),
        ([0.5, 0.6, 0.6], 1, True, True, 2),  # as good is no better
        ([0.5, 0.6, 0.5], 2, True, False, 2),
        ([0.5, 0.6, 0.5, 0.55], 2, True, True, 2),
        ([0.5, 0.6, 0.5, 0.61], 2, True, False, 4),
        ([0.9, 0.1, 0.2, 0.3], 3, True, True, 1),  # slow progress below the best is none
        ([0.9, 0.1, 0.2], None, True, False, 1),
        ([0.9, 0.5, 0.6], 1, False, True, 2),  # a loss
        ([0.9, 0.5, 0.4], 1, False, False, 3),
        ([NAN, NAN], 2, True, True, None),
        ([NAN, 0.1, NAN], 2, True, False, 2),
        ([0.1, NAN, NAN], 2, True, True, 1),
    ],
)
def test_patience_counts_the_epochs_since_the_best(
    values: list[float], patience: int | None, higher: bool, stops: bool, best: int | None
) -> None:
    metric = Metric(ACCURACY, "more" if higher else "less")
    assert stop(history(values), patience, metric) is stops
    assert best_epoch(history(values), metric) == best


@pytest.mark.parametrize("metric", ["train_loss", "test_accuracy", "accuracy"])
def test_only_the_validation_split_may_decide(metric: str) -> None:
    for patience in (1, None):
        with pytest.raises(ValueError, match="validation split"):
            stop(history([0.5, 0.4], metric), patience, Metric(metric))
    with pytest.raises(ValueError, match="validation split"):
        best_epoch(history([0.5, 0.4], metric), Metric(metric))
