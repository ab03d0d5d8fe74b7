"""One self-contained page about a model, for people who are not experts, and the plots on it as files.

Only presents what others measured and decided: nothing is computed here but the text of numbers.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt

from components import machine, texts
from components.artifacts import WITH_TWINS, Evidence, Figure, Predictions, Verdict
from components.evaluate import cells, doubts, plots, sheets
from components.files import writing
from components.metrics.metric import SHARE, shown
from components.tasks.capabilities import (
    Crossed,
    Doubting,
    WithConfusion,
    WithMarks,
    WithNumbers,
    WithReliability,
    WithViews,
)
from components.tasks.protocol import Task, TaskSpec

COSTS = {
    "latency_ms": "time for one image on one thread: median, and the middle half of the rounds it was timed in",
    "throughput_64": "images per second, 64 at a time, one thread",
    "size_bytes": "size of the file that is executed",
    "parameters": "numbers that were learnt",
    WITH_TWINS: "samples that are all but the same picture as one that was learnt from",
}


@dataclass(frozen=True)
class ReportData:
    """What the page tells."""

    title: str
    evidence: Evidence
    predictions: Predictions
    task: Task
    stages: Mapping[str, Evidence] = field(default_factory=dict)  # members, ensemble, student, served: in that order
    verdicts: Sequence[Verdict] = ()
    about: Mapping[str, str] = field(default_factory=dict)  # provenance: data digest, git commit, run …
    # The pictures `(N, H, W, C)` that the predictions are of; None: none is shown.
    pictures: Callable[[], npt.NDArray[np.uint8]] | None = None


def write_report(data: ReportData, folder: Path) -> Path:
    """Write `folder/report.html` and `folder/plots/*.png`; returns the page."""
    task = data.task
    confusion = task.confusion(data.predictions) if isinstance(task, WithConfusion) else None
    sums = task.reliability(data.predictions) if isinstance(task, WithReliability) else None
    numbers = task.compared(data.predictions) if isinstance(task, WithNumbers) else {}
    files = plots.draw(data.evidence, data.predictions.classes, confusion, sums, folder / "plots", numbers)
    views = task.views(data.predictions) if isinstance(task, WithViews) else ()
    matrices = {
        view.title: plots.confusion_matrix(view.counts, view.names) for view in views if isinstance(view, Crossed)
    }
    looked = {}
    if isinstance(task, WithMarks) and data.pictures is not None:
        looked = sheets.sheets(task, data.predictions, data.pictures)
    drawn = {
        name: plots.save(picture, folder / "plots" / f"{name.lower().replace(' ', '-')}.png")
        for name, picture in {**matrices, **looked}.items()
    }
    evidence = data.evidence
    stages = data.stages or {"this model": evidence}
    without = f"{evidence.primary}_without_twins"
    metric = evidence.cells[0].metric if evidence.cells else evidence.primary
    weakest = (
        f"worst_group_{metric}" if f"worst_group_{metric}" in evidence.figures else f"worst_group_{evidence.primary}"
    )
    first = (evidence.primary, without, weakest, "calibration_error", "latency_ms")
    page = (
        _environment(Words(task.spec))
        .get_template("report.html.j2")
        .render(
            data=data,
            evidence=evidence,
            headline=[name for name in first if name in evidence.figures],
            stage_columns=_stage_columns(stages),
            stages=stages,
            plots={name: _data_uri(path) for name, path in files.items()},
            views=views,
            cells=cells.tables(evidence),
            worst=evidence.figures.get(weakest),
            drawn={name: _data_uri(path) for name, path in drawn.items()},
            looked=looked,
            colours=sheets.CAPTION,
            doubts=doubts.write(task, data.predictions, folder / doubts.REVIEW) if isinstance(task, Doubting) else (),
            processor=machine.said(evidence.processor) if evidence.processor else "",
            with_twins=evidence.figures.get(WITH_TWINS),
            failed=[verdict for verdict in data.verdicts if not verdict.passed],
        )
    )
    with writing(folder / "report.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return folder / "report.html"


@dataclass(frozen=True)
class Words:
    """Figures of a task for people."""

    spec: TaskSpec

    def number(self, figure: Figure | None, name: str) -> str:
        """A figure with its unit, `not measurable` for NaN, `–` where there is none."""
        return "–" if figure is None else shown(figure.value, self._unit(figure, name))

    def interval(self, figure: Figure | None, name: str) -> str:
        """The interval for people, empty where there is none."""
        if figure is None or figure.low is None or figure.high is None:
            return ""
        unit = self._unit(figure, name)
        return f"{shown(figure.low, unit)} to {shown(figure.high, unit)}"

    def between(self, value: float, name: str) -> str:
        """What lies between groups: a difference in the primary metric's unit, a ratio as a share."""
        return shown(value, SHARE if name.endswith(".ratio") else self.spec.primary.unit)

    def meaning(self, name: str) -> str:
        """What a figure says, in one sentence; empty for one that is not known here."""
        worst = "lowest" if self.spec.primary.more else "highest"
        said = {
            "worst_group_": f"the {worst} of the groups' or slices' values",
            "robustness_": "mean on pictures with noise, blur, other light and other contrast",
            "corrupted_": "the same with {} alone",
            "baseline_": "what a simple model reaches that has learnt from the same samples: {}",
            "ahead_of_": "how much better the answers are than those of baseline {}, on the same samples",
        }
        if name.startswith("worst_group_") and name != f"worst_group_{self.spec.primary_metric}":
            return f"{readable(name.removeprefix('worst_group_'))} of the class and group where its interval ends worst"
        for prefix, words in said.items():
            if name.startswith(prefix):
                rest = name.removeprefix(prefix)
                return words.format(readable(rest.rpartition("_")[0] if prefix == "corrupted_" else rest))
        if name.endswith("_without_twins"):
            return "the same without samples that have a twin in what was learnt from"
        if name.endswith("_change_by_twins"):
            return "what those samples add to the metric, or take from it"
        return COSTS.get(name) or next((metric.says for metric in self.spec.metrics if metric.name == name), "")

    def _unit(self, figure: Figure, name: str) -> str:
        """Of a figure that says none, the unit of the metric; what is no metric's either is a share."""
        return figure.unit or next((metric.unit for metric in self.spec.metrics if metric.name == name), SHARE)


def readable(name: str) -> str:
    """`worst_group_accuracy` → `worst group accuracy`."""
    return name.replace("_", " ")


def _cell(value: str | float) -> str:
    """Of a table of a task's own: a float is a share."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else shown(value, SHARE)


def _stage_columns(stages: Mapping[str, Evidence]) -> list[str]:
    primary = next(iter(stages.values())).primary
    wanted = (primary, "calibration_error", "size_bytes", "latency_ms", "throughput_64")
    return [name for name in wanted if any(name in evidence.figures for evidence in stages.values())]


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _environment(words: Words) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # class and group names come from the data
        finalize=texts.on_page,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": words.number, "interval": words.interval, "meaning": words.meaning}
    environment.filters |= {"readable": readable, "shown": shown, "between": words.between, "cell": _cell}
    return environment
