"""Noise is taken out as SciPy does it, inside the graph too, and only where it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from components.artifacts import ImageSpec
from components.config import NetworkConfig
from components.models.parts.denoising import Gaussian, Median
from components.models.registry import build

SPEC = ImageSpec(height=12, width=10, channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)
NOISY = torch.rand((4, 3, 12, 10), generator=torch.Generator().manual_seed(0))


def by_scipy(filtered: object, images: torch.Tensor) -> np.ndarray:
    return np.stack([[filtered(channel) for channel in image] for image in images.numpy()])  # type: ignore[operator]


def test_the_median_is_scipys() -> None:
    expected = by_scipy(lambda channel: ndimage.median_filter(channel, size=3, mode="nearest"), NOISY)
    np.testing.assert_array_equal(Median()(NOISY).numpy(), expected)


def test_the_blur_is_scipys() -> None:
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    expected = by_scipy(lambda channel: ndimage.convolve(channel, kernel, mode="nearest"), NOISY)
    np.testing.assert_allclose(Gaussian(3)(NOISY).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("family", ["residual", "mobilenet", "densenet", "convnext", "unet"])
@pytest.mark.parametrize("kind", ["median", "gaussian"])
def test_every_compact_family_has_the_choice_and_the_same_weights_with_it(family: str, kind: str) -> None:
    spec = SPEC.model_copy(update={"height": 16, "width": 16})
    plain, chosen = (
        build(NetworkConfig(name=family, arguments=arguments), spec, 2) for arguments in ({}, {"denoise": kind})
    )
    count = [sum(parameter.numel() for parameter in network.parameters()) for network in (plain, chosen)]
    assert count[0] == count[1]
    images = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    values = list(plain.state_dict().values())
    chosen.load_state_dict(dict(zip(chosen.state_dict(), values, strict=True)))
    clean = {"median": Median(), "gaussian": Gaussian(3)}[kind](images)
    with torch.no_grad():
        torch.testing.assert_close(chosen.eval()(images), plain.eval()(clean))


@pytest.mark.parametrize("layer", [Median(), Gaussian(3)])
def test_an_engine_answers_the_same(layer: torch.nn.Module, tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "layer.onnx"
    program = torch.onnx.export(layer, (NOISY,), dynamo=True, input_names=["images"], verbose=False)
    assert program is not None
    program.save(str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": NOISY.numpy()})
    np.testing.assert_allclose(found, layer(NOISY).numpy(), atol=1e-6)
