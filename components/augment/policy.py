"""Random changes to a batch of training images, declared by `AugmentConfig`; what geometry moves, masks follow.

Everything is per sample, vectorised over the batch and drawn from the generator that is passed: the same generator
state gives the same batch. Order: crop, flip, affine, photometry, erasing. Left to others: seeding and validation
data, which is never augmented.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from components.config import AugmentConfig

LUMA = (0.299, 0.587, 0.114)  # grey value of red, green and blue (ITU-R BT.601)
ERASED_ASPECT = 0.3  # a rectangle's height : width lies between this and its inverse (Zhong et al. 2017)


@dataclass(frozen=True)
class Views:
    """Which window of its padded image, or of the mirror image of that, each of N samples shows."""

    corners: Tensor  # int64 (2, N), 0 … 2·crop: row and column
    flipped: Tensor  # bool (N,)


def augment(
    images: Tensor, targets: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`(N, C, H, W)` float in [0, 1] and targets `(N,)` or masks `(N, H, W)` → the same shapes and ranges.

    `generator` lives on the CPU, so that every device sees the same randomness. A mask's uncovered pixels become
    class 0 as its image's become black. Erasing leaves masks alone: the network is to infer what was covered.
    A configuration of zeros returns its arguments.
    """
    masks = targets if targets.ndim == 3 else None
    if config.crop or config.flip:
        images, masks = _seen(images, masks, _views(len(images), config, generator), config.crop)
    if config.rotation or config.scale or config.shear:
        images, masks = _affine(images, masks, config, generator)
    if config.brightness or config.contrast or config.colour:
        images = _photometry(images, config, generator)
    if config.erase:
        images = _erase(images, config, generator)
    return images, targets if masks is None else masks


def shown(images: Tensor, targets: Tensor, views: Views, config: AugmentConfig) -> tuple[Tensor, Tensor]:
    """The batch in these views: what `augment` gives where it draws them and nothing else is switched on."""
    if not (config.crop or config.flip):
        return images, targets
    images, masks = _seen(images, targets if targets.ndim == 3 else None, views, config.crop)
    return images, targets if masks is None else masks


def _views(samples: int, config: AugmentConfig, generator: torch.Generator) -> Views:
    corners = torch.randint(0, 2 * config.crop + 1, (2, samples), generator=generator)
    return Views(corners, torch.rand(samples, generator=generator) < config.flip)


def _seen(images: Tensor, masks: Tensor | None, views: Views, pad: int) -> tuple[Tensor, Tensor | None]:
    moved = _windows(images, views.corners, views.flipped, pad)
    return moved, None if masks is None else _windows(masks.unsqueeze(1), views.corners, views.flipped, pad).squeeze(1)


def _windows(images: Tensor, corners: Tensor, flipped: Tensor, pad: int) -> Tensor:
    """Copy each sample's window, row by row, out of the padded batch or out of its mirror image.

    Copying whole rows of a strided view is what makes this fast: a gather by pixel indices takes half as long again.
    """
    samples, channels, height, width = images.shape
    padded = F.pad(images, (pad, pad, pad, pad))
    both = torch.cat((padded, padded.flip(3))).contiguous().flatten()
    rows_high, row_wide = height + 2 * pad, width + 2 * pad
    plane = torch.arange(channels)[:, None] * rows_high  # first row of each channel
    sample = (torch.arange(samples) + flipped * samples)[:, None, None] * channels * rows_high
    row = corners[0][:, None, None] + torch.arange(height)
    starts = (sample + plane + row) * row_wide + corners[1][:, None, None]
    windows = both.as_strided((both.numel() - width + 1, width), (1, 1))
    return windows.index_select(0, starts.flatten().to(images.device)).view(samples, channels, height, width)


def _affine(
    images: Tensor, masks: Tensor | None, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """One resampling for rotation, scale and shear: bilinear for images, nearest for masks, 0 outside."""
    samples, _, height, width = images.shape
    angle = _symmetric(samples, math.radians(config.rotation), generator)
    scale = 1.0 + _symmetric(samples, config.scale, generator)
    shear = torch.tan(_symmetric(samples, math.radians(config.shear), generator))
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    # Where an output pixel looks in the input, in pixels about the centre: rotation · shear / scale.
    matrix = torch.stack(
        (cosine, cosine * shear - sine, sine, sine * shear + cosine),
        dim=1,
    ).view(samples, 2, 2)
    # grid_sample's axes run from -1 to 1 along each side: without this, a rotation of an oblong image would shear it.
    aspect = torch.tensor([[1.0, height / width], [width / height, 1.0]])
    theta = torch.cat((matrix * aspect, torch.zeros(samples, 2, 1)), dim=2).to(images)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    if masks is None:
        return images, None
    # float32 holds every class exactly (uint8 masks)
    moved = F.grid_sample(masks.unsqueeze(1).to(grid), grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return images, moved.squeeze(1).to(masks.dtype)


def _photometry(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Shift of the level, stretch about each image's own mean, blend with its grey version; cut to [0, 1]."""
    samples, channels = images.shape[:2]
    if config.brightness:
        images = images + _each(_symmetric(samples, config.brightness, generator), images)
    if config.contrast:
        centre = images.mean(dim=(1, 2, 3), keepdim=True)
        images = torch.lerp(centre, images, 1.0 + _each(_symmetric(samples, config.contrast, generator), images))
    if config.colour and channels == 3:
        weights = torch.tensor(LUMA).to(images).view(1, 3, 1, 1)
        grey = (images * weights).sum(dim=1, keepdim=True)
        images = torch.lerp(grey, images, 1.0 + _each(_symmetric(samples, config.colour, generator), images))
    return images.clamp(0.0, 1.0)


def _erase(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Overwrite one rectangle a sample with noise (random erasing, Zhong et al. 2017).

    One image of noise serves the whole batch: each rectangle shows another part of it, and it costs nothing.
    """
    samples, channels, height, width = images.shape
    low, high = config.erase_area
    chosen = torch.rand(samples, generator=generator) < config.erase
    area = (low + (high - low) * torch.rand(samples, generator=generator)) * height * width
    aspect = torch.exp(_symmetric(samples, -math.log(ERASED_ASPECT), generator))
    tall = torch.sqrt(area * aspect).clamp(max=height)
    wide = (area / tall).clamp(max=width)
    tall = (area / wide).clamp(max=height)  # what the width could not take
    rows = _interval(tall.round(), height, generator)
    columns = _interval(wide.round(), width, generator)
    covered = rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]
    noise = torch.rand(1, channels, height, width, generator=generator)
    return torch.where(covered.unsqueeze(1).to(images.device), noise.to(images), images)


def _interval(length: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`(N,)` lengths → `(N, size)` booleans: an interval of that length at a random place."""
    start = torch.floor(torch.rand(len(length), generator=generator) * (size - length + 1))
    place = torch.arange(size)
    return (place >= start[:, None]) & (place < (start + length)[:, None])


def _symmetric(samples: int, limit: float, generator: torch.Generator) -> Tensor:
    """`(N,)` uniform in ± limit."""
    return (2.0 * torch.rand(samples, generator=generator) - 1.0) * limit


def _each(values: Tensor, images: Tensor) -> Tensor:
    """`(N,)` → `(N, 1, 1, 1)` where the images are."""
    return values.view(-1, 1, 1, 1).to(images)
