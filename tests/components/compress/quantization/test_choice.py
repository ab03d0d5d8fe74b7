from __future__ import annotations

import math

import pytest

from components.compress.quantization.choice import FASTER, Goal, Outcome, choose
from components.metrics.metric import Metric

ACCURACY = Metric("accuracy")
UNKNOWN = "float32: the accuracy of int8 or of float32 could not be computed, so the loss is not known"


@pytest.mark.parametrize(
    ("loss", "speedup", "served", "reason"),
    [
        (0.001, 1.84, "int8", "int8: 1.8× faster at batch 64 and loses 0.1 pp of accuracy (allowed 1 pp)"),
        (-0.002, 2.0, "int8", "int8: 2.0× faster at batch 64 and gains 0.2 pp of accuracy (allowed 1 pp)"),
        (0.0, 2.0, "int8", "int8: 2.0× faster at batch 64 and keeps accuracy (allowed 1 pp)"),
        (0.0, 0.7, "float32", "float32: int8 is slower (0.70× the speed at batch 64)"),
        (0.03, 3.0, "float32", "float32: int8 loses 3 pp of accuracy (allowed 1 pp), at 3.0× the speed at batch 64"),
        (math.nan, 3.0, "float32", UNKNOWN),
    ],
)
def test_the_faster_of_those_that_are_good_enough_is_served(
    loss: float, speedup: float, served: str, reason: str
) -> None:
    assert choose([Outcome("int8", loss, speedup, speedup, 4.0)], ACCURACY, 0.01, 64) == (served, reason)


def test_what_is_faster_by_chance_is_not_served() -> None:
    lucky = Outcome("bfloat16", 0.0, speedup=1.19, speedup_low=0.97, shrinkage=2.0)
    seen = "1.19× at batch 64, 0.97× in three of four rounds, needs 1.05×"
    assert FASTER == 1.05
    assert choose([lucky], ACCURACY, 0.01, 64) == ("float32", f"float32: bfloat16 is not measurably faster ({seen})")


MANY = [
    Outcome("int8", 0.004, 2.0, 1.9, 3.7),
    Outcome("int8-aware", 0.001, 2.1, 2.0, 3.6),
    Outcome("int4-weights", 0.009, 0.5, 0.5, 6.0),
    Outcome("float16", 0.0, 1.0, 1.0, 1.9),
]


@pytest.mark.parametrize(
    ("goal", "allowance", "served"),
    [
        ("speed", 0.01, "int8-aware"),
        ("size", 0.01, "int4-weights"),
        ("size", 0.005, "int8"),
        ("size", 0.0, "float16"),
        ("speed", 0.0, "float32"),
    ],
)
def test_of_many_the_best_within_the_allowance_is_served(goal: Goal, allowance: float, served: str) -> None:
    assert choose(MANY, ACCURACY, allowance, 64, goal)[0] == served


def test_without_candidates_float_is_served_and_the_reason_says_so() -> None:
    assert choose([], ACCURACY, 0.01, 64) == (
        "float32",
        "float32: there is no other candidate (quantize.candidates)",
    )
