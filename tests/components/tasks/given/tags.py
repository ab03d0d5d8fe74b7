"""Short texts of numbers: what follows 2 is of the first class, what follows 3 of the second, 4 of the third."""

from __future__ import annotations

import numpy as np

from components.artifacts import TextSpec
from components.config import NetworkConfig
from components.targets.tags import NOT_ASKED
from tests.components.tasks.task_builders import CLASSES, Given

LENGTH, TAGS = 12, 1 + 2 * len(CLASSES)
SPEC = TextSpec(kind="text", unit="word", length=LENGTH, lower=True, vocabulary=tuple(f"word{n}" for n in range(30)))


def given() -> Given:
    """8 texts of 7 to 12 units with two entities each, of one unit and of two."""
    random = np.random.default_rng(0)
    inputs = random.integers(5, SPEC.numbers, (8, LENGTH)).astype(np.int32)
    targets = np.zeros((8, LENGTH), np.int64)
    for row in range(8):
        for at, extent in ((0, 1), (3, 2)):
            label = (row + at) % len(CLASSES)
            inputs[row, at] = 2 + label
            targets[row, at + 1 : at + 1 + extent] = 2 + 2 * label
            targets[row, at + 1] -= 1
        end = 7 + row % 6
        inputs[row, end:], targets[row, end:] = 0, NOT_ASKED

    def perfect(targets: np.ndarray) -> dict[str, np.ndarray]:
        asked = np.where(targets == NOT_ASKED, 0, targets)
        return {"probabilities": np.moveaxis(np.eye(TAGS, dtype=np.float32)[asked], -1, 1), "prediction": asked}

    def wrong(targets: np.ndarray) -> np.ndarray:
        """Every entity of another class, and one wherever there is none."""
        other = np.where(targets == 0, 1, (targets + 1) % (TAGS - 1) + 1)
        return np.where(targets == NOT_ASKED, NOT_ASKED, other)

    def plain(targets: np.ndarray) -> np.ndarray:
        return np.where(targets == NOT_ASKED, NOT_ASKED, 1)

    arguments = {"dimension": 16, "width": 16, "dilations": "1,2", "dropout": 0.0}
    config = NetworkConfig(name="idcnn", arguments=arguments)
    sizes = {"tags": TAGS, "units": LENGTH}
    return Given(inputs, targets, config, CLASSES, perfect, wrong, {"kind": "tags"}, plain, sizes, SPEC)
