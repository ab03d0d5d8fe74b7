"""The stages of a run as points: how good each is against what it costs, and which of them no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import LogLocator, NullFormatter

from components.artifacts import Evidence
from components.evaluate.plots import BLUE, GREEN, GREY, INK, ORANGE, RED, plain, save
from components.metrics.metric import Metric

COSTS = {"latency_ms": ("ms for one image, one thread", 1.0), "size_bytes": ("kB", 1000.0)}  # and what one unit is of
COLOURS = {"pytorch": GREY, "onnxruntime": BLUE, "openvino": ORANGE, "": GREEN}


def front(points: Mapping[str, tuple[float, float]], metric: Metric) -> list[str]:
    """Names of the points (cost, figure) that no other is as good as in both and better than in one, cheapest first."""
    sign = metric.sign
    found: list[str] = []
    best = -math.inf
    for name, (_, value) in sorted(points.items(), key=lambda item: (item[1][0], -sign * item[1][1])):
        if sign * value > best:
            found.append(name)
            best = sign * value
    return found


def draw(stages: Mapping[str, Evidence], path: Path, metric: Metric) -> Path:
    """Write `path`: the primary metric with its interval against latency and against size, the front as a line."""
    primary = next(iter(stages.values())).primary
    picture = Picture(figsize=(10.0, 4.2), layout="constrained")
    left, right = picture.subplots(1, 2, sharey=True)
    for axes, (key, (label, unit)) in zip((left, right), COSTS.items(), strict=True):
        points = {
            name: (evidence.figures[key].value / unit, evidence.figures[primary].value)
            for name, evidence in stages.items()
            if key in evidence.figures and math.isfinite(evidence.figures[primary].value)
        }
        line = [points[name] for name in front(points, metric)]
        if line:
            axes.step(*zip(*line, strict=True), where="post", color=RED, linewidth=1, linestyle="--", zorder=1)
        for name, (cost, value) in points.items():
            evidence = stages[name]
            figure, colour = evidence.figures[primary], COLOURS.get(evidence.runtime, GREEN)
            if figure.low is not None and figure.high is not None:
                axes.plot([cost, cost], [figure.low, figure.high], color=colour, linewidth=1, alpha=0.6, zorder=2)
            axes.plot(cost, value, "o", color=colour, markersize=7, markeredgecolor="white", zorder=3)
        _label(axes, points)
        axes.set(xscale="log", xlabel=label)
        axes.margins(x=0.15)  # room for the names
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        plain(axes)
    left.set_ylabel(primary.replace("_", " "))
    used = list(dict.fromkeys(evidence.runtime for evidence in stages.values() if evidence.runtime))
    for runtime in used:
        right.plot([], [], "o", color=COLOURS.get(runtime, GREEN), label=runtime)
    if used:
        right.legend(frameon=False, fontsize=8, loc="lower right")
    return save(picture, path)


def _label(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Names beside the points; those of one place share a label, so that none is written over another."""
    places: dict[tuple[float, float], list[str]] = {}
    for name, (cost, value) in points.items():
        near: Sequence[tuple[float, float]] = [
            place for place in places if abs(math.log(place[0] / cost)) < 0.05 and abs(place[1] - value) < 5e-4
        ]
        places.setdefault(near[0] if near else (cost, value), []).append(name)
    for place, names in places.items():
        axes.annotate(", ".join(names), place, xytext=(6, 5), textcoords="offset points", fontsize=7, color=INK)
