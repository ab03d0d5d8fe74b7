"""Digits with two numbers each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.config import NetworkConfig
from components.targets import values
from tests.components.tasks.task_builders import Given, digits


def given() -> Given:
    """Each digit's number, and how much ink it has, in units of very different sizes."""
    images, labels = digits()
    targets = np.stack([labels, images.mean(axis=(1, 2)) * 1000.0], axis=1).astype(np.float32)
    column = pa.array(targets.astype(np.float64).tolist(), values.TARGET.stored)
    record = values.TARGET.record({"names": ("number", "ink"), "units": ("", "mg")}, [column])
    scale = np.array(record["std"])

    def perfect(targets: np.ndarray) -> dict[str, np.ndarray]:
        ends = {"low": targets - scale, "high": targets + scale}
        return {"value": targets, **{name: each.astype(np.float32) for name, each in ends.items()}}

    def far(targets: np.ndarray) -> np.ndarray:
        return (targets + 10.0 * scale).astype(np.float32)

    config = NetworkConfig(name="residual", arguments={"width": 8})
    return Given(images, targets, config, (), perfect, far, record)
