"""How evenly data-parallel workers share their work."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from torch import nn

from components.training.parallel.replicated import Replicated
from components.training.processes.workers import Workers


class Told(Workers):
    """Workers of which the others have said how long they took."""

    others = (1.0, 2.0)

    def gather(self, value: Any) -> list[Any]:
        return [value, *self.others]


def test_imbalance_is_the_slowest_in_units_of_the_mean() -> None:
    strategy = Replicated(nn.Linear(1, 1), Told(0, 3), 1, nullcontext)
    strategy.forward_seconds = 3.0
    assert strategy.evenness() == {"worker_imbalance": pytest.approx(1.5)}


def test_one_worker_is_compared_with_nobody() -> None:
    assert Replicated(nn.Linear(1, 1), Workers(), 1, nullcontext).evenness() == {}
