"""Scenes of two digits each, with their masks."""

from __future__ import annotations

import numpy as np

from components.config import NetworkConfig
from tests.components.tasks.task_builders import CLASSES, Given, digits, next_class, one_hot


def given() -> Given:
    """8 scenes of 16×16 with a 0 and a 1 in corners; where there is ink, there is the digit's class."""
    digits_, labels = digits()
    random = np.random.default_rng(0)
    images, masks = np.zeros((8, 16, 16), np.uint8), np.zeros((8, 16, 16), np.int64)
    for image, mask in zip(images, masks, strict=True):
        for label, corner in zip((0, 1), random.permutation(4)[:2], strict=True):
            place = (slice(corner // 2 * 8, corner // 2 * 8 + 8), slice(corner % 2 * 8, corner % 2 * 8 + 8))
            drawn = digits_[random.choice(np.flatnonzero(labels == label))]
            image[place], mask[place] = drawn, np.where(drawn > 80, label + 1, 0)
    config = NetworkConfig(name="unet", arguments={"width": 8, "depth": 2})
    return Given(images, masks, config, CLASSES, one_hot, next_class, {})
