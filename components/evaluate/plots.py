"""Pictures of a model's Evidence, as PNG files. What they stand beside is the report's business."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from components import texts
from components.artifacts import Evidence, Figure, GroupFigure
from components.files import writing
from components.tasks.capabilities import Compared

Floats = npt.NDArray[np.float64]

# Okabe and Ito (2008): told apart by people with any kind of colour vision.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8A94A0"
INK, FAINT = "#1F2933", "#D9DEE4"
DPI = 130
MANY_SAMPLES = 400  # of answers and truths that are drawn
MANY_CLASSES = 15  # above which a confusion matrix is drawn without its numbers


def draw(
    evidence: Evidence,
    classes: Sequence[str],
    confusion: npt.NDArray[np.int64] | None,
    reliability: Floats | None,
    folder: Path,
    numbers: Mapping[str, Compared] | None = None,
) -> dict[str, Path]:
    """Every plot there is something to show for: name → PNG file in `folder`.

    `classes` are the names in the order of the matrix; that of `evidence.classes` does not survive a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    if confusion is not None:
        pictures["confusion"] = confusion_matrix(confusion, classes)
    if reliability is not None:
        pictures["reliability"] = reliability_diagram(reliability)
    if numbers:
        pictures["numbers"] = answers_and_truths(numbers)
    if evidence.classes:
        pictures["classes"] = class_bars({name: evidence.classes[name] for name in classes})
    if evidence.groups:
        pictures["groups"] = group_bars(evidence.groups, evidence.figures.get(evidence.primary))
    return {name: save(picture, folder / f"{name}.png") for name, picture in pictures.items()}


def confusion_matrix(counts: npt.NDArray[np.int64], classes: Sequence[str]) -> Picture:
    """`(C, C)` counts as shares of each row: of all units of a class, how many were called what."""
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    side = min(9.0, max(3.6, 0.55 * len(classes) + 1.8))
    picture, axes = canvas(side, side)
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    ticks = range(len(classes))
    names = [texts.plot(name) for name in classes]
    axes.set_xticks(ticks, names, rotation=45, ha="right")
    axes.set_yticks(ticks, names)
    axes.set(xlabel="the model's answer", ylabel="the truth")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if len(classes) <= MANY_CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                colour = "white" if share > 0.55 else INK
                axes.text(column, row, f"{share:.0%}", ha="center", va="center", fontsize=7, color=colour)
    return picture


def reliability_diagram(sums: Floats) -> Picture:
    """`(3·bins,)` units, confidence and correct a bin: how often the model is right when it says how sure it is."""
    units, confidence, correct = np.split(sums, 3)
    bins = len(units)
    used = units > 0
    picture = Picture(figsize=(4.6, 4.6), layout="constrained")
    upper, lower = picture.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    left = np.arange(bins)[used] / bins
    upper.bar(left, correct[used] / units[used], width=1 / bins, align="edge", color=BLUE, edgecolor="white")
    upper.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="as sure as it is right")
    upper.plot(confidence[used] / units[used], correct[used] / units[used], "o", color=ORANGE, markersize=4)
    upper.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    upper.legend(frameon=False, loc="upper left", fontsize=8)
    lower.bar(left, units[used] / units.sum(), width=1 / bins, align="edge", color=GREY, edgecolor="white")
    lower.set(xlabel="how sure the model says it is", ylabel="of all")
    for axes in (upper, lower):
        plain(axes)
    return picture


