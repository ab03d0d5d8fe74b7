"""Schedules are PyTorch's own, step by step; the averaged weights are the weighted sum that they claim to be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, OneCycleLR, SequentialLR

from components.config import TrainingConfig
from components.training.optimizing.optimization import MovingAverage, build_optimizer, rate


def rates_of(build: Any, steps: int) -> list[float]:
    """The rates that one of PyTorch's schedulers sets."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler = build(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(rates) < steps else None
    return rates


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.25), (37, 0.2), (12, 0.5)])
def test_one_cycle_is_pytorchs(steps: int, warmup: float) -> None:
    config = TrainingConfig(learning_rate=0.3, schedule="one-cycle", warmup=warmup)
    expected = rates_of(lambda o: OneCycleLR(o, 0.3, total_steps=steps, pct_start=warmup, cycle_momentum=False), steps)
    assert [rate(step, steps, config) for step in range(steps)] == pytest.approx(expected)


@pytest.mark.parametrize(("steps", "rising"), [(100, 20), (40, 10)])
def test_cosine_with_warm_up_is_pytorchs(steps: int, rising: int) -> None:
    config = TrainingConfig(learning_rate=0.3, schedule="cosine", warmup=rising / steps)

    def build(optimizer: torch.optim.Optimizer) -> SequentialLR:
        up = LinearLR(optimizer, start_factor=1 / rising, total_iters=rising - 1)
        down = CosineAnnealingLR(optimizer, T_max=steps - rising)
        return SequentialLR(optimizer, [up, down], milestones=[rising])

    assert [rate(step, steps, config) for step in range(steps)] == pytest.approx(rates_of(build, steps))


def test_constant_rises_and_stays() -> None:
    config = TrainingConfig(learning_rate=0.3, schedule="constant", warmup=0.1)
    expected = rates_of(lambda o: LinearLR(o, start_factor=1 / 4, total_iters=3), 40)
    assert [rate(step, 40, config) for step in range(40)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_trainings_have_a_rate(schedule: str, steps: int) -> None:
    for warmup in (0.0, 0.2, 0.9):
        config = TrainingConfig.model_validate({"learning_rate": 0.3, "schedule": schedule, "warmup": warmup})
        assert all(0 <= rate(step, steps, config) <= 0.3 for step in range(steps))


def test_biases_and_norms_are_not_decayed() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    decayed, kept = build_optimizer(dict(network.named_parameters()), [], TrainingConfig(weight_decay=0.1)).param_groups
    assert [p.ndim for p in decayed["params"]] == [4]
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    assert len(kept["params"]) == 3


def test_the_moving_average_is_the_weighted_sum_of_the_weights() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 2.0)
    average, expected = MovingAverage(dict(network.named_parameters()), 0.5), 2.0
    for step in range(30):
        nn.init.constant_(network.weight, float(step))
        average.update(dict(network.named_parameters()), step, 30)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.values["weight"].item() == pytest.approx(expected, rel=1e-5)
    average.swap(dict(network.named_parameters()))
    assert network.weight.item() == pytest.approx(expected, rel=1e-5)
    average.swap(dict(network.named_parameters()))
    assert network.weight.item() == 29.0
