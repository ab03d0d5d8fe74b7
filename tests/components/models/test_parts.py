"""Attention, pooling and other parts, against the libraries' own and against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.layers.cbam import CbamModule
from torch import nn
from torchvision.ops import SqueezeExcitation as TorchvisionSqueezeExcitation
from torchvision.ops import stochastic_depth

from components.models.parts.attention import ChannelAttention, SelfAttention, SpatialAttention, SqueezeExcitation
from components.models.parts.layers import Parts, StochasticDepth, normalization
from components.models.parts.pooling import EXPONENT, GeneralizedMean, pool


def features(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_squeeze_and_excitation_is_torchvisions() -> None:
    torch.manual_seed(0)
    ours, theirs = SqueezeExcitation(32), TorchvisionSqueezeExcitation(32, 4)
    for mine, other in ((ours.squeeze, theirs.fc1), (ours.excite, theirs.fc2)):
        mine.load_state_dict(other.state_dict())
    torch.testing.assert_close(ours(features(3, 32, 5, 7)), theirs(features(3, 32, 5, 7)))


def test_cbam_is_timms() -> None:
    torch.manual_seed(0)
    theirs = CbamModule(32, rd_ratio=1 / 8, rd_divisor=1).eval()
    channel, spatial = ChannelAttention(32), SpatialAttention(nn.BatchNorm2d(1)).eval()
    channel.squeeze.load_state_dict(theirs.channel.fc1.state_dict())
    channel.excite.load_state_dict(theirs.channel.fc2.state_dict())
    spatial.convolution.load_state_dict(theirs.spatial.conv.conv.state_dict())
    theirs.spatial.conv.bn.running_mean.fill_(0.3)
    spatial.normalization.load_state_dict(theirs.spatial.conv.bn.state_dict())
    torch.testing.assert_close(spatial(channel(features(3, 32, 9, 6))), theirs(features(3, 32, 9, 6)))


def test_self_attention_is_pytorchs_and_starts_as_the_identity() -> None:
    torch.manual_seed(0)
    ours, x = SelfAttention(64, nn.Identity()), features(2, 64, 3, 4)
    assert ours.heads == 2
    assert torch.equal(ours(x), x)
    theirs = nn.MultiheadAttention(64, 2, batch_first=True)
    nn.init.normal_(ours.project.weight)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.mix.weight[:, :, 0, 0])
        theirs.in_proj_bias.copy_(ours.mix.bias)
        theirs.out_proj.weight.copy_(ours.project.weight[:, :, 0, 0])
        theirs.out_proj.bias.copy_(ours.project.bias)
    tokens = x.flatten(2).transpose(1, 2)
    expected = x + theirs(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=1e-4)


def test_generalized_mean_is_its_formula_between_average_and_maximum() -> None:
    x = features(3, 4, 5, 6)
    raised = np.maximum(x.numpy().astype(np.float64), 1e-6) ** EXPONENT
    expected = raised.mean(axis=(2, 3)) ** (1 / EXPONENT)
    np.testing.assert_allclose(GeneralizedMean()(x).detach().numpy(), expected, rtol=1e-5)
    positive = x.abs() + 0.1
    torch.testing.assert_close(GeneralizedMean(1.0)(positive), pool("average")(positive))
    brightest = positive / positive.amax(dim=(2, 3), keepdim=True)  # a maximum of 1, and a power that does not vanish
    torch.testing.assert_close(GeneralizedMean(80.0)(brightest), pool("max")(brightest), rtol=0.05, atol=0.0)


def test_generalized_mean_has_finite_gradients_where_all_is_dark() -> None:
    layer, x = GeneralizedMean(), torch.zeros(2, 3, 4, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).sum().backward()
    assert x.grad is not None
    assert layer.exponent.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(layer.exponent.grad).all()


def test_averages_and_maxima_are_numpys() -> None:
    x = features(3, 4, 5, 6)
    np.testing.assert_allclose(pool("average")(x).numpy(), x.numpy().mean(axis=(2, 3)), atol=1e-6)
    np.testing.assert_array_equal(pool("max")(x).numpy(), x.numpy().max(axis=(2, 3)))


def test_stochastic_depth_is_torchvisions() -> None:
    x = features(64, 3, 2, 2)
    torch.manual_seed(3)
    ours = StochasticDepth(0.3).train()(x)
    torch.manual_seed(3)
    theirs = stochastic_depth(x, 0.3, "row")
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(StochasticDepth(0.3).eval()(x), x)


def test_stochastic_depth_grows_with_the_depth() -> None:
    parts = Parts(stochastic_depth=0.4)
    rates = [getattr(parts.drop(block, 4), "rate", None) for block in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert isinstance(Parts().drop(4, 4), nn.Identity)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (4, 1), (8, 2), (24, 6), (28, 7), (90, 18), (256, 32)])
def test_groups_are_of_four_channels_or_more(channels: int, groups: int) -> None:
    layer = normalization("group", channels)
    assert isinstance(layer, nn.GroupNorm)
    assert layer.num_groups == groups


def test_attention_scales_by_a_number_between_nothing_and_all() -> None:
    torch.manual_seed(0)
    x = features(2, 16, 4, 4)
    factor = (SqueezeExcitation(16)(x) / x).detach().numpy()
    assert (factor > 0).all()
    assert (factor < 1).all()
    assert np.ptp(factor, axis=(2, 3)).max() < 1e-4  # one factor a channel
