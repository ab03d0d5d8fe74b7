"""Pictures that are not as clean as those a network has learnt from: noise, blur, light, contrast.

Kinds and strengths are those of Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations" (2019), in their settings for small images (CIFAR-10-C), severities 1 to 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from components.inputs.protocol import Corruption

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


def gaussian_noise(images: Floats, severity: int, random: np.random.Generator) -> Floats:
    """Independent at every pixel and channel, as of a sensor in the dark."""
    deviation = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return images + random.normal(0.0, deviation, images.shape)


def blur(images: Floats, severity: int, random: np.random.Generator) -> Floats:
    """A Gaussian's, over space alone; the border repeats its last pixel."""
    deviation = (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1]
    smoothed: Floats = ndimage.gaussian_filter(images, (0.0, deviation, deviation, 0.0), mode="nearest", truncate=4.0)
    return smoothed


def brightness(images: Floats, severity: int, random: np.random.Generator) -> Floats:
    """Every channel lighter by the same: for greys what the paper does to the value in HSV."""
    return images + (0.05, 0.10, 0.15, 0.20, 0.30)[severity - 1]


def contrast(images: Floats, severity: int, random: np.random.Generator) -> Floats:
    """Each image drawn towards its own mean colour."""
    left = (0.75, 0.50, 0.40, 0.30, 0.15)[severity - 1]
    mean = images.mean(axis=(1, 2), keepdims=True)
    drawn: Floats = (images - mean) * left + mean
    return drawn


_KINDS: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "gaussian_noise": gaussian_noise,
    "blur": blur,
    "brightness": brightness,
    "contrast": contrast,
}


def corrupted(images: Images, severity: int, random: np.random.Generator, *, kind: str) -> Images:
    """uint8 `(N, H, W, C)` → the same, corrupted: rounded and cut off at black and white, as a file would be."""
    changed = _KINDS[kind](images / 255.0, severity, random)
    return np.round(np.clip(changed, 0.0, 1.0) * 255.0).astype(np.uint8)


CORRUPTIONS: Mapping[str, Corruption] = {kind: partial(corrupted, kind=kind) for kind in _KINDS}
