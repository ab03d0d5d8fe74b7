"""The range test's curve as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from components.files import writing
from components.training.finding.rates import TENTH, RangeTest

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#8A94A0"  # Okabe and Ito (2008)
DPI = 130


def draw(found: RangeTest, title: str, file: Path) -> None:
    """Loss over rate, with the places that were read off, as a PNG file."""
    picture = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = picture.add_subplot()
    finite = np.isfinite(found.losses)
    axes.plot(found.rates[finite], found.losses[finite], color=GREY, linewidth=0.8, alpha=0.6, label="a step's loss")
    axes.plot(found.rates[finite], found.smoothed[finite], color=BLUE, linewidth=2.0, label="smoothed")
    if found.steepest is not None:
        axes.axvline(found.steepest, color=ORANGE, linestyle="--", label=f"steepest descent, {found.steepest:.2g}")
    if found.divergence is not None:
        axes.axvline(found.divergence, color=RED, linestyle=":", label=f"divergence, {found.divergence:.2g}")
        tenth = TENTH * found.divergence
        axes.axvline(tenth, color=RED, linestyle="--", label=f"a tenth of it, {tenth:.2g}")
    shown = found.smoothed[finite]
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss", title=title)
    axes.set_ylim(0.0 if shown.min() >= 0 else None, 1.5 * float(np.max(shown[: max(1, len(shown) // 2)])))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    with writing(file) as temporary:
        picture.savefig(temporary, dpi=DPI, format="png")
