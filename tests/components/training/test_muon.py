"""Muon's steps against singular value decomposition, and its other steps against PyTorch's AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from components.config import TrainingConfig
from components.training.optimizing.muon import Muon, orthogonal
from components.training.optimizing.optimization import build_optimizer


@pytest.mark.parametrize("shape", [(8, 8), (16, 72), (72, 16), (1, 9)])
def test_steps_are_all_but_the_nearest_orthogonal_matrix(
    shape: tuple[int, int],
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrix)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    nearest = left @ right
    assert torch.nn.functional.cosine_similarity(found.flatten(), nearest.flatten(), dim=0) > 0.95


def test_nothing_to_step_along_is_no_step() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_what_is_no_kernel_takes_the_steps_of_adamw() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    config = TrainingConfig.model_validate({"optimizer": "muon", "learning_rate": 0.01, "weight_decay": 0.1})
    one = build_optimizer(dict(ours.named_parameters()), [], config)
    other = torch.optim.AdamW(
        [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}], lr=0.01
    )
    images = torch.randn(7, 5)
    for _ in range(5):
        for network, optimizer in ((ours, one), (theirs, other)):
            optimizer.zero_grad()
            network(images).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


def test_kernels_and_only_kernels_are_stepped_orthogonally() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    optimizer = build_optimizer(
        dict(network.named_parameters()), [], TrainingConfig.model_validate({"optimizer": "muon"})
    )
    assert isinstance(optimizer, Muon)
    kinds = {id(p): group["orthogonal"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: kinds[id(p)] for name, p in network.named_parameters()} == {
        name: name == "0.weight" for name, _ in network.named_parameters()
    }
