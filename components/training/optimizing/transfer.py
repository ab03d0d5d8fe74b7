"""Training what is trained already: which parameters change in an epoch, and each at which share of the rate.

All of it is a function of the network's blocks, the configuration and the epoch, so that a training that is resumed is
the same; and all goes by the names of the whole network, of which a worker may hold a part. Where weights come from is
`components.models.pretrained`'s business, steps are `optimization`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from components.config import NetworkConfig, TrainingConfig, TransferConfig

HEAD = "head."
NEW = (HEAD, "projections.")  # what never comes with pretrained weights, and is never frozen

Blocks = Sequence[Sequence[str]]  # names of parameters, from the first layer to the last before the head


def problems(
    config: TransferConfig, networks: Mapping[str, NetworkConfig], key: str = "training.transfer"
) -> list[str]:
    """What is wrong with `transfer` for networks by the keys they stand under: a line each."""
    if config.freeze == "none":
        return []
    return [
        f"{key}.freeze: expected none, or `pretrained` for {where}: of a network with random weights only the head "
        f"would be trained"
        for where, network in networks.items()
        if not network.begins_trained
    ]


def scales(names: Iterable[str], blocks: Blocks, config: TransferConfig) -> dict[str, float]:
    """Each parameter's learning rate, in that of the step.

    The head's is `head_rate`, the last block's 1, and each block before it has `layer_decay` of the one behind it
    (Howard & Ruder 2018).
    """
    found = {name: config.head_rate if name.startswith(HEAD) else 1.0 for name in names}
    for depth, block in enumerate(reversed(blocks)):
        found |= {name: config.layer_decay**depth for name in block if name in found}
    return found


def frozen(names: Iterable[str], blocks: Blocks, config: TransferConfig, epoch: int) -> set[str]:
    """Names of the parameters that epoch `epoch` (counted from 1) leaves as they are."""
    if config.freeze == "none":
        return set()
    held = {name for name in names if not name.startswith(NEW)}
    thawed = int((epoch - 1) / config.unfreeze) if config.unfreeze else 0
    for block in blocks[max(0, len(blocks) - thawed) :]:
        held -= set(block)
    return held


def parameter_groups(
    parameters: Mapping[str, nn.Parameter], blocks: Blocks, config: TrainingConfig
) -> list[dict[str, Any]]:
    """An optimizer's groups, of all parameters that will ever be trained: `params`, `weight_decay` and `scale`.

    The rate of the step times `scale` is the group's `lr`. Biases and normalisation's factors are not decayed:
    shrinking them regularises nothing (Goyal et al. 2017). Without transfer there are two groups, of scale 1.
    """
    transfer = config.transfer
    never = set() if transfer.unfreeze else frozen(parameters, blocks, transfer, epoch=1)
    scale = scales(parameters, blocks, transfer)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        if name not in never:
            groups.setdefault((scale[name], parameter.ndim > 1), []).append(parameter)
    return [
        {"params": groups[key], "weight_decay": config.weight_decay if key[1] else 0.0, "scale": key[0]}
        for key in sorted(groups, reverse=True)
    ]


def begin_epoch(
    network: nn.Module, parameters: Mapping[str, nn.Parameter], blocks: Blocks, config: TransferConfig, epoch: int
) -> None:
    """Put the network into training mode as epoch `epoch` (counted from 1) wants it.

    `parameters` are the network's own, by the whole network's names. What is frozen asks for no gradient and stays in
    evaluation mode: batch normalisation keeps its statistics and applies them, and nothing is dropped.
    """
    network.train()
    held = frozen(parameters, blocks, config, epoch)
    for name, parameter in parameters.items():
        parameter.requires_grad_(name not in held)
    if held:
        _evaluate(network)


def _evaluate(module: nn.Module) -> None:
    """Evaluation mode for the largest modules that have weights and none to be trained."""
    parameters = list(module.parameters())
    if not parameters:
        return
    if not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        return
    for child in module.children():
        _evaluate(child)
