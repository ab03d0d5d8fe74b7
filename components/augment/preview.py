"""A sheet of originals beside their augmented versions, for people to look at before they train on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image
from torch import Tensor

from components.augment.policy import Move, augment, still
from components.config import AugmentConfig

MOST_NAMED = 24  # colours that are named; of more the last ones
Colour = tuple[int, int, int]
Mark = Callable[[Image.Image, Any], Image.Image]  # a picture and its target as an array → the picture, marked


def unmarked(picture: Image.Image, target: Any) -> Image.Image:
    """Targets that cannot be drawn on their images."""
    return picture


def preview(
    images: Tensor,
    targets: Tensor,
    config: AugmentConfig,
    seed: int,
    variants: int = 7,
    *,
    move: Move = still,
    mark: Mark = unmarked,
    colours: Mapping[str, Colour] | None = None,
) -> Figure:
    """One row per sample: the original, then `variants` augmented versions, each with its target drawn on it.

    `images` is `(N, C, H, W)` float in [0, 1], of `targets` there are N; few samples (8 fill a page). `move` has
    targets follow their images, and `colours` are those that `mark` gives to what it draws.
    """
    generator = torch.Generator().manual_seed(seed)
    columns = [(images, targets), *(augment(images, targets, config, generator, move) for _ in range(variants))]
    figure = Figure(figsize=(1.1 * len(columns), 1.1 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), len(columns), squeeze=False)
    for column, (shown, marked) in enumerate(columns):
        for row in range(len(images)):
            _draw(axes[row, column], mark(_picture(shown[row]), marked[row].numpy()))
        axes[0, column].set_title("original" if column == 0 else str(column), fontsize=8)
    if colours:
        patches = [
            Patch(color=(red / 255, green / 255, blue / 255), label=name)
            for name, (red, green, blue) in colours.items()
        ]
        figure.legend(handles=patches[-MOST_NAMED:], loc="outside lower left", ncols=6, fontsize=8)
    return figure


def _picture(image: Tensor) -> Image.Image:
    pixels = (image.permute(1, 2, 0) * 255.0).round().byte().numpy()
    return Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)


def _draw(axis: Axes, picture: Image.Image) -> None:
    axis.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255)
    axis.set_axis_off()
