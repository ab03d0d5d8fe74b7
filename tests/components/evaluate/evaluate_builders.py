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

CONFIG = EvaluateConfig(bootstrap=200, confidence=0.95, min_samples=20, seed=0)
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


def detect(samples: int, right: float, seed: int = 0, side: int = 64) -> tuple[Predictions, np.ndarray]:
    """Two things a scene, half of them half hidden; found with probability `right`, else off, or of another class.

    The pictures `(N, H, W, C)` are noise.
    """
    random = np.random.default_rng(seed)
    task, ids = tasks.get("detection"), np.array([f"scene-{number}" for number in range(samples)])
    corners = random.integers(0, side - 20, (samples, 2, 2)).astype(np.float32)
    labels = random.integers(0, len(CLASSES), (samples, 2))
    hidden = np.where(random.random(labels.shape) < 0.5, 0.4, 1.0)
    boxes = np.concatenate([corners, corners + 20], axis=2)
    targets = np.concatenate([labels[..., None], boxes, np.zeros((samples, 2, 1)), hidden[..., None]], axis=2)
    targets = targets.astype(np.float32)
    lot = random.random(labels.shape)
    scores = np.where(lot < right, 0.9, 0.6).astype(np.float32)
    answer = {
        "boxes": boxes + np.where(lot > (1 + right) / 2, 9.0, 0.0)[..., None].astype(np.float32),
        "scores": scores,
        "labels": np.where((lot > right) & (lot < (1 + right) / 2), (labels + 1) % len(CLASSES), labels),
        "valid": random.random(labels.shape) < 0.95,
    }
    images = random.integers(0, 255, (samples, side, side, 3), dtype=np.uint8)
    table = {"id": ids.tolist(), "split": ["test"] * samples, "slice_brightness": ["1 of 1"] * samples}
    predictions = Predictions(pa.table({**table, **task.rows(answer, targets)}), "m" * 64, "d" * 64, CLASSES)
    return predictions, images


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
