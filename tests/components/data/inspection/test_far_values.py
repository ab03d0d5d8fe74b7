"""Numbers far from all others are found, whatever the shape of what is usual, and ordinary ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from components.data.inspection import far_values

RANDOM = np.random.default_rng(0)
USUAL = {
    "normal": RANDOM.normal(100.0, 15.0, 5000),
    "skewed": RANDOM.exponential(3.0, 5000),
    "counts": RANDOM.poisson(1.5, 5000).astype(float),
    "nearly constant": np.where(RANDOM.random(5000) < 0.9, 7.0, RANDOM.normal(7.0, 0.1, 5000)),
}


@pytest.mark.parametrize("name", USUAL)
def test_slips_of_the_pen_are_found_and_hardly_anything_else(name: str) -> None:
    values = np.concatenate([USUAL[name], [-999.0, 1e6]])
    found = far_values.far(values[:, None])[:, 0]
    assert found[-2:].all()
    assert found[:-2].mean() <= 0.004


def test_each_column_is_judged_by_itself_and_what_is_missing_is_not_judged() -> None:
    values = np.stack([USUAL["normal"], USUAL["skewed"]], axis=1)
    values[3], values[4, 1] = np.nan, 1e9
    found = far_values.far(values)
    assert not found[3].any()
    assert found[4].tolist() == [False, True]


def test_among_few_values_nobody_knows_what_is_usual() -> None:
    values = np.array([*range(far_values.LEAST - 2), 1e9], dtype=float)
    assert not far_values.far(values[:, None]).any()
