"""Foreign pictures are found among real ones, and real ones are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from components.config import DigitScenesSource
from components.data.inspection import outliers
from components.data.inspection.describing import describe
from components.data.inspection.eyes.gradients import descriptor
from components.data.inspection.rows import Rows
from components.data.sources import digit_scenes
from components.inputs import png
from tests.components.data.inspection.inspection_builders import Pixels, digits, filled, photographs


def alarms(folder: Path, *batches: Pixels) -> list[np.ndarray]:
    """Which pictures of each batch are outliers."""
    with filled(folder, *batches) as rows, Rows(folder, (64,), np.float32) as embedded:
        distances = describe(lambda some: descriptor(rows.take(some)), np.arange(len(rows)), embedded)
        assert len(embedded) == len(rows)
    found = distances > outliers.limit(distances)
    return np.split(found, np.cumsum([len(batch) for batch in batches])[:-1])


# Measured over 3 seeds: 15 of 15; alarms among the 1,797 digits 0 or 1 of them.
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("foreign", ["noise", "negative", "turned", "photograph"])
def test_foreign_pictures_among_digits_are_found(foreign: str, seed: int, tmp_path: Path) -> None:
    random = np.random.default_rng(seed)
    own = digits(15, seed)[0]
    strange = {
        "noise": random.integers(0, 256, (15, 8, 8), dtype=np.uint8),
        "negative": 255 - own,
        "turned": np.ascontiguousarray(np.rot90(own, axes=(1, 2))),
        "photograph": photographs(15, side=32, seed=seed)[..., 0],
    }[foreign]

    real, found = alarms(tmp_path, digits()[0], strange)

    assert found.mean() >= 0.8
    assert found.sum() / (found.sum() + real.sum()) >= 0.8


def test_of_the_digits_themselves_a_few_in_a_thousand_are_called_strange(tmp_path: Path) -> None:
    (found,) = alarms(tmp_path, digits()[0])

    assert found.sum() <= 6


def test_scenes_of_noise_and_digits_are_not_strange_to_each_other(tmp_path: Path) -> None:
    tables = digit_scenes.read(DigitScenesSource(kind="digit-scenes", scenes=300), tmp_path).tables
    scenes = np.concatenate([png.decode_stored(table["image"].combine_chunks()) for table in tables])

    (found,) = alarms(tmp_path, scenes)

    assert found.sum() <= 2


def test_a_cluster_of_foreign_pictures_does_not_become_what_is_usual(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 8, 8), dtype=np.uint8)

    real, found = alarms(tmp_path, digits()[0], noise)

    assert found.mean() >= 0.9
    assert real.sum() <= 3


def test_the_limit_has_one_in_a_thousand_of_a_normal_logarithm_above_it() -> None:
    distances = np.exp(np.random.default_rng(0).normal(0.0, 0.2, 200_000)).astype(np.float32)

    assert np.mean(distances > outliers.limit(distances)) == pytest.approx(outliers.FALSE_ALARMS, rel=0.3)


@pytest.mark.parametrize("count", [0, 1, 2, 99])
def test_few_pictures_are_not_called_strange(count: int, tmp_path: Path) -> None:
    (found,) = alarms(tmp_path, photographs(120)[:count])

    assert not found.any()


def test_pictures_that_are_all_alike_do_not_break_the_distance(tmp_path: Path) -> None:
    (found,) = alarms(tmp_path, np.repeat(photographs(1), 150, axis=0))

    assert not found.any()
