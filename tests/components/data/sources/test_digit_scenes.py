"""Composed scenes: exact masks, and nothing but the seed and the number decides."""

from __future__ import annotations

import numpy as np

from components.config import DigitScenesSource
from components.data.sources import digit_scenes
from components.data.sources.digits import load

DIGITS, LABELS = load()


def _scene(number: int, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    source = DigitScenesSource.model_validate({"kind": "digit-scenes", **changes})
    return digit_scenes.compose(source, number, DIGITS, LABELS)


def test_without_noise_ink_and_mask_are_the_same_pixels() -> None:
    for number in range(20):
        scene, mask = _scene(number, noise=0.0)
        background = round(digit_scenes.BACKGROUND * 255)
        assert np.array_equal(scene != background, mask > 0)


def test_a_scene_holds_as_many_digits_as_declared() -> None:
    for number in range(20):
        shown = set(np.unique(_scene(number, digits=[3, 3], size=64)[1])) - {0}
        assert 1 <= len(shown) <= 3  # fewer where a digit comes twice
        assert max(shown) <= 10


def test_a_scene_depends_on_its_number_and_the_seed_only() -> None:
    first = _scene(5, scenes=10)
    again = _scene(5, scenes=500)
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], _scene(6)[0])
    assert not np.array_equal(first[0], _scene(5, seed=1)[0])
