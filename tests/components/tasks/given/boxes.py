"""Scenes of some digits each, with their boxes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from components.config import NetworkConfig
from tests.components.tasks.task_builders import CLASSES, Given, digits, next_class


def given() -> Given:
    """8 scenes of 32×32 with one to three digits, 16×16 each; half of the digits are said to be all but covered."""
    digits_, labels = digits()
    random = np.random.default_rng(0)
    images, targets = np.zeros((8, 32, 32), np.uint8), np.zeros((8, 4, 7), np.float32)
    targets[:, :, 0] = -1
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        for row, corner in enumerate(random.permutation(4)[: 1 + number % 3]):
            digit = random.integers(len(digits_))
            top, left = 16 * (corner // 2), 16 * (corner % 2)
            image[top : top + 16, left : left + 16] = np.kron(digits_[digit], np.ones((2, 2), np.uint8))
            target[row] = (labels[digit], left, top, left + 16, top + 16, 0, (1.0, 0.3)[row % 2])

    def perfect(targets: np.ndarray) -> dict[str, np.ndarray]:
        valid = targets[:, :, 0] >= 0
        labels = targets[:, :, 0].astype(np.int64)
        return {"boxes": targets[:, :, 1:5], "scores": valid.astype(np.float32), "labels": labels, "valid": valid}

    def relabelled(label: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
        def other(targets: np.ndarray) -> np.ndarray:
            labels = targets[:, :, :1]
            return np.concatenate([np.where(labels >= 0, label(labels), labels), targets[:, :, 1:]], axis=2)

        return other

    config = NetworkConfig(name="detector", arguments={"width": 8, "normalization": "group"})
    wrong, plain = relabelled(next_class), relabelled(np.zeros_like)
    record = {"kind": "boxes", "most": 4}
    return Given(images, targets, config, CLASSES, perfect, wrong, record, plain, {"detections": 16}, units=5)
