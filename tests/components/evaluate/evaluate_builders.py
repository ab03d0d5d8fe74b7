"""Predictions of classifiers and segmenters whose true quality is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from components.artifacts import DatasetCard, Predictions
from components.config import EvaluateConfig
from components.tasks import registry as tasks
from components.tasks.protocol import Task

CONFIG = EvaluateConfig(bootstrap=200, confidence=0.95, seed=0)
CLASSES = ("cat", "dog", "eel")


def classify(
    samples: int, right: float, seed: int = 0, groups: Mapping[str, Sequence[str]] | None = None, model: str = "m" * 64
) -> Predictions:
    """Answers that are right with probability `right`, said with confidence `right` (so: calibrated)."""
    random = np.random.default_rng(seed)
    target = random.integers(0, len(CLASSES), samples)
    correct = random.random(samples) < right
    prediction = np.where(correct, target, (target + random.integers(1, len(CLASSES), samples)) % len(CLASSES))
    scores = np.full((samples, len(CLASSES)), (1 - right) / (len(CLASSES) - 1))
    scores[np.arange(samples), prediction] = right
    columns: dict[str, Any] = {
        "id": [f"sample-{number}" for number in range(samples)],
        "split": ["test"] * samples,
        **{name: list(values) for name, values in (groups or {}).items()},
        "target": target,
        "prediction": prediction,
        "scores": scores.astype(np.float32).tolist(),
    }
    return Predictions(pa.table(columns), model, "d" * 64, CLASSES)


def segment(samples: int, right: float, seed: int = 0, side: int = 8) -> Predictions:
    """Masks whose pixels are right with probability `right`."""
    random = np.random.default_rng(seed)
    target = random.integers(0, len(CLASSES), (samples, side, side))
    wrong = (target + 1) % len(CLASSES)
    prediction = np.where(random.random(target.shape) < right, target, wrong)
    probabilities = np.full((samples, len(CLASSES), side, side), (1 - right) / 2)
    np.put_along_axis(probabilities, prediction[:, None], right, axis=1)
    rows = tasks.get("segmentation").rows({"probabilities": probabilities, "prediction": prediction}, target)
    halves = ["1 of 2 (darkest)" if number % 2 else "2 of 2 (brightest)" for number in range(samples)]
    ids = [f"scene-{number}" for number in range(samples)]
    table = {"id": ids, "split": ["test"] * samples, "slice_brightness": halves, **rows}
    return Predictions(pa.table(table), "m" * 64, "d" * 64, CLASSES)


def measure_numbers(
    samples: int, error: float, seed: int = 0, groups: Mapping[str, Sequence[str]] | None = None, model: str = "m" * 64
) -> Predictions:
    """Answers that are off by normal errors of deviation `error`, in intervals of ± 2 of these."""
    random = np.random.default_rng(seed)
    target = np.random.default_rng(0).normal(100.0, 10.0, (samples, 1))
    value = target + error * random.normal(size=target.shape)
    answer = {"value": value, "low": value - 2 * error, "high": value + 2 * error}
    named = {"id": [f"sample-{number}" for number in range(samples)], "split": ["test"] * samples, **(groups or {})}
    return Predictions(pa.table({**named, **NUMBERS.rows(answer, target)}), model, "d" * 64, ())


def _numbers() -> Task:
    scale = {"mean": [100.0], "std": [10.0], "low": [60.0], "high": [140.0]}
    target = {"kind": "values", "names": ["weight"], "units": ["kg"], **scale}
    return tasks.of(DatasetCard.model_construct(task="regression", classes=(), target=target))


NUMBERS = _numbers()  # the task that judges them