def answers_and_truths(numbers: Mapping[str, Compared]) -> Picture:
    """Each answer above its truth, with its interval; of many samples some, chosen evenly over the truths."""
    across = min(3, len(numbers))
    down = math.ceil(len(numbers) / across)
    picture = Picture(figsize=(3.6 * across + 0.6, 3.6 * down), layout="constrained")
    every = picture.subplots(down, across, squeeze=False).ravel()
    for axes, (name, one) in zip(every, numbers.items(), strict=False):
        order = np.argsort(one.target, kind="stable")
        order = order[np.isfinite(one.prediction[order])]
        some = order[np.unique(np.linspace(0, len(order) - 1, MANY_SAMPLES).astype(int))] if len(order) else order
        inside = (one.target[some] >= one.low[some]) & (one.target[some] <= one.high[some])
        for chosen, colour, said in ((inside, BLUE, "in its interval"), (~inside, ORANGE, "outside of it")):
            rows = some[chosen]
            axes.vlines(one.target[rows], one.low[rows], one.high[rows], color=colour, linewidth=0.7, alpha=0.3)
            axes.plot(one.target[rows], one.prediction[rows], ".", color=colour, markersize=4, label=said)
        ends = [one.target.min(), one.target.max()]
        axes.plot(ends, ends, color=INK, linestyle="--", linewidth=1)
        unit = f" ({texts.plot(one.unit)})" if one.unit else ""
        axes.set(title=texts.plot(name), xlabel=f"the truth{unit}", ylabel=f"the model's answer{unit}")
        plain(axes)
    every[0].legend(frameon=False, loc="upper left", fontsize=8)
    for axes in every[len(numbers) :]:
        axes.set_visible(False)
    return picture


def class_bars(classes: Mapping[str, Mapping[str, float]]) -> Picture:
    """Every metric of every class, as bars side by side."""
    metrics = list(next(iter(classes.values())))
    picture, axes = canvas(7.4, max(2.4, 0.42 * len(classes) + 1.0))
    height = 0.8 / len(metrics)
    places = np.arange(len(classes))
    for number, (metric, colour) in enumerate(zip(metrics, (BLUE, ORANGE, GREEN, RED, GREY), strict=False)):
        values = [classes[name].get(metric, math.nan) for name in classes]
        axes.barh(places + number * height - 0.4 + height / 2, values, height * 0.9, color=colour, label=metric)
    axes.set_yticks(places, [texts.plot(name) for name in classes])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.6 / len(classes)), ncols=len(metrics))
    plain(axes)
    return picture


def group_bars(groups: Sequence[GroupFigure], overall: Figure | None) -> Picture:
    """The primary metric of each group with its interval, beside the figure over all samples."""
    picture, axes = canvas(7.4, max(2.2, 0.36 * len(groups) + 0.9))
    columns = list(dict.fromkeys(row.column for row in groups))
    colours = dict(zip(columns, (BLUE, GREEN, ORANGE, RED, GREY) * (len(columns) // 5 + 1), strict=False))
    for place, row in enumerate(groups):
        value, low, high = row.figure.value, row.figure.low, row.figure.high
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], color=colours[row.column], linewidth=3, solid_capstyle="round")
        axes.plot(value, place, "o", color=colours[row.column], markersize=7, markeredgecolor="white")
    if overall is not None and math.isfinite(overall.value):
        axes.axvline(overall.value, color=INK, linestyle="--", linewidth=1, label="all samples")
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=8)
    labels = [f"{texts.plot(row.column.partition('_')[2])}: {texts.plot(row.group)}" for row in groups]
    axes.set_yticks(range(len(groups)), labels)
    axes.invert_yaxis()
    unit = groups[0].figure.unit
    axes.set_xlabel(groups[0].metric.replace("_", " ") + (f" ({texts.plot(unit)})" if unit else ""))
    plain(axes)
    return picture


def canvas(width: float, height: float) -> tuple[Picture, Axes]:
    """A picture of that many inches with one pair of axes."""
    picture = Picture(figsize=(width, height), layout="constrained")
    return picture, picture.subplots()


def plain(axes: Axes) -> None:
    """Two spines and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def save(picture: Picture, path: Path) -> Path:
    """Write it as a PNG file, in one move."""
    # Without pyplot there is no screen and no global state: matplotlib draws with Agg.
    with writing(path) as temporary:
        picture.savefig(temporary, format="png", dpi=DPI, facecolor="white")
    return path
