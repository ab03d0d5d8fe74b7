"""What of a pretrained network is trained, when, and how fast."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.artifacts import ImageSpec
from components.config import NetworkConfig, TrainingConfig, TransferConfig
from components.models import registry
from components.models.parts.sequence import blocks
from components.training.optimizing import transfer

INPUTS = ImageSpec(height=8, width=8, channels=1, mean=(0.3,), std=(0.2,))
NETWORKS = {
    "residual": {"width": 4, "dropout": 0.2},
    "mobilenet": {"width": 4, "attention": "se", "stochastic_depth": 0.2},
    "unet": {"width": 4},
    "torchvision:resnet18": {},
    "timm:test_efficientnet": {},
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    built = registry.build(NetworkConfig(name=name, arguments=NETWORKS[name]), INPUTS, 3)
    with torch.no_grad():  # blocks that start as the identity, awake
        for parameter in built.parameters():
            if not parameter.any():
                parameter.fill_(0.1)
    return built


def training(**values: Any) -> TrainingConfig:
    return TrainingConfig(transfer=TransferConfig(**values))


def steps(built: nn.Module, config: TrainingConfig, epochs: range, steps_an_epoch: int = 2) -> dict[str, Tensor]:
    """Train for some epochs; returns the state before."""
    before = {name: value.clone() for name, value in built.state_dict().items()}
    parameters, order = dict(built.named_parameters()), blocks(built)
    groups = transfer.parameter_groups(parameters, order, config)
    optimizer = torch.optim.AdamW([{**group, "lr": 0.01 * group["scale"]} for group in groups])
    generator = torch.Generator().manual_seed(0)
    for epoch in epochs:
        transfer.begin_epoch(built, parameters, order, config.transfer, epoch)
        for _ in range(steps_an_epoch):
            outputs = built(torch.rand(8, 1, 8, 8, generator=generator))
            targets = torch.randint(3, (8, *outputs.shape[2:]), generator=generator)
            F.cross_entropy(outputs, targets).backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return before


def changed(built: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in built.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("name", NETWORKS)
def test_without_transfer_the_groups_are_those_of_a_plain_training(name: str) -> None:
    built = network(name)
    config = TrainingConfig(weight_decay=0.1)
    decayed, plain = transfer.parameter_groups(dict(built.named_parameters()), blocks(built), config)
    assert [id(p) for p in decayed["params"]] == [id(p) for p in built.parameters() if p.ndim > 1]
    assert [id(p) for p in plain["params"]] == [id(p) for p in built.parameters() if p.ndim <= 1]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert decayed["scale"] == plain["scale"] == 1.0


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_features_change_in_nothing_and_the_head_does(name: str) -> None:
    built = network(name)
    before = steps(built, training(freeze="features"), range(1, 3))
    assert changed(built, before) == {"head.weight", "head.bias"}  # nor do statistics


@pytest.mark.parametrize("name", NETWORKS)
def test_frozen_features_answer_in_training_as_in_evaluation(name: str) -> None:
    built = network(name)
    transfer.begin_epoch(built, dict(built.named_parameters()), blocks(built), TransferConfig(freeze="features"), 1)
    shown = torch.rand(4, 1, 8, 8)
    dropout = [module for module in built.children() if isinstance(module, nn.Dropout)]
    assert all(module.training for module in dropout)  # the head is being trained
    for module in dropout:
        module.eval()
    if not name.startswith("timm"):  # whose dropout before the head is a function
        torch.testing.assert_close(built(shown), built.eval()(shown))


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_are_unfrozen_from_the_last_to_the_first(name: str) -> None:
    built = network(name)
    parameters, order = dict(built.named_parameters()), blocks(built)
    config = TransferConfig(freeze="features", unfreeze=2.0)
    for epoch in range(1, 2 * len(order) + 4):
        transfer.begin_epoch(built, parameters, order, config, epoch)
        thawed = min(len(order), (epoch - 1) // 2)
        trained = {name for name, parameter in parameters.items() if parameter.requires_grad}
        expected = {name for block in order[len(order) - thawed :] for name in block}
        assert trained == expected | {"head.weight", "head.bias"}
    assert all(module.training for module in built.modules())


def test_several_blocks_an_epoch_can_be_unfrozen() -> None:
    built = network("residual")
    order = blocks(built)
    config = TransferConfig(freeze="features", unfreeze=0.5)
    held = [len(transfer.frozen([n for b in order for n in b], order, config, epoch)) for epoch in (1, 2, 3, 9)]
    assert held == [sum(map(len, order)), sum(map(len, order[:-2])), sum(map(len, order[:-4])), 0]


def test_what_is_unfrozen_moves_and_its_statistics_too() -> None:
    built = network("residual")
    order = blocks(built)
    before = steps(built, training(freeze="features", unfreeze=1.0), range(2, 3))
    moved = changed(built, before)
    last = {name.rsplit(".", 1)[0] for name in order[-1]}
    assert set(order[-1]) <= moved
    assert {name.rsplit(".", 1)[0] for name in moved} == last | {"head"}
    assert any(name.endswith("running_mean") for name in moved)


def test_an_epoch_is_the_same_whatever_came_before_it() -> None:
    config = TransferConfig(freeze="features", unfreeze=1.0)
    built, resumed = network("residual"), network("residual")
    for one, epochs in ((built, (1, 2, 3, 4)), (resumed, (4,))):
        for epoch in epochs:
            transfer.begin_epoch(one, dict(one.named_parameters()), blocks(one), config, epoch)
    states = [
        [(p.requires_grad) for p in one.parameters()] + [m.training for m in one.modules()] for one in (built, resumed)
    ]
    assert states[0] == states[1]
    assert len(set(states[0])) == 2


@pytest.mark.parametrize("name", NETWORKS)
def test_earlier_blocks_have_lower_rates(name: str) -> None:
    built = network(name)
    parameters, order = dict(built.named_parameters()), blocks(built)
    config = TrainingConfig(weight_decay=0.1, transfer=TransferConfig(layer_decay=0.5, head_rate=4.0))
    groups = transfer.parameter_groups(parameters, order, config)
    scale = {id(p): group["scale"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert scale.keys() == {id(p) for p in parameters.values()}
    assert scale[id(built.head.weight)] == 4.0
    for depth, block in enumerate(reversed(order)):
        assert {scale[id(parameters[name])] for name in block} == {0.5**depth}
    assert all(decay[id(p)] == (0.1 if p.ndim > 1 else 0.0) for p in parameters.values())


def test_a_lower_rate_is_a_smaller_step() -> None:
    built = network("residual")
    before = steps(built, training(layer_decay=0.1), range(1, 2), steps_an_epoch=1)
    order = blocks(built)
    state = built.state_dict()

    def moved(name: str) -> float:
        return float((state[name] - before[name]).abs().max())

    # AdamW's first step is the rate itself
    assert moved(order[-1][0]) == pytest.approx(0.01, rel=0.05)
    assert moved(order[-2][0]) == pytest.approx(0.001, rel=0.05)


def test_a_part_of_the_network_has_the_wholes_rates() -> None:
    built = network("residual")
    order = blocks(built)
    part = {name: p for name, p in built.named_parameters() if name.startswith(("features.4.", "head."))}
    groups = transfer.parameter_groups(part, order, training(layer_decay=0.5))
    whole = transfer.scales(dict(built.named_parameters()), order, TransferConfig(layer_decay=0.5))
    assert {id(p): g["scale"] for g in groups for p in g["params"]} == {id(p): whole[n] for n, p in part.items()}


def test_unfreezing_what_is_not_frozen_is_refused() -> None:
    with pytest.raises(ValueError, match="`unfreeze: 0` where nothing is frozen"):
        TransferConfig(unfreeze=1.0)


def test_freezing_random_weights_is_refused() -> None:
    networks = {
        "line.student.network": NetworkConfig(name="residual"),
        "line.members.networks.0": NetworkConfig(name="resnet18", pretrained="imagenet"),
    }
    (problem,) = transfer.problems(TransferConfig(freeze="features"), networks, "line.training.transfer")
    assert problem.startswith("line.training.transfer.freeze: expected none, or `pretrained` for line.student.network")
    assert transfer.problems(TransferConfig(layer_decay=0.5), networks) == []
