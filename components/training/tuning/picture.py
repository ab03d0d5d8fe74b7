"""Pictures of a study, as PNG files: its history, and which keys mattered."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from components.files import writing
from components.training.tuning.study import Findings, Study

# Okabe and Ito (2008): told apart by people with any kind of colour vision.
COLOURS = {"finished": "#0072B2", "pruned": "#E69F00", "stopped": "#8A94A0"}
BEST = "#009E73"
DPI = 130


def draw(study: Study, findings: Findings, folder: Path) -> dict[str, Path]:
    """Every picture there is something to show for: name → file in `folder`."""
    pictures = {"history": history(study, findings)}
    if findings.importances is not None:
        pictures["importances"] = importance_bars(findings)
    files = {}
    for name, picture in pictures.items():
        files[name] = folder / f"{name}.png"
        with writing(files[name]) as temporary:
            picture.savefig(temporary, dpi=DPI, format="png")
    return files


def history(study: Study, findings: Findings) -> Figure:
    """Each trial's figure in the order of their start, by state, and the best finished one so far."""
    picture = Figure(figsize=(7.0, 4.0), layout="constrained")
    axes = picture.add_subplot()
    for state, colour in COLOURS.items():
        shown = [trial for trial in findings.trials if trial.state == state and trial.value is not None]
        if shown:
            values = [trial.value or 0.0 for trial in shown]
            axes.scatter([trial.number for trial in shown], values, color=colour, label=state, zorder=3)
    finished = [trial for trial in findings.trials if trial.state == "finished" and trial.value is not None]
    axes.step(
        [trial.number for trial in finished],
        list(accumulate((trial.value or 0.0 for trial in finished), lambda *two: study.watched.best(two, float))),
        where="post",
        color=BEST,
        label="best that finished",
    )
    axes.set(xlabel="trial", ylabel=study.metric.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    return picture


def importance_bars(findings: Findings) -> Figure:
    """Share of the finished trials' variance that each key explains."""
    shares = findings.importances or {}
    picture = Figure(figsize=(7.0, 1.0 + 0.4 * len(shares)), layout="constrained")
    axes = picture.add_subplot()
    keys = list(shares)[::-1]
    axes.barh(keys, [shares[key] for key in keys], color=COLOURS["finished"])
    axes.set(xlabel="share of the variance (fANOVA)", xlim=(0.0, 1.0))
    axes.spines[["top", "right"]].set_visible(False)
    return picture
