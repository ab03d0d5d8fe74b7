from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from components.artifacts import ImageSpec
from components.config import NetworkConfig
from components.models.registry import build
from components.training.jobs.job import Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.optimizing.rounding import round_inputs, round_weights, rounded


def test_factors_are_rounded_to_levels_of_equal_width() -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(5, 4, 3, 3)).astype(np.float32)
    step = np.abs(weights).max(axis=(1, 2, 3), keepdims=True) / np.float32(127)
    found = round_weights(torch.from_numpy(weights)).numpy()
    np.testing.assert_allclose(found, np.rint(weights / step) * step, rtol=1e-5)
    inputs = random.normal(size=(8, 4, 6, 6)).astype(np.float32)
    width = (inputs.max() - inputs.min()) / np.float32(255)
    zero = np.rint(-inputs.min() / width)
    expected = (np.clip(np.rint(inputs / width) + zero, 0, 255) - zero) * width
    found = round_inputs(torch.from_numpy(inputs)).numpy()
    # a value in the middle of two levels may go to either
    assert (np.abs(found - expected) < 1e-5).mean() > 0.99
    assert np.abs(found - expected).max() < 1.01 * width
    assert len(np.unique(found)) <= 256


@pytest.mark.parametrize("values", [torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 7.0)])
def test_what_has_no_width_stays_what_it_is(values: torch.Tensor) -> None:
    torch.testing.assert_close(round_inputs(values), values)
    torch.testing.assert_close(round_weights(values), values)


def test_gradients_go_straight_through() -> None:
    generator = torch.Generator().manual_seed(0)
    for function in (round_inputs, round_weights):
        values = torch.randn(4, 3, 5, 5, generator=generator, requires_grad=True)
        function(values).sum().backward()
        assert values.grad is not None
        assert (
            values.grad == 1
        ).float().mean() > 0.99  # zero at the very end of the range, where rounding goes past it


def test_rounding_before_folding_normalisation_is_rounding_after_it() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(6, 4, 3, 3, generator=generator)
    gain = (torch.rand(6, generator=generator) * 10 - 5).reshape(-1, 1, 1, 1)
    torch.testing.assert_close(round_weights(weights) * gain, round_weights(weights * gain))


def test_a_network_without_factors_is_refused() -> None:
    with pytest.raises(ValueError, match="expected Conv2d or Linear to round, found none"):
        rounded(nn.Sequential(nn.ReLU()))


def test_the_loop_trains_a_rounded_network_whose_weights_are_those_of_the_plain_one(
    job: Callable[..., Job], data: Data, tmp_path: Path
) -> None:
    plain = job(epochs=2)
    aware = replace(plain, rounded=True)
    assert aware.fingerprint("data") != plain.fingerprint("data")
    network = train(aware, data, tmp_path / "aware")
    again = train(replace(aware, epochs=2), data, tmp_path / "aware")  # finished: read from its checkpoint
    spec = ImageSpec(height=8, width=8, channels=1, mean=(0.3,), std=(0.37,))
    exact = build(NetworkConfig(name="residual", arguments={"width": 8}), spec, 10)
    exact.load_state_dict(network.state_dict())
    exact.eval()
    images = torch.from_numpy(data.validation.inputs).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        answers, same, unrounded = network(images), again(images), exact(images)
    torch.testing.assert_close(answers, same, rtol=0, atol=0)
    assert 0 < (answers - unrounded).abs().max() < 0.1 * unrounded.abs().max()
    assert (answers.argmax(1) == unrounded.argmax(1)).float().mean() > 0.9
