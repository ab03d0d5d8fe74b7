from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from components.compress.quantization.control import search

LAYERS = [f"layer {number}" for number in range(10)]


class Losses:
    """A graph loses nothing once `needed` layers are float; every measurement takes a second."""

    def __init__(self, needed: int) -> None:
        self.needed, self.asked, self.now = needed, list[int](), 0.0

    def __call__(self, kept: Sequence[str]) -> float:
        assert list(kept) == LAYERS[: len(kept)]
        self.asked.append(len(kept))
        self.now += 1.0
        return 0.0 if len(kept) >= self.needed else 0.5

    def clock(self) -> float:
        return self.now


@pytest.mark.parametrize("needed", range(1, 10))
def test_the_fewest_of_the_worst_layers_are_kept(needed: int) -> None:
    losses = Losses(needed)
    found = search(LAYERS, losses, 0.01, math.inf, losses.clock)
    assert found.kept == tuple(LAYERS[:needed])
    assert found.tried == len(losses.asked) == len(set(losses.asked)) <= 7
    assert found.note == ""


@pytest.mark.parametrize("layers", [LAYERS, LAYERS[:1], []])
def test_never_are_all_layers_kept(layers: list[str]) -> None:
    losses = Losses(needed=10)
    found = search(layers, losses, 0.01, math.inf, losses.clock)
    assert found.kept is None
    assert found.note == (
        "no layers found to keep in float32: not even with one layer left in int8 is the loss allowed"
    )
    assert all(count < len(layers) for count in losses.asked)


def test_the_search_ends_with_its_time_and_says_so() -> None:
    losses = Losses(needed=3)
    assert search(LAYERS, losses, 0.01, 2.0, losses.clock).note == (
        "no layers found to keep in float32: the time was over (2 s)"
    )
    losses = Losses(needed=3)
    found = search(LAYERS, losses, 0.01, 3.0, losses.clock)
    assert found.kept == tuple(LAYERS[:4])
    assert found.note == "the time was over (3 s): fewer than 4 may do"


def test_a_loss_that_is_not_known_is_not_allowed() -> None:
    assert search(LAYERS, lambda kept: math.nan, 0.01, math.inf).kept is None
