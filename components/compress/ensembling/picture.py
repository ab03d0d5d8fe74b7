"""The ensemble's report as a picture: how much its members differ, and what each way to combine them is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from components.compress.ensembling.report import EnsembleReport
from components.files import writing

BLUE, ORANGE, GREY, INK, FAINT = "#0072B2", "#E69F00", "#8A94A0", "#1F2933", "#D9DEE4"  # Okabe and Ito (2008)
DPI = 130
APART = {  # how far two members are apart, by what they are judged by: its title, and the form of a figure
    "log_loss": ("answers that differ", ".1%"),
    "squared_error": ("distance of answers, σ", ".2f"),
}
MANY = 12  # members above which a matrix is drawn without its numbers


def draw(report: EnsembleReport, file: Path) -> None:
    """Write it as a PNG file: two matrices of pairs, and bars of the loss, for members and combiners."""
    names = [member.name for member in report.members]
    picture = Figure(figsize=(11.0, max(3.4, 0.32 * (len(names) + len(report.combiners)) + 1.6)), layout="constrained")
    left, middle, right = picture.subplots(1, 3, width_ratios=(1, 1, 1.25))
    title, form = APART[report.loss_name]
    _pairs(left, report.disagreement, names, title, form, largest=None)
    _pairs(middle, report.error_correlation, names, "correlation of errors", ".2f", largest=1.0)
    _bars(right, report)
    with writing(file) as temporary:
        picture.savefig(temporary, format="png", dpi=DPI, facecolor="white")


def _pairs(
    axes: Axes, figures: Sequence[Sequence[float]], names: Sequence[str], title: str, form: str, largest: float | None
) -> None:
    values = np.array(figures)
    shown = np.where(np.eye(len(values), dtype=bool), np.nan, values)  # with itself: nothing to be seen
    top = largest or max(float(np.nanmax(values, initial=0.0)), 1e-9)
    axes.imshow(shown, cmap="Blues", vmin=0.0, vmax=top)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_title(title, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(names) <= MANY:
        for (row, column), value in np.ndenumerate(shown):
            if math.isfinite(value):
                colour = "white" if value > 0.6 * top else INK
                axes.text(column, row, f"{value:{form}}", ha="center", va="center", fontsize=7, color=colour)


def _bars(axes: Axes, report: EnsembleReport) -> None:
    rows = report.rows
    members = len(report.members)
    colours = [GREY] * members + [ORANGE if each.name == report.combiner else BLUE for each in report.combiners]
    axes.barh(range(len(rows)), [row.loss for row in rows], color=colours)
    for place, row in enumerate(rows):
        said = [
            f"{row.loss:.3f}",
            f"{row.primary:.4f}",
            *([f"{row.calibration_error:.3f}"] if report.calibrated else []),
        ]
        axes.text(row.loss, place, f" {' · '.join(said)}", va="center", fontsize=7, color=INK)
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.7 * max(row.loss for row in rows))
    shown = [report.loss_title, report.metric.replace("_", " "), *(["calibration error"] if report.calibrated else [])]
    axes.set_title(f"{' · '.join(shown)}, validation", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
