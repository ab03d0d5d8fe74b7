"""Random changes to a batch of training images, declared by `AugmentConfig`; targets follow what geometry moves.

Everything is per sample, vectorised over the batch and drawn from the generator that is passed: the same generator
state gives the same batch. Order: crop, flip, affine, photometry, erasing. Left to others: seeding and validation
data, which is never augmented.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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


@dataclass(frozen=True)
class Transform:
    """Where augmentation moves what N images show: the window that each shows, then an affine map about its centre."""

    size: tuple[int, int]  # height and width in pixels, of what comes and of what goes
    views: Views | None = None
    pad: int = 0  # pixels around an image before its window is taken
    looks: Tensor | None = None  # (N, 2, 2): where a pixel of the result looks, (x, y) in pixels about the centre

    def images(self, images: Tensor) -> Tensor:
        """`(N, C, H, W)`, moved: bilinear where an affine map resamples them, 0 outside."""
        if self.views is not None:
            images = _windows(images, self.views, self.pad)
        return images if self.looks is None else _resampled(images, self.looks, "bilinear")

    def pixels(self, masks: Tensor, outside: int = 0) -> Tensor:
        """`(N, H, W)` classes, moved with their images: nearest, and `outside` (a class, or what is ignored) beyond."""
        if self.views is not None:
            masks = _windows(masks.unsqueeze(1), self.views, self.pad, outside).squeeze(1)
        if self.looks is None:
            return masks
        # float32 holds every class exactly (uint8 masks), and its distance to what 0 stands for while masks are moved
        moved = _resampled((masks - outside).unsqueeze(1).float(), self.looks, "nearest")
        return moved.squeeze(1).to(masks.dtype) + outside

    def points(self, points: Tensor) -> Tensor:
        """`(N, P, 2)` float, x and y in pixels from the upper left corner, each where its place in the image goes.

        The centre of the upper left pixel is (0.5, 0.5). What leaves the image gets a place outside of it.
        """
        height, width = self.size
        if self.views is not None:
            # A mirrored window is one of the mirror image of the padded picture.
            mirrored = torch.stack((width - points[..., 0], points[..., 1]), dim=-1)
            points = torch.where(self.views.flipped.to(points.device)[:, None, None], mirrored, points)
            points = points + self.pad - self.views.corners.flip(0).T[:, None].to(points)
        if self.looks is None:
            return points
        centre = points.new_tensor([width / 2, height / 2])
        goes: Tensor = torch.linalg.inv(self.looks).to(points)
        return (points - centre) @ goes.mT + centre


Move = Callable[[Tensor, Transform], Tensor]  # the targets of a batch → where its transform puts them


def still(targets: Tensor, transform: Transform) -> Tensor:
    """Targets without a place in their images."""
    return targets


def augment(
    images: Tensor, targets: Tensor, config: AugmentConfig, generator: torch.Generator, move: Move = still
) -> tuple[Tensor, Tensor]:
    """`(N, C, H, W)` float in [0, 1] and N targets → the same shapes and ranges; by `move` targets follow images.

    `generator` lives on the CPU, so that every device sees the same randomness. Uncovered pixels of images are black.
    Erasing leaves targets alone: the network is to infer what was covered.
    A configuration of zeros returns its arguments.
    """
    if not config.switched_on:
        return images, targets
    transform = drawn(images, config, generator)
    images, targets = moved(images, targets, transform, move)
    if config.brightness or config.contrast or config.colour:
        images = _photometry(images, config, generator)
    if config.erase:
        images = _erase(images, config, generator)
    return images, targets


def drawn(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Transform:
    """What the configuration's geometry does to each of the images."""
    height, width = images.shape[2:]
    views = _views(len(images), config, generator) if config.crop or config.flip else None
    turns = config.rotation or config.scale or config.shear
    return Transform((height, width), views, config.crop, _looks(len(images), config, generator) if turns else None)


def moved(images: Tensor, targets: Tensor, transform: Transform, move: Move = still) -> tuple[Tensor, Tensor]:
    """The batch where the transform puts it; what stays in its place is not copied."""
    if transform.views is None and transform.looks is None:
        return images, targets
    return transform.images(images), move(targets, transform)


def shown(
    images: Tensor, targets: Tensor, views: Views, config: AugmentConfig, move: Move = still
) -> tuple[Tensor, Tensor]:
    """The batch in these views: what `augment` gives where it draws them and nothing else is switched on."""
    if not (config.crop or config.flip):
        return images, targets
    height, width = images.shape[2:]
    return moved(images, targets, Transform((height, width), views, config.crop), move)


def _views(samples: int, config: AugmentConfig, generator: torch.Generator) -> Views:
    corners = torch.randint(0, 2 * config.crop + 1, (2, samples), generator=generator)
    return Views(corners, torch.rand(samples, generator=generator) < config.flip)


def _windows(images: Tensor, views: Views, pad: int, outside: int = 0) -> Tensor:
    """Copy each sample's window, row by row, out of the padded batch or out of its mirror image.

    Copying whole rows of a strided view is what makes this fast: a gather by pixel indices takes half as long again.
    """
    samples, channels, height, width = images.shape
    corners, flipped = views.corners, views.flipped
    padded = F.pad(images.contiguous(), (pad, pad, pad, pad), value=outside)
    both = (torch.cat((padded, padded.flip(3))) if bool(flipped.any()) else padded).flatten()
    rows_high, row_wide = height + 2 * pad, width + 2 * pad
    plane = torch.arange(channels)[:, None] * rows_high  # first row of each channel
    sample = (torch.arange(samples) + flipped * samples)[:, None, None] * channels * rows_high
    row = corners[0][:, None, None] + torch.arange(height)
    starts = (sample + plane + row) * row_wide + corners[1][:, None, None]
    windows = both.as_strided((both.numel() - width + 1, width), (1, 1))
    return windows.index_select(0, starts.flatten().to(images.device)).view(samples, channels, height, width)


def _looks(samples: int, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """`(N, 2, 2)`: rotation · shear / scale."""
    angle = _symmetric(samples, math.radians(config.rotation), generator)
    scale = 1.0 + _symmetric(samples, config.scale, generator)
    shear = torch.tan(_symmetric(samples, math.radians(config.shear), generator))
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    return torch.stack((cosine, cosine * shear - sine, sine, sine * shear + cosine), dim=1).view(samples, 2, 2)


def _resampled(images: Tensor, looks: Tensor, mode: str) -> Tensor:
    """`(N, C, H, W)` → the same, each pixel from where it looks; 0 outside."""
    samples, _, height, width = images.shape
    # grid_sample's axes run from -1 to 1 along each side: without this, a rotation of an oblong image would shear it.
    aspect = torch.tensor([[1.0, height / width], [width / height, 1.0]])
    theta = torch.cat((looks * aspect, torch.zeros(samples, 2, 1)), dim=2).to(images)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode=mode, padding_mode="zeros", align_corners=False)


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
