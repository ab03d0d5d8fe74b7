from __future__ import annotations

import math
from typing import Any

import pytest

from components.artifacts import Figure
from components.registry import gates
from tests.components.registry.registry_builders import DATA, LIMITS, build_case, build_evidence

MODEL = "a" * 64
GOOD = build_evidence(MODEL)


def verdict(gate: str, case: gates.Case) -> Any:
    return {entry.gate: entry for entry in gates.judge(case, LIMITS)}[gate]


def with_figure(name: str, figure: Figure | None) -> Any:
    figures = {**GOOD.figures}
    if figure is None:
        del figures[name]
    else:
        figures[name] = figure
    return GOOD.model_copy(update={"figures": figures})


def test_a_good_first_version_passes_every_gate() -> None:
    verdicts = gates.judge(build_case(GOOD), LIMITS)
    assert gates.approved(verdicts), [entry.reason for entry in verdicts]
    assert "nothing is in production" in verdict("production", build_case(GOOD)).reason


def test_no_verdict_is_no_approval() -> None:
    assert not gates.approved([])


@pytest.mark.parametrize(
    ("gate", "case", "reason"),
    [
        ("floor", build_case(with_figure("accuracy", Figure(value=0.81, low=0.79, high=0.83))), "0.79 < 0.8"),
        ("floor", build_case(with_figure("accuracy", Figure(value=0.99))), "no interval"),
        ("floor", build_case(with_figure("accuracy", Figure(value=0.99, low=math.nan, high=1.0))), "no interval"),
        ("floor", build_case(with_figure("accuracy", Figure(value=math.nan, low=0.9, high=0.9))), "nan, not a number"),
        ("floor", build_case(with_figure("accuracy", None)), "'accuracy' is missing"),
        ("worst_group", build_case(with_figure("worst_group_accuracy", Figure(value=0.6))), "0.6 < 0.7"),
        ("worst_group", build_case(with_figure("worst_group_accuracy", Figure(value=math.nan))), "not a number"),
        ("worst_group", build_case(with_figure("worst_group_accuracy", None)), "missing"),
        ("latency", build_case(with_figure("latency_ms", Figure(value=11.0))), "11 > 10"),
        ("latency", build_case(with_figure("latency_ms", Figure(value=0.0))), "no time at all"),
        ("latency", build_case(with_figure("latency_ms", None)), "missing"),
        ("parity", build_case(GOOD, parity=None), "was not compared"),
        ("parity", build_case(GOOD, parity=math.nan), "not a distance"),
        ("parity", build_case(GOOD, parity=0.01), "0.01 > 0.001"),
        ("int8_drop", build_case(GOOD, parent=None), "float parent has no evidence"),
        ("int8_drop", build_case(GOOD, parent=build_evidence("f" * 64, 0.92)), "0.02 > 0.01"),
        ("int8_drop", build_case(GOOD, parent=build_evidence("e" * 64)), "artifact eeee"),
        ("int8_drop", build_case(GOOD, parent_artifact=None), "an unknown one"),
        ("int8_drop", build_case(GOOD, parent=build_evidence("f" * 64, data="x" * 64)), "on data xxxx"),
        ("int8_drop", build_case(GOOD, parent=build_evidence("f" * 64, samples=50)), "on 50 samples"),
        ("production", build_case(GOOD, production=3), "version 3 is in production and was not compared"),
        (
            "production",
            build_case(GOOD, production=3, against_production=Figure(value=0.0, low=-0.02, high=0.02)),
            "-0.02 < -0.01",
        ),
        ("production", build_case(GOOD, production=3, against_production=Figure(value=0.5)), "not a number with"),
        (
            "production",
            build_case(GOOD, production=3, against_production=Figure(value=math.nan, low=0.0, high=0.0)),
            "not a number",
        ),
    ],
)
def test_a_bad_or_missing_figure_is_a_rejection_that_says_which(gate: str, case: gates.Case, reason: str) -> None:
    said = verdict(gate, case)
    assert not said.passed
    assert reason in said.reason


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (None, "has no evidence"),
        (build_evidence("b" * 64), "artifact bbbb"),
        (build_evidence(MODEL, data="x" * 64), "on data xxxx"),
        (build_evidence(MODEL, split="validation"), "validation split"),
        (build_evidence(MODEL, samples=0), "on no sample"),
    ],
)
@pytest.mark.parametrize("gate", ["floor", "worst_group", "production", "int8_drop", "latency"])
def test_evidence_of_something_else_is_a_rejection(gate: str, evidence: Any, reason: str) -> None:
    better = Figure(value=0.1, low=0.05, high=0.15)
    case = build_case(evidence, artifact=MODEL, data=DATA, production=1, against_production=better)
    said = verdict(gate, case)
    assert not said.passed
    assert reason in said.reason


def test_a_version_within_the_margin_of_production_passes() -> None:
    case = build_case(GOOD, production=3, against_production=Figure(value=0.0, low=-0.005, high=0.005))
    assert verdict("production", case).passed


def test_where_lower_is_better_the_signs_turn() -> None:
    error = build_evidence(MODEL, figures={"accuracy": Figure(value=0.7, low=0.68, high=0.79)})
    worse = Figure(value=0.02, low=0.0, high=0.04)
    case = build_case(error, higher_is_better=False, production=1, against_production=worse)
    assert verdict("floor", case).passed
    assert not verdict("production", case).passed
