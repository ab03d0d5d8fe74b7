from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from components.compress.pruning.masks import two_of_four, unstructured
from components.export.errors import CompressionError
from tests.components.compress.pruning.pruning_builders import images, network


def layers(built: nn.Module) -> dict[str, nn.Conv2d | nn.Linear]:
    return {
        name: module
        for name, module in built.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and name != "head"
    }


def test_single_weights_are_those_that_pytorch_prunes() -> None:
    ours, theirs = unstructured(network("residual"), keep=0.3), network("residual")
    pairs = [(layer, "weight") for layer in layers(theirs).values()]
    prune.global_unstructured(pairs, pruning_method=prune.L1Unstructured, amount=0.7)
    for name, layer in layers(theirs).items():
        assert torch.equal(layers(ours)[name].weight, layer.weight), name
    assert torch.count_nonzero(ours.head.weight) == ours.head.weight.numel()  # type: ignore[arg-type,union-attr,operator]


def test_pruning_again_keeps_what_is_gone() -> None:
    once = unstructured(network("residual"), keep=0.5)
    gone = {name: layer.weight == 0 for name, layer in layers(once).items()}
    twice = unstructured(once, keep=0.25)
    total = sum(layer.weight.numel() for layer in layers(twice).values())
    left = sum(int(torch.count_nonzero(layer.weight)) for layer in layers(twice).values())
    assert left == pytest.approx(0.25 * total, abs=1)
    assert all(bool((layer.weight[gone[name]] == 0).all()) for name, layer in layers(twice).items())


def test_two_of_each_four_input_channels_are_the_larger_ones() -> None:
    whole, pruned = network("mobilenet"), two_of_four(network("mobilenet"))
    halved = 0
    for name, layer in layers(pruned).items():
        before, after = layers(whole)[name].weight, layer.weight
        if before.shape[1] % 4:  # the first layer and the depthwise ones
            assert torch.equal(before, after)
            continue
        halved += 1
        fours = before.movedim(1, -1).reshape(-1, 4), after.movedim(1, -1).reshape(-1, 4)
        kept = fours[0].abs().argsort(dim=1, descending=True)[:, :2]
        assert bool((torch.count_nonzero(fours[1], dim=1) == 2).all())
        assert torch.equal(fours[1].gather(1, kept), fours[0].gather(1, kept))
    assert halved > 5
    with torch.no_grad():
        assert pruned(images()).shape == whole(images()).shape


def test_a_network_without_fours_is_refused() -> None:
    odd = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 5, 3))
    with pytest.raises(CompressionError, match="expected layers whose input channels are a multiple of 4, found none"):
        two_of_four(odd)
