"""The rate for another batch: the rules' own factors, and what is said of combinations that are seldom meant."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from components.config import TrainingConfig
from components.training.optimizing.scaling import advice, factor, peak_rate


def config(**values: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"optimizer": "sgd", **values})


@pytest.mark.parametrize(
    ("rule", "batch", "reference", "expected"),
    [
        ("none", 8192, None, 0.1),
        ("none", 8192, 256, 0.1),
        ("linear", 8192, 256, 3.2),  # Goyal et al. 2017: 0.1 for 256 is 3.2 for 8k
        ("linear", 128, 256, 0.05),
        ("square-root", 1024, 256, 0.2),
        ("square-root", 512, 256, 0.1 * math.sqrt(2)),
        ("square-root", 256, 256, 0.1),
    ],
)
def test_the_rate_follows_the_batch_by_its_rule(rule: str, batch: int, reference: int | None, expected: float) -> None:
    found = config(learning_rate=0.1, batch_size=batch, rate_scaling=rule, reference_batch=reference)
    assert peak_rate(found) == pytest.approx(expected, rel=1e-12)
    assert peak_rate(found) == found.learning_rate * factor(found)


def test_a_rule_without_the_batch_it_starts_from_is_a_mistake() -> None:
    with pytest.raises(ValidationError, match="reference_batch"):
        config(rate_scaling="linear")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate_scaling": "linear", "reference_batch": 64, "batch_size": 512, "warmup": 0.0}, ["training.warmup"]),
        ({"rate_scaling": "linear", "reference_batch": 64, "batch_size": 512, "warmup": 0.1}, []),
        ({"rate_scaling": "linear", "reference_batch": 512, "batch_size": 64, "warmup": 0.0}, []),
        ({"rate_scaling": "square-root", "reference_batch": 64, "batch_size": 512, "warmup": 0.0}, []),
        ({"warmup": 0.0, "batch_size": 8192}, []),
        (
            {"rate_scaling": "linear", "reference_batch": 64, "batch_size": 512, "optimizer": "adamw"},
            ["training.rate_scaling"],
        ),
    ],
)
def test_a_raised_rate_without_a_warm_up_is_spoken_of(values: dict[str, Any], words: list[str]) -> None:
    told = advice(config(**values))
    assert [line.split(":")[0] for line in told] == words
