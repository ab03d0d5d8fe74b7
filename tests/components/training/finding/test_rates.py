"""The range test: on problems whose rate of divergence is known, and on a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from components.training.finding.picture import draw
from components.training.finding.rates import climb, configured, find_learning_rate, read, rising
from components.training.jobs.job import Job, TrainingError
from components.training.loop.surroundings import Data

CURVATURE = 4.0  # L: plain gradient descent on L/2 · x² diverges above 2/L
LIMIT = 2 / CURVATURE


def quadratic(noise: float, seed: int) -> Callable[[float, int], float]:
    """Gradient descent on a quadratic in 50 dimensions, all of curvature L, with noisy gradients."""
    random = np.random.default_rng(seed)
    x = np.ones(50)

    def take(rate: float, number: int) -> float:
        loss = 0.5 * CURVATURE * float(x @ x) / len(x)
        x.__isub__(rate * (CURVATURE * x + noise * random.normal(size=len(x))))
        return loss

    return take


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_quadratic_diverges_at_two_over_its_curvature(noise: float, seed: int) -> None:
    rates = rising(1e-3 * LIMIT, 10 * LIMIT, 400)

    losses = climb(quadratic(noise, seed), rates)
    found = read(rates, losses)

    assert len(losses) < len(rates)
    assert found.divergence is not None
    # The noise is multiplied by the rate, so that with much of it the loss rises before the limit; with little, it
    # takes some steps to be seen. A step is a factor of 1.023.
    assert 0.7 * LIMIT < found.divergence < 1.25 * LIMIT
    assert found.suggested == pytest.approx(0.1 * found.divergence)


def test_the_steepest_descent_is_where_the_curve_has_its_steepest_slope() -> None:
    rates = rising(1e-4, 1.0, 200)
    losses = 1.0 + np.tanh(-2.0 * (np.log10(rates) + 2.0))  # steepest at 1e-2
    found = read(rates, losses)
    assert found.steepest == pytest.approx(1e-2, rel=0.1)
    assert found.divergence is None
    assert found.suggested == found.steepest


def test_a_loss_that_never_falls_has_no_steepest_descent() -> None:
    rates = rising(1e-4, 1.0, 50)
    found = read(rates, np.linspace(1.0, 1.4, 50))
    assert found.steepest is None
    assert found.suggested is None


def test_it_stops_where_the_loss_is_no_number() -> None:
    rates = rising(1e-4, 1.0, 50)
    losses = climb(lambda rate, number: math.inf if number == 30 else 2.0 - 0.01 * number, rates)
    found = read(rates, losses)
    assert len(losses) == 31
    assert found.divergence == rates[30]


def test_a_loss_that_is_no_number_from_the_start_says_so() -> None:
    rates = rising(1e-4, 1.0, 50)
    with pytest.raises(TrainingError, match="not finite at step 1"):
        read(rates, climb(lambda rate, number: math.nan, rates))


@pytest.mark.parametrize(("lowest", "highest", "steps"), [(0.0, 1.0, 50), (1.0, 0.1, 50), (0.1, 1.0, 2)])
def test_a_range_that_is_none_is_refused(lowest: float, highest: float, steps: int) -> None:
    with pytest.raises(TrainingError, match="expected rates above 0 that rise"):
        rising(lowest, highest, steps)


def test_a_network_learns_at_what_is_found_and_not_at_the_rate_of_divergence(
    data: Data, job: Callable[..., Job], tmp_path: Path
) -> None:
    from components.training.loop.loop import train

    # SGD, whose divergence is a matter of the rate alone.
    one = job(training={"optimizer": "sgd"})
    told: list[int] = []
    found = find_learning_rate(one, data, torch.device("cpu"), on_step=lambda done, total: told.append(done))
    again = find_learning_rate(one, data, torch.device("cpu"))

    assert np.array_equal(found.losses, again.losses)
    assert told == list(range(len(found.losses)))
    assert found.losses[0] == pytest.approx(math.log(10), rel=0.3)  # ten classes, nothing learnt
    assert found.divergence is not None
    assert found.suggested is not None

    def accuracy(rate: float) -> float:
        seen: list[float] = []
        chosen = job(
            epochs=3, training={"optimizer": "sgd", "learning_rate": rate, "warmup": 0.0, "schedule": "constant"}
        )
        train(
            chosen, data, tmp_path / f"{rate}", on_event=lambda e: seen.append(e.metrics.get("validation_accuracy", 0))
        )
        return seen[-1]

    assert accuracy(found.suggested) > accuracy(found.rates[0]) + 0.3
    draw(found, "digits", tmp_path / "range.png")
    assert (tmp_path / "range.png").stat().st_size > 5000


def test_where_the_rate_is_scaled_the_configured_one_is_told(job: Callable[..., Job]) -> None:
    scaled = job(training={"batch_size": 256, "rate_scaling": "linear", "reference_batch": 64})
    assert configured(0.4, scaled) == pytest.approx(0.1)
    assert configured(0.4, job()) == 0.4
