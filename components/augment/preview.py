"""A sheet of originals beside their augmented versions, for people to look at before they train on them."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from components.augment.policy import augment
from components.config import AugmentConfig


def preview(images: Tensor, targets: Tensor, config: AugmentConfig, seed: int, variants: int = 7) -> Figure:
    """A row a sample: the original, then `variants` augmented versions; masks are laid over their images.

    `images` is `(N, C, H, W)` float in [0, 1], `targets` `(N,)` or masks `(N, H, W)`; few samples (8 fill a page).
    """
    generator = torch.Generator().manual_seed(seed)
    columns = [(images, targets), *(augment(images, targets, config, generator) for _ in range(variants))]
    figure = Figure(figsize=(1.1 * len(columns), 1.1 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), len(columns), squeeze=False)
    for column, (shown, marked) in enumerate(columns):
        for row in range(len(images)):
            _draw(axes[row, column], shown[row], marked[row])
        axes[0, column].set_title("original" if column == 0 else str(column), fontsize=8)
    return figure


def _draw(axis: Axes, image: Tensor, target: Tensor) -> None:
    pixels = image.permute(1, 2, 0).numpy()
    axis.imshow(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0.0, vmax=1.0)
    if target.ndim == 2:
        mask = np.ma.masked_equal(target.numpy(), 0)
        axis.imshow(mask, cmap="tab10", alpha=0.5, vmin=0, vmax=10, interpolation="nearest")
    axis.set_axis_off()
