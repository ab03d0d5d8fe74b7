"""What many evaluations on one test split are worth, by simulation: nothing to those who are no better."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from components.artifacts import Figure
from components.config.gates import FloorGate, ProductionGate
from components.metrics import bootstrap
from components.registry import gates
from components.registry.gates.reuse import confidence_of, stretched
from tests.components.registry.registry_builders import build_case, build_evidence

SAMPLES, RESAMPLES, TRIES, ROWS = 2000, 400, 20, 500
EVIDENCE = build_evidence("a" * 64)
EQUAL = ProductionGate(gate="production", margin=0.0)


def difference(random: np.random.Generator, better: float) -> Figure:
    """A challenger that answers 5 % of the samples otherwise than production, and is better by that share."""
    drawn = random.multinomial(SAMPLES, [0.025 + better / 2, 0.025 - better / 2, 0.95])
    # Resampling samples that each count +1, -1 or 0 is drawing how many of each there are.
    again = random.multinomial(SAMPLES, drawn / SAMPLES, size=RESAMPLES)
    spread: npt.NDArray[np.float64] = (again[:, 0] - again[:, 1]) / SAMPLES
    low, high = bootstrap.interval(spread, 0.95)
    return Figure(value=float(drawn[0] - drawn[1]) / SAMPLES, low=low, high=high)


def passes(figure: Figure, evaluations: int) -> bool:
    case = build_case(EVIDENCE, production=1, against_production=figure, evaluations=evaluations)
    return gates.judge(case, [EQUAL])[0].passed


def test_challengers_that_are_no_better_pass_at_most_at_the_nominal_rate_however_often_they_try() -> None:
    # given rows of challengers that are as good as production, which must be no worse than it by nothing at all
    random = np.random.default_rng(0)
    rows = [[difference(random, 0.0) for _ in range(TRIES)] for _ in range(ROWS)]
    # when each is judged as the evaluation that it is, or every one as if it were the first
    counted = np.array([[passes(figure, number) for number, figure in enumerate(row, 1)] for row in rows])
    uncounted = np.array([[passes(figure, 1) for figure in row] for row in rows])
    # then one of a row passes in 5 % of the rows at most (three standard errors above), and otherwise in a third
    assert counted.any(axis=1).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / ROWS)
    assert uncounted.any(axis=1).mean() > 0.3
    # and the first faces its own interval: 2.5 % at either end
    assert counted[:, 0].mean() <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / ROWS)


def test_who_is_better_passes_at_a_late_try_too() -> None:
    random = np.random.default_rng(1)
    late = [passes(difference(random, 0.025), 10) for _ in range(200)]
    assert np.mean(late) > 0.8


def test_all_tries_together_have_the_confidence_that_was_asked_for() -> None:
    spent = sum((1.0 - confidence_of(0.95, evaluations)) / 2 for evaluations in range(1, 10_000))
    assert spent == pytest.approx(0.05, abs=1e-5)
    assert confidence_of(0.95, 1) == pytest.approx(0.95)
    with pytest.raises(ValueError, match="expected 1 for the first"):
        confidence_of(0.95, 0)


def test_the_first_interval_stays_and_later_ones_grow_on_both_sides() -> None:
    figure = Figure(value=0.9, low=0.88, high=0.91)
    assert stretched(figure, 0.95, 1) is figure
    third = stretched(figure, 0.95, 3)
    # 95 % is 1.96 deviations to either side, and 1 - 2 · 0.05/12 is 2.638
    assert third.low == pytest.approx(0.9 - 0.02 * 2.638 / 1.95996, abs=1e-4)
    assert third.high == pytest.approx(0.9 + 0.01 * 2.638 / 1.95996, abs=1e-4)
    assert stretched(Figure(value=1.0), 0.95, 3) == Figure(value=1.0)


def test_a_new_test_split_each_night_is_no_way_to_begin_at_one() -> None:
    figure = Figure(value=0.002, low=0.0005, high=0.0035)
    first, tenth = (
        gates.judge(build_case(EVIDENCE, production=1, against_production=figure, challenges=number), [EQUAL])[0]
        for number in (1, 10)
    )
    assert first.passed and not tenth.passed
    assert "challenger 10 of version 1: the interval of 99.909%" in tenth.reason
    # Other gates compare with nobody.
    floor = FloorGate(gate="floor", limit=0.875)
    assert gates.judge(build_case(EVIDENCE, challenges=10), [floor])[0].passed


def test_a_late_try_is_told_why_its_limit_is_harder() -> None:
    gate = FloorGate(gate="floor", limit=0.875)
    first, tenth = (gates.judge(build_case(EVIDENCE, evaluations=evaluations), [gate])[0] for evaluations in (1, 10))
    assert first.passed and "evaluation" not in first.reason
    assert not tenth.passed and "evaluation 10 on this test split: the interval of 99.909%" in tenth.reason
    assert tenth.low is not None and first.low is not None and tenth.low < first.low
