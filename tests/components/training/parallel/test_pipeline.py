"""Where a network is cut into stages."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from components.training.parallel.pieces import equal_count
from components.training.parallel.pipeline import balance, cut


@pytest.mark.parametrize("seed", range(20))
def test_no_cut_has_a_cheaper_dearest_stage(seed: int) -> None:
    random = np.random.default_rng(seed)
    costs = random.integers(1, 50, int(random.integers(3, 9))).tolist()
    stages = int(random.integers(1, len(costs) + 1))
    bounds = cut(costs, stages)
    assert bounds[0] == 0
    assert bounds[-1] == len(costs)
    assert all(start < end for start, end in pairwise(bounds))
    dearest = max(sum(costs[start:end]) for start, end in pairwise(bounds))
    every = [[0, *inner, len(costs)] for inner in combinations(range(1, len(costs)), stages - 1)]
    assert dearest == min(max(sum(costs[start:end]) for start, end in pairwise(each)) for each in every)


def test_balance_is_the_share_of_time_that_the_mean_stage_works() -> None:
    assert balance([4, 4, 4, 4], [0, 2, 4]) == 1.0
    assert balance([3, 1], [0, 1, 2]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("samples", "most", "expected"), [(64, 4, 4), (63, 4, 3), (61, 4, 1), (2, 8, 2)])
def test_micro_batches_of_one_size(samples: int, most: int, expected: int) -> None:
    assert equal_count(samples, most) == expected
