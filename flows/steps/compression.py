"""The step that makes the student small and fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import Dataset, Model
from components.config import AugmentConfig, QuantizeConfig, StudentConfig, TrainingConfig
from flows.run.context import line
from flows.run.curves import Curves
from flows.run.step import StepRun, step

if TYPE_CHECKING:
    from components.compress.quantization.quantized import Quantized
    from components.training.jobs.job import Job


def _quantized(folder: Path) -> Quantized:
    from components.compress.quantization.quantized import Quantized

    return Quantized.load(folder / "quantized")


@step(
    "quantize",
    load=_quantized,
    code=[
        "components.compress.quantize",
        "components.compress.quantization.aware",
        "components.training.cluster.fitting",
    ],
    minutes=24 * 60,
    measures=True,
)
def _quantize(
    run: StepRun,
    student: Model,
    dataset: Dataset,
    config: QuantizeConfig,
    teacher: Model | None,
    shape: StudentConfig | None,
    training: TrainingConfig | None,
    augment: AugmentConfig | None,
    seed: int,
    unlabelled: Dataset | None,
) -> None:
    """Export to ONNX with pre- and post-processing inside, try it in fewer bits, and serve what measures better."""
    from components.compress.distil import training_of
    from components.compress.quantize import quantize

    def train_aware(float32: Model) -> Model:
        assert training is not None and augment is not None  # noqa: S101 — both are given where `aware` is set
        job = training_of(float32, teacher, shape, training, augment, seed=seed, unlabelled=unlabelled)
        return _train_aware(run, job, float32, dataset, config)

    report = quantize(student, dataset, config, run.folder / "quantized", train_aware=train_aware).report
    figures = {"parity_float32": report.float32_from_pytorch.largest}
    for each in report.candidates:
        figures |= {
            f"validation_{report.metric}_{each.name}": each.metric.value,
            f"validation_loss_{each.name}": each.loss.value,
            f"speedup_{each.name}": each.speedup,
            f"bytes_{each.name}": float(each.bytes),
            f"parity_{each.name}": each.from_float32.largest,
            f"flagged_{each.name}": float(len(each.flagged)),
        }
        if each.int8 is not None:
            figures[f"quantized_operators_{each.name}"] = float(each.int8.operators)
            figures[f"float_layers_{each.name}"] = float(len(each.int8.kept))
            figures[f"equalized_pairs_{each.name}"] = float(each.int8.equalized)
    line().tracking.log_metrics(run.id, figures)
    run.summary = report.reason
    run.table = [
        {
            "candidate": each.name,
            f"validation {report.metric}": _said(each.metric.value, each.metric.low, each.metric.high),
            "loss": _said(each.loss.value, each.loss.low, each.loss.high),
            "loses more": ", ".join(f"{one.column} {one.group}" for one in each.flagged),
            "bytes": f"{each.bytes:,}",
            **{f"ms at {one.batch}": f"{one.median_ms:.3f}" for one in each.latency},
        }
        for each in report.candidates
    ]


def quantize(
    student: Model,
    dataset: Dataset,
    config: QuantizeConfig,
    teacher: Model,
    shape: StudentConfig | None,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
    unlabelled: Dataset | None,
) -> Quantized:
    """What is served. How the student was trained counts only where it may be trained on, feeling the rounding."""
    if config.aware is None:
        return _quantize(student, dataset, config, None, None, None, None, 0, None)
    taught = None if teacher.digest == student.digest else teacher
    # The allowance is no part of how the student came about.
    known = shape.model_copy(update={"allowance": 0.0}) if shape else None
    return _quantize(student, dataset, config, taught, known, training, augment, seed, unlabelled)


def _train_aware(run: StepRun, job: Job, float32: Model, dataset: Dataset, config: QuantizeConfig) -> Model:
    from components.compress.quantization.aware import aware_job
    from components.training.cluster import fitting as cluster

    assert config.aware is not None  # noqa: S101 — only then is anything trained here
    jobs = [aware_job(job, float32, config.aware)]
    curves = Curves(run, jobs)
    (trained,) = cluster.fit(
        jobs,
        dataset,
        storage=run.work / "storage",
        output=run.work / "aware",
        decoded=line().project.decoded,
        on_event=curves,
    )
    curves.finish()
    return trained


def _said(value: float, low: float | None, high: float | None) -> str:
    return f"{value:.4f}" + (f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else "")
