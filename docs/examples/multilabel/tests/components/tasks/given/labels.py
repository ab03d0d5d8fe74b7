"""Digits with two labels each: the digit, and the one after it."""

from __future__ import annotations

import numpy as np

from components.config import NetworkConfig
from tests.components.tasks.task_builders import CLASSES, Given, digits


def given() -> Given:
    images, numbers = digits()
    truth = np.eye(len(CLASSES), dtype=np.float32)
    config = NetworkConfig(name="residual", arguments={"width": 16})
    return Given(
        images,
        truth[numbers] + truth[(numbers + 1) % len(CLASSES)],
        config,
        CLASSES,
        perfect=lambda targets: {"probabilities": targets},
        wrong=lambda targets: 1.0 - targets,
        target={"kind": "labels"},
    )
