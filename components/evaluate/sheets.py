"""Pictures of samples with what a model answers drawn over them, beside the truths, as the task marks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.patches import Rectangle

from components import texts
from components.artifacts import Predictions
from components.evaluate.plots import BLUE, GREEN, ORANGE, RED
from components.tasks.capabilities import Mark, Marked, WithMarks

COLOURS = {"truth": GREEN, "right": BLUE, "wrong": RED, "missed": ORANGE}
CAPTION = "Blue: right. Red: wrong. Green, dashed: truths that were found. Orange, dashed: truths that were missed."
SIDE = 1.7  # inches that a picture is wide


def sheets(
    task: WithMarks, predictions: Predictions, pictures: Callable[[], npt.NDArray[np.uint8]]
) -> dict[str, Picture]:
    """Each sheet by its name; `pictures` are those `(N, H, W, C)` of the rows, asked for where there is a sheet."""
    wanted = task.looked_at(predictions)
    if not wanted:
        return {}
    images = pictures()
    panels: dict[str, dict[str, list[_Panel]]] = {}
    for each in wanted:
        panel = _Panel(images[each.row], task.marked(each, predictions), each.says)
        panels.setdefault(each.sheet, {}).setdefault(each.line, []).append(panel)
    return {name: _sheet(lines) for name, lines in panels.items()}


@dataclass(frozen=True)
class _Panel:
    image: npt.NDArray[np.uint8]
    marked: Marked
    says: str


def _sheet(lines: dict[str, list[_Panel]]) -> Picture:
    across = max(len(line) for line in lines.values())
    picture = Picture(figsize=(SIDE * across + 0.6, (SIDE + 0.25) * len(lines)), layout="constrained")
    grid = picture.subplots(len(lines), across, squeeze=False)
    for row, (name, line) in zip(grid, lines.items(), strict=True):
        for axes, panel in zip(row, line, strict=False):
            _draw(axes, panel)
        for axes in row[len(line) :]:
            axes.set_visible(False)
        row[0].set_ylabel(name, fontsize=8)
    return picture


def _draw(axes: Axes, panel: _Panel) -> None:
    image = panel.image[..., 0] if panel.image.shape[2] == 1 else panel.image
    height, width = image.shape[:2]
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0), interpolation="nearest")
    for mark in panel.marked.marks:
        _outline(axes, mark)
    left, top, right, bottom = panel.marked.window or (0, 0, width, height)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.set_facecolor("white")
    axes.spines[:].set_visible(False)
    axes.set_title(texts.plot(panel.says), fontsize=7)


def _outline(axes: Axes, mark: Mark) -> None:
    left, top, right, bottom = mark.sides
    colour, line = COLOURS[mark.kind], "--" if mark.kind in ("truth", "missed") else "-"
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=colour, ls=line, lw=1.2))
    # What is said stands above its box, what is true below it.
    at, lies = (bottom, "top") if mark.kind in ("truth", "missed") else (top, "bottom")
    axes.text(left, at, texts.plot(mark.says), color=colour, fontsize=5.5, va=lies, clip_on=True)
