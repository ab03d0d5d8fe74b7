"""What a metric says of two values, whichever way is better and whatever it is counted in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from components.metrics.figures import figure
from components.metrics.metric import Metric, change, decimal, shown

ACCURACY = Metric("accuracy")
ERROR = Metric("error", "less")
RMSE = Metric("rmse", "less", "px")
RETURN = Metric("return", "more", "points")


@pytest.mark.parametrize(
    ("metric", "before", "after", "lost"),
    [
        (ACCURACY, 0.9, 0.85, 0.05),
        (ACCURACY, 0.9, 0.95, -0.05),
        (ERROR, 0.1, 0.15, 0.05),
        (RMSE, 4.0, 5.0, 0.25),  # a quarter more
        (RMSE, 400.0, 500.0, 0.25),  # whatever it is counted in
        (RETURN, -200.0, -210.0, 0.05),  # a return may be below 0
        (RMSE, 0.0, 0.0, 0.0),
        (RMSE, 0.0, 0.1, math.inf),
    ],
)
def test_what_was_lost_is_a_difference_of_shares_and_a_part_of_anything_else(
    metric: Metric, before: float, after: float, lost: float
) -> None:
    assert metric.lost(before, after) == pytest.approx(lost)
    spread = metric.lost(np.array([before, before]), np.array([after, before]))
    np.testing.assert_allclose(spread, [lost, 0.0])


@pytest.mark.parametrize("metric", [ACCURACY, ERROR, RMSE])
def test_what_is_not_known_is_not_lost_in_silence(metric: Metric) -> None:
    assert math.isnan(metric.lost(math.nan, 0.5)) and math.isnan(metric.lost(0.5, math.nan))
    assert not metric.beats(math.nan, 0.5) and not metric.beats(0.5, math.nan)


def test_the_best_and_the_worst_are_the_first_of_several() -> None:
    values = [("a", 0.5), ("b", 0.9), ("c", 0.5), ("d", 0.9)]
    assert ACCURACY.best(values, lambda each: each[1])[0] == ERROR.worst(values, lambda each: each[1])[0] == "b"
    assert ACCURACY.worst(values, lambda each: each[1])[0] == ERROR.best(values, lambda each: each[1])[0] == "a"
    assert ACCURACY.beats(0.9, 0.5) and ERROR.beats(0.5, 0.9) and not RMSE.beats(0.5, 0.5)


def test_values_are_shown_by_their_unit() -> None:
    assert [shown(0.91234), shown(0.5, ""), shown(2_500_000, "bytes")] == ["91.23 %", "0.5000", "2.50 MB"]
    assert [shown(12.5, "px"), shown(12345.6, "images/s"), shown(-2000.4, "points")] == [
        "12.5 px",
        "12,346 images/s",
        "-2,000 points",
    ]
    assert [shown(None), shown(math.nan)] == ["–", "not measurable"]
    assert [decimal(0.896), decimal(12.5, "px"), decimal(140_123, "bytes"), decimal(None), decimal(math.nan)] == [
        "0.8960",
        "12.5000 px",
        "140,123 bytes",
        "–",
        "unknown",
    ]
    assert [change(0.9, 0.91), change(4.0, 4.5, "px"), change(0.9, math.nan)] == ["+1.00 pp", "+0.5 px", "unknown"]
    assert [ACCURACY.amount(0.0123), RMSE.amount(0.05)] == ["1.2 pp", "5 %"]


def test_a_figure_has_its_unit_and_an_interval_where_every_resample_has_a_value() -> None:
    spread = np.linspace(0.0, 1.0, 101)
    whole = figure(0.5, spread, 0.9)
    assert (whole.unit, whole.low, whole.high) == ("", pytest.approx(0.05), pytest.approx(0.95))
    holed = figure(0.5, np.append(spread, math.nan), 0.9, "px")
    assert (holed.unit, holed.low, holed.high) == ("px", None, None)
