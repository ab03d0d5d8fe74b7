"""Digits with several labels each: none, one or two."""

from __future__ import annotations

import numpy as np

from components.config import NetworkConfig
from tests.components.tasks.task_builders import CLASSES, Given, digits


def given() -> Given:
    """A 0 has no label, a 1 the first and the second, a 2 the third."""
    images, numbers = digits()
    truth = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=np.float32)[numbers]
    config = NetworkConfig(name="residual", arguments={"width": 16})
    return Given(images, truth, config, CLASSES, perfect, lambda targets: 1.0 - targets, {"kind": "labels"}, first)


def perfect(targets: np.ndarray) -> dict[str, np.ndarray]:
    return {"probabilities": targets, "prediction": targets > 0}


def first(targets: np.ndarray) -> np.ndarray:
    plain = np.zeros_like(targets)
    plain[:, 0] = 1.0
    return plain
