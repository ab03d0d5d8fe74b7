"""The detector's places, boxes and parameters."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from components.config import NetworkConfig
from components.models import registry
from components.models.parts.sequence import blocks
from tests.components.models.models_builders import OUTPUTS, awaken, images, network, spec

VARIANTS = [
    {},
    {"stride": 4},
    {"stride": 16, "blocks": 2},
    {"levels": 2, "attention": "se"},
    {"anchors": "16x16,32x24,9x30", "normalization": "group"},
    {"stride": 4, "levels": 3, "anchors": "12x12", "denoise": "median", "attention": "cbam"},
    {"stride": 4, "depths": "1,2,0,1", "seen": 2},
]


def built(arguments: dict[str, object], height: int = 96, width: int = 128) -> nn.Module:
    return network(NetworkConfig(name="detector", arguments=arguments), spec(height, width, 3))


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
@pytest.mark.parametrize(("height", "width"), [(32, 64), (21, 34)])
def test_places_cover_the_picture_and_every_one_says_a_box_within_it(
    arguments: dict[str, object], height: int, width: int
) -> None:
    inputs = spec(height, width, 3)
    detector = awaken(built({"width": 4, **arguments}, height, width)).eval()
    stride, levels = arguments.get("stride", 8), arguments.get("levels", 1)
    strides = [stride * 2**level for level in range(levels)]
    grids = [math.ceil(height / each) * math.ceil(width / each) for each in strides]
    priors = [tuple(map(float, size.split("x"))) for size in str(arguments.get("anchors", "")).split(",") if size]
    with torch.inference_mode():
        outputs = detector(images(inputs) * 5)
    assert outputs.shape == (3, sum(grids) * max(1, len(priors)), 8 + OUTPUTS) and outputs.dtype == torch.float32
    where, boxes = outputs[..., :4], outputs[..., 4:8]
    assert torch.equal(where[0], where[1]) and torch.equal(where[0], detector.priors)
    if priors:
        assert {tuple(size) for size in where[0, :, 2:].tolist()} == set(priors)
        assert torch.equal(where[0, 0, :2], where[0, len(priors) - 1, :2])  # all of a place side by side
    most = torch.tensor([width, height, width, height])
    assert ((boxes >= 0) & (boxes <= most)).all()
    assert (boxes[..., 2:] >= boxes[..., :2]).all()
    assert boxes.std(dim=0).sum() > 0


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_places_look_at_where_they_say_they_are(arguments: dict[str, object]) -> None:
    """What a place says depends most on the pixels about it: x and y, rows and columns are not mixed up."""
    detector = built({**arguments, "width": 4, "normalization": "batch", "attention": "none"}, 192, 384).eval()
    for point in (torch.tensor([120.0, 72.0]), torch.tensor([264.0, 120.0])):
        place = int((detector.priors[:, :2] - point).square().sum(dim=1).argmin())
        shown = images(spec(192, 384, 3), 1).requires_grad_()
        detector(shown)[0, place, 8:].sum().backward()
        felt = shown.grad.abs().sum(dim=(0, 1))
        y, x = torch.meshgrid(torch.arange(192) + 0.5, torch.arange(384) + 0.5, indexing="ij")
        middle = torch.stack([(felt * x).sum(), (felt * y).sum()]) / felt.sum()
        assert (middle - point).abs().max() < 16


def test_an_untrained_network_says_one_in_a_hundred_of_every_place_and_class() -> None:
    for arguments in VARIANTS:
        scores = torch.sigmoid(built(arguments).eval()(images(spec(96, 128, 3)))[..., 8:])
        torch.testing.assert_close(scores, torch.full_like(scores, 0.01), rtol=0.5, atol=0)


def test_the_default_has_less_than_300_thousand_weights_and_every_one_is_used() -> None:
    detector = registry.build(NetworkConfig(name="detector"), spec(96, 96, 3), 10)
    assert sum(weight.numel() for weight in detector.parameters()) < 300_000
    for arguments in VARIANTS:
        detector = awaken(built({"width": 8, **arguments}, 64, 64)).train()
        detector(images(spec(64, 64, 3))).square().sum().backward()
        assert all(weight.grad is not None and weight.grad.any() for weight in detector.parameters())
        named = [name for block in blocks(detector) for name in block]
        assert named == list(dict.fromkeys(named))
        assert set(named) == {name for name, _ in detector.named_parameters() if not name.startswith("head.")}


def test_outputs_are_of_the_head_and_what_it_sees() -> None:
    detector = built({"width": 4, "levels": 2}, 32, 48).eval()
    shown = images(spec(32, 48, 3))
    with torch.inference_mode():
        deepest, seen = detector.features(shown)
        assert deepest.shape[2:] == (1, 2) and seen.shape == (3, 12, 4 * 6 + 2 * 3, 1)
        assert torch.equal(detector.embed(shown), deepest.mean(dim=(2, 3)))
        assert torch.equal(detector.head(seen)[:, 4:].squeeze(3).mT, detector(shown)[..., 8:])


@pytest.mark.parametrize("anchors", ["16", "16x", "16x16,", "0x4", "8x8;4x4", "a"])
def test_anchors_are_widths_and_heights(anchors: str) -> None:
    (wrong,) = registry.problems(NetworkConfig(name="detector", arguments={"anchors": anchors}))
    assert wrong.startswith("network.arguments.anchors: expected ") and repr(anchors) in wrong
    assert registry.problems(NetworkConfig(name="detector", arguments={"anchors": "16x16,32x24"})) == []


def test_depths_are_blocks_of_each_map_from_the_stems_on() -> None:
    detector = built({"width": 4, "stride": 4, "depths": "2,0,1,3", "seen": 2})
    assert len(detector.fine) == 2 and [len(stage) - 1 for stage in detector.down] == [0, 1, 3]
    assert detector.head.in_channels == 2 * 3 * 4
    with pytest.raises(
        ValueError, match=r"network.arguments.depths: expected 5 numbers, one a map, received '1,1,1,1'"
    ):
        built({"stride": 16, "depths": "1,1,1,1"})
    (wrong,) = registry.problems(NetworkConfig(name="detector", arguments={"depths": "1;2"}))
    assert wrong.startswith("network.arguments.depths: expected ")
