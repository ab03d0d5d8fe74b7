"""One self-contained page about a model, for people who are not experts, and the plots on it as files.

Only presents what others measured and decided: nothing is computed here but the text of numbers.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from components import machine, texts
from components.artifacts import WITH_TWINS, Evidence, Figure, Predictions, Verdict
from components.evaluate import plots
from components.files import writing
from components.tasks import registry as tasks

MEANINGS = {
    "accuracy": "share of the samples that got the right answer",
    "balanced_accuracy": "the same, with every class counting equally",
    "macro_f1": "balance of missed and false answers, mean over the classes",
    "worst_class_recall": "share found of the class that is found least",
    "log_loss": "how surprised the model is by the truth; less is better",
    "brier_score": "squared error of the probabilities; less is better",
    "calibration_error": "gap between how sure the model is and how often it is right; less is better",
    "mean_iou": "overlap of drawn and true areas, mean over the classes",
    "pixel_accuracy": "share of the pixels that got the right class",
    "mean_dice": "overlap of drawn and true areas, weighted to small ones",
    "worst_class_iou": "overlap for the class that is drawn worst",
    "latency_ms": "time for one image on one thread: median, and the middle half of the rounds it was timed in",
    "throughput_64": "images a second, 64 at a time, one thread",
    "size_bytes": "size of the file that is executed",
    "parameters": "numbers that were learnt",
    WITH_TWINS: "samples that are all but the same picture as one that was learnt from",
}
AS_GIVEN = {"log_loss", "brier_score"}  # quantities that are no shares


@dataclass(frozen=True)
class ReportData:
    """What the page tells."""

    title: str
    evidence: Evidence
    predictions: Predictions
    task: str
    stages: Mapping[str, Evidence] = field(default_factory=dict)  # members, ensemble, student, served: in that order
    verdicts: Sequence[Verdict] = ()
    about: Mapping[str, str] = field(default_factory=dict)  # provenance: data digest, git commit, run …


def write_report(data: ReportData, folder: Path) -> Path:
    """Write `folder/report.html` and `folder/plots/*.png`; returns the page."""
    task = tasks.get(data.task)
    confusion = task.confusion(data.predictions)
    reliability = getattr(task, "reliability", None)
    sums = reliability(data.predictions) if reliability is not None else None
    files = plots.draw(data.evidence, data.predictions.classes, confusion, sums, folder / "plots")
    evidence = data.evidence
    stages = data.stages or {"this model": evidence}
    without = f"{evidence.primary}_without_twins"
    first = (evidence.primary, without, f"worst_group_{evidence.primary}", "calibration_error", "latency_ms")
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            data=data,
            evidence=evidence,
            headline=[name for name in first if name in evidence.figures],
            stage_columns=_stage_columns(stages),
            stages=stages,
            plots={name: _data_uri(path) for name, path in files.items()},
            confusion=confusion.tolist(),
            processor=machine.said(evidence.processor) if evidence.processor else "",
            with_twins=evidence.figures.get(WITH_TWINS),
            rejected=[verdict for verdict in data.verdicts if not verdict.passed],
        )
    )
    with writing(folder / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return folder / "report.html"


def number(figure: Figure | None, name: str) -> str:
    """A figure for people: shares in per cent, sizes in kB or MB, `not measurable` for NaN, `–` where there is none."""
    return "–" if figure is None else value_text(figure.value, name, figure.unit)


def value_text(value: float | None, name: str, unit: str = "") -> str:
    """One value with its unit."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not measurable"
    if unit == "bytes":
        return f"{value / 1e6:,.2f} MB" if value >= 1e6 else f"{value / 1e3:,.1f} kB"
    if unit:
        return f"{value:,.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"
    return f"{value:.4f}" if name in AS_GIVEN or abs(value) > 1 else f"{value:.2%}".replace("%", " %")


def interval(figure: Figure | None, name: str) -> str:
    """The interval for people, empty where there is none."""
    if figure is None or figure.low is None or figure.high is None:
        return ""
    return f"{value_text(figure.low, name, figure.unit)} to {value_text(figure.high, name, figure.unit)}"


def readable(name: str) -> str:
    """`worst_group_accuracy` → `worst group accuracy`."""
    return name.replace("_", " ")


def meaning(name: str) -> str:
    """What a figure says, in one sentence; empty for one that is not known here."""
    if name.startswith("worst_group_"):
        return "the lowest of the groups' or slices' figures"
    if name.startswith("robustness_"):
        return "mean on pictures with noise, blur, other light and other contrast"
    if name.endswith("_without_twins"):
        return "the same without samples that have a twin in what was learnt from"
    if name.endswith("_change_by_twins"):
        return "what those samples add to the figure, or take from it"
    if name.startswith("corrupted_"):
        return f"the same with {readable(name.removeprefix('corrupted_').rpartition('_')[0])} alone"
    return MEANINGS.get(name, "")


def _stage_columns(stages: Mapping[str, Evidence]) -> list[str]:
    primary = next(iter(stages.values())).primary
    wanted = (primary, "calibration_error", "size_bytes", "latency_ms", "throughput_64")
    return [name for name in wanted if any(name in evidence.figures for evidence in stages.values())]


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # class and group names come from the data
        finalize=texts.on_page,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "interval": interval, "readable": readable, "meaning": meaning}
    environment.filters["value_text"] = value_text
    return environment
