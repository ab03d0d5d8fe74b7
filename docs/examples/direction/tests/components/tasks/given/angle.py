"""Digits, each number with a direction of its own."""

from __future__ import annotations

import numpy as np

from components.config import NetworkConfig
from tests.components.tasks.task_builders import Given, digits


def given() -> Given:
    images, numbers = digits()
    config = NetworkConfig(name="residual", arguments={"width": 16})
    return Given(
        images,
        (120.0 * numbers - 150.0).astype(np.float32),
        config,
        (),
        perfect=lambda targets: {"angle": targets},
        wrong=lambda targets: targets + np.float32(180.0),
        target={"kind": "angle"},
    )
