"""Composed scenes: exact masks, and nothing but the seed and the number decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from components.config import DigitScenesSource
from components.data.sources import digit_scenes
from components.data.sources.digits import load

DIGITS, LABELS = load()


def _scene(number: int, **changes: object) -> tuple[np.ndarray, np.ndarray]:
    source = DigitScenesSource.model_validate({"kind": "digit-scenes", **changes})
    scene = digit_scenes.compose(source, number, DIGITS, LABELS)
    return scene.image, scene.mask


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


def test_measures_are_those_of_the_scene_and_its_pixels_stay() -> None:
    plain = {"kind": "digit-scenes", "scenes": 30, "digits": [1, 4]}
    (masks,), (values,) = (
        list(digit_scenes.read(DigitScenesSource.model_validate(plain | {"take": take}), Path()).tables)
        for take in ("masks", "values")
    )
    assert values.column("image").equals(masks.column("image"))
    for number, (count, size, angle) in enumerate(values.column("target").to_pylist()):
        scene = digit_scenes.compose(DigitScenesSource.model_validate(plain), number, DIGITS, LABELS)
        assert (count, angle) == (len(scene.sides), 0.0)
        assert size == np.mean(scene.sides)
        assert 1 <= count <= 4


def test_boxes_are_those_of_each_digit_s_ink_and_tell_what_is_covered() -> None:
    """Where no two digits are of one class, the mask has every pixel that is seen of each."""
    covered = 0
    for number in range(60):
        source = DigitScenesSource.model_validate({"kind": "digit-scenes", "size": 40, "digits": [3, 6], "tilt": 20.0})
        scene = digit_scenes.compose(source, number, DIGITS, LABELS)
        assert len(scene.objects) == len(scene.sides)
        labels = [each["label"] for each in scene.objects]
        for each in scene.objects:
            rows, columns = np.nonzero(scene.mask == each["label"] + 1)
            inside = (each["left"] <= columns) & (columns < each["right"])
            inside &= (each["top"] <= rows) & (rows < each["bottom"])
            covered += each["visible"] < 1
            if labels.count(each["label"]) > 1:
                continue
            assert inside.all()
            if each["visible"] == 1:
                assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == [
                    each[side] for side in ("left", "top", "right", "bottom")
                ]
            assert each["ignored"] == (each["visible"] < 0.1)
        last = scene.objects[-1]
        assert last["visible"] == 1
    assert covered > 10


def test_boxes_leave_the_pictures_as_they_are() -> None:
    plain = {"kind": "digit-scenes", "scenes": 20}
    (masks,), (boxes,) = (
        list(digit_scenes.read(DigitScenesSource.model_validate(plain | {"take": take}), Path()).tables)
        for take in ("masks", "boxes")
    )
    assert boxes.column("image").equals(masks.column("image"))
    assert digit_scenes.read(DigitScenesSource.model_validate(plain | {"take": "boxes"}), Path()).classes[0] == "0"


def test_a_tilted_scene_is_turned_by_its_angle() -> None:
    """One digit at a time: turning it back gives the upright one, but for what interpolation costs."""
    found = []
    for number in range(12):
        changes = {"digits": [1, 1], "noise": 0.0, "size": 64}
        source = DigitScenesSource.model_validate({"kind": "digit-scenes", "tilt": 40.0, **changes})
        tilted = digit_scenes.compose(source, number, DIGITS, LABELS)
        upright = _scene(number, **changes)[0].astype(float)
        assert abs(tilted.angle) <= 40.0
        (side,) = tilted.sides
        rows, columns = np.nonzero(upright != upright[0, 0])
        centre = np.array([rows.mean(), columns.mean()])
        angles = np.arange(-44, 45, 4)
        turned = [_turned(upright, angle, centre) for angle in angles]
        best = angles[np.argmax([(each * tilted.image).sum() for each in turned])]
        found.append(abs(best - tilted.angle))
        assert side >= 8
    assert np.median(found) <= 6.0


def _turned(image: np.ndarray, angle: float, centre: np.ndarray) -> np.ndarray:
    radians = np.deg2rad(angle)
    matrix = np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])
    return affine_transform(image, matrix, offset=centre - matrix @ centre, order=1, mode="nearest")
