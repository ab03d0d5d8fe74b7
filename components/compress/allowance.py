"""What a stage may cost: how much worse than what it was made of it may be on the validation split.

A stage that pays more than its allowance stops the run there, with the figures and the key that allows more. What is
served has a choice instead (`quantize`), and limits of its own on the test split (the gates). Only `exchange` needs an
engine.
"""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import Field

from components.artifacts import Card, Dataset, Model
from components.compress.ensembling.report import REPORT, EnsembleReport, read_report
from components.export.errors import CompressionError
from components.metrics.metric import SHARE, Metric, recorded

SAMPLES = 2_000  # of the validation split at most: two accuracies near 0.9 on these are known to 0.9 pp of difference


class Exchange(Card):
    """A stage and what it was made of, in the primary metric on the same validation samples."""

    stage: str
    source: str
    metric: str
    samples: int
    before: float
    after: float
    higher_is_better: bool
    unit: str = Field(default=SHARE, exclude_if=lambda unit: unit == SHARE)  # of the metric

    @property
    def loss(self) -> float:
        """How much worse the stage is, as `Metric.lost` has it: negative where it is better."""
        return self.judged_by.lost(self.before, self.after)

    @property
    def judged_by(self) -> Metric:
        return recorded(self.metric, self.higher_is_better, self.unit)


class AllowanceError(CompressionError):
    """A stage made its input worse than it may; names the figures and the key."""


def exchange(source: Model, stage: Model, dataset: Dataset) -> Exchange:
    """Both networks, asked in PyTorch for the same seeded part of the validation split.

    An ensemble is taken at the word of its report, on the whole split: what was fitted there would flatter it.
    """
    from components.data.reading.loading import load_split
    from components.models.network import load_network
    from components.tasks import registry as tasks
    from components.tasks.asking import ask, primary
    from components.tasks.network import torch_answerer

    task, report = tasks.of(dataset.card), _report(source)
    samples = load_split(dataset, "validation", limit=None if report else SAMPLES)

    def figure(model: Model) -> float:
        return primary(task, ask(task, torch_answerer(task, load_network(model)), samples, dataset.card))

    return Exchange(
        stage=stage.card.name,
        source=source.card.name,
        metric=task.spec.primary.name,
        samples=len(samples),
        before=_combined(report) if report else figure(source),
        after=figure(stage),
        higher_is_better=task.spec.primary.more,
        unit=task.spec.primary.unit,
    )


def of_ensemble(ensemble: Model, metric: Metric) -> Exchange:
    """The ensemble and its best member, by its own report. Raises ArtifactError where there is none."""
    report = read_report(ensemble)
    best = metric.best(report.members, lambda member: member.primary)
    return Exchange(
        stage="ensemble",
        source=best.name,
        metric=report.metric,
        samples=report.samples,
        before=best.primary,
        after=_combined(report),
        higher_is_better=metric.more,
        unit=metric.unit,
    )


def within(key: str, found: Exchange, allowance: float) -> None:
    """Raises AllowanceError where the stage lost more than `allowance`, or where that is not known.

    `key` is the allowance's own, below `line:`.
    """
    if math.isfinite(found.loss) and found.loss <= allowance:
        return
    unit = "pp" if found.judged_by.shared else "%"
    lost = f"{found.loss * 100:.2f} {unit} worse" if math.isfinite(found.loss) else "by an amount that is not known"
    raise AllowanceError(
        f"{key}: expected {found.stage} to lose at most {allowance * 100:g} {unit} of validation {found.metric} "
        f"against {found.source}, received {found.after:.4f} after {found.before:.4f}, {lost} ({found.samples} "
        f"samples). Train {found.stage} longer or larger, or allow more with -S {key}=…"
    )


def _report(model: Model) -> EnsembleReport | None:
    return read_report(model) if (model.folder / REPORT).is_file() else None


def _combined(report: EnsembleReport) -> float:
    """The chosen combiner's figure on samples that it was not fitted on."""
    return next((each.primary for each in report.combiners if each.name == report.combiner), report.primary)


def read(folder: Path) -> Exchange:
    """What a step has found out about itself."""
    return Exchange.read(folder / "exchange.json")


def write(found: Exchange, folder: Path) -> None:
    """Beside the step's result, so that a run which finds the step done judges it by today's allowance."""
    (folder / "exchange.json").write_text(found.to_json(), encoding="utf-8")
