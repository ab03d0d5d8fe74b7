"""The steps of the line, in its order: what each is given, which room does the work, what it hands on.

Thin by intent: files are placed, figures are named for people, and everything else is the components'. Rooms are
imported inside the bodies, so a line that finds everything done imports no engine that it does not need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE

from components.artifacts import Dataset, Decision, Evidence, Model, Predictions, digest_values
from components.config import (
    AugmentConfig,
    DriftConfig,
    EnsembleConfig,
    EvaluateConfig,
    GatesConfig,
    MembersConfig,
    QuantizeConfig,
    StudentConfig,
    TrainingConfig,
)
from flows.curves import Curves
from flows.step import StepRun, line, passing, step

if TYPE_CHECKING:
    from components.compress.quantize import Quantized
    from components.training.job import Job

PREVIEW_SAMPLES = 8  # rows of the augmentation sheet: a page


# -- data -----------------------------------------------------------------------------------------------------------


@task(
    name="data",
    retries=1,
    retry_delay_seconds=5,
    retry_condition_fn=passing,
    timeout_seconds=3600,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _reproduce(name: str) -> Dataset:
    """Ingest, prepare and validate: DVC's stages, as far as something that they depend on has changed."""
    from components.data import versions

    shared = line()
    dataset = versions.reproduce(shared.project.root, name, log=shared.project.logs / f"data-{name}.log")
    rows = [{"split": split, "samples": count} for split, count in dataset.card.splits.items()]
    create_table_artifact(rows, key="data", description=f"{name}, version {dataset.digest}")
    return dataset


def data(name: str) -> Dataset:
    """The prepared, valid data set. DVC remembers what is done; its digest goes on the parent run."""
    shared = line()
    with shared.reporting("data") as told:
        dataset = _reproduce(name)
        counts = ", ".join(f"{count:,} {split}" for split, count in dataset.card.splits.items())
        told(f"{name} {dataset.digest[:12]} · {counts}")
    shared.tracking.log_tags(shared.run_id, {"convoy.data": dataset.digest})
    shared.tracking.log_dataset_input(shared.run_id, name, dataset.digest, source=f"dvc:{name}", context="training")
    return dataset


@step("validation", load=lambda folder: None, code=["components.data.validation"])
def validation(run: StepRun, dataset: Dataset) -> None:
    """How Great Expectations judged the data: its verdicts, and its pages as artifacts of the run."""
    from components.data.stages import validation_folder
    from components.data.validation import ValidationReport

    folder = validation_folder(line().project.root, dataset.card.name)
    report = ValidationReport.load(folder)
    run.show(folder, "validation")
    run.summary = f"{len(report.results)} expectations checked, {len(report.warnings)} warnings"
    run.table = [
        {"expectation": each.expectation, "severity": each.severity, "rows that fail": each.unexpected_count}
        for each in report.results
    ]


@step("drift", load=lambda folder: None, code=["components.data.drift", "components.compress.runtime"])
def _drift(run: StepRun, dataset: Dataset, production: Model | None, name: str, config: DriftConfig) -> None:
    """Whether the data is still what the production model was trained on (Evidently)."""
    from components.compress.runtime import embedding
    from components.data import drift
    from components.registry import versions

    reference = versions.production_reference(line().tracking, name)
    current = drift.profile(dataset, sample=config.sample, embed=embedding(production) if production else None)
    report = drift.compare(current, reference, config, run.folder)
    run.show(run.folder, "drift")
    if report.share is not None:
        line().tracking.log_metrics(run.id, {"drifted_share": report.share})
    run.summary = report.message
    run.table = [
        {
            "column": name,
            "drifted": "yes" if column.drifted else "no",
            "score": f"{column.score:.4f}",
            "test": column.test,
        }
        for name, column in report.columns.items()
    ]


def drift(dataset: Dataset, name: str, config: DriftConfig) -> None:
    """Compare the data with what the model `name` that is in production now was trained on."""
    from components.registry import versions

    _drift(dataset, versions.production_model(line().tracking, name), name, config)


@step("augmentation", load=lambda folder: None, code=["components.augment.preview", "components.data.loading"])
def augmentation(run: StepRun, dataset: Dataset, config: AugmentConfig, seed: int) -> None:
    """A sheet of samples as training will see them."""
    import torch

    from components.augment.preview import preview
    from components.data.loading import load_split

    samples = load_split(dataset, "train", limit=PREVIEW_SAMPLES, seed=seed)
    images = torch.from_numpy(samples.images).permute(0, 3, 1, 2).float() / 255.0
    sheet = preview(images, torch.from_numpy(samples.targets).long(), config, seed)
    sheet.savefig(run.folder / "augmentation.png", dpi=120)
    run.show(run.folder, "augmentation")
    switched_on = [name for name, value in config.model_dump(exclude={"erase_area"}).items() if value]
    run.summary = f"{', '.join(switched_on) or 'nothing'} switched on; the sheet shows {PREVIEW_SAMPLES} samples"


# -- training -------------------------------------------------------------------------------------------------------


def _members(folder: Path) -> tuple[Model, ...]:
    return tuple(Model.load(path) for path in sorted((folder / "models").iterdir()))


def _only(folder: Path) -> Model:
    (model,) = _members(folder)
    return model


@step("train", load=_members, code=["components.training.cluster"], minutes=24 * 60)
def train(
    run: StepRun,
    dataset: Dataset,
    members: MembersConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> None:
    """Train the ensemble's members in one worker group (Ray Train): other seeds, other architectures where asked."""
    from components.training.job import Job

    jobs = [
        Job(
            name=f"member-{number}",
            task=dataset.card.task,
            network=members.networks[number % len(members.networks)],
            seed=seed + number,
            epochs=members.epochs,
            training=training,
            augment=augment,
        )
        for number in range(members.count)
    ]
    _fit(run, jobs, dataset)


@step("ensemble", load=_only, code=["components.compress.ensemble"])
def _ensemble(run: StepRun, members: tuple[Model, ...], dataset: Dataset, config: EnsembleConfig) -> None:
    """Combine the members into one model; their weights are fitted on the validation split."""
    from components.compress.ensemble import combine, read_report

    report = read_report(combine(members, dataset, config, run.folder / "models" / "ensemble"))
    weights = "/".join(f"{member.weight:.2f}" for member in report.members)
    line().tracking.log_metrics(run.id, {f"validation_{report.metric}": report.primary, "log_loss": report.log_loss})
    run.summary = f"validation {report.metric} {report.primary:.4f}, weights {weights}"
    run.table = [
        {
            "member": each.name,
            "weight": f"{each.weight:.3f}",
            "log loss": f"{each.log_loss:.4f}",
            report.metric: f"{each.primary:.4f}",
        }
        for each in report.members
    ]


def ensemble(members: tuple[Model, ...], dataset: Dataset, config: EnsembleConfig) -> Model:
    """The members as one model; the first of them, and a word in the run, where the task cannot combine any."""
    if "ensemble" not in _supports(dataset):
        line().skip("ensemble", f"{dataset.card.task} has no way to combine members: the first one goes on alone")
        return members[0]
    return _ensemble(members, dataset, config)


@step("distil", load=_only, code=["components.compress.distil", "components.training.cluster"], minutes=24 * 60)
def _distil(
    run: StepRun,
    teacher: Model,
    dataset: Dataset,
    student: StudentConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> None:
    """Train the student on the labels and on the teacher's soft targets, through the same loop."""
    from components.compress.distil import student_job

    _fit(run, [student_job(teacher, student, training, augment, seed=seed)], dataset)


def distil(
    teacher: Model,
    dataset: Dataset,
    student: StudentConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> Model:
    """The student; the teacher itself, and a word in the run, where the task cannot be distilled."""
    if "distillation" not in _supports(dataset):
        line().skip("distil", f"{dataset.card.task} cannot be distilled: the teacher goes on itself")
        return teacher
    return _distil(teacher, dataset, student, training, augment, seed)


def _fit(run: StepRun, jobs: Sequence[Job], dataset: Dataset) -> None:
    from components.training import cluster

    curves = Curves(run, jobs)
    cluster.fit(jobs, dataset, storage=run.work / "storage", output=run.folder / "models", on_event=curves)
    run.summary, run.table = curves.finish()


def _supports(dataset: Dataset) -> frozenset[str]:
    from components.tasks import registry as tasks

    return tasks.get(dataset.card.task).spec.supports


# -- compression ----------------------------------------------------------------------------------------------------


def _quantized(folder: Path) -> Quantized:
    from components.compress.quantize import Quantized

    return Quantized.load(folder / "quantized")


@step("quantize", load=_quantized, code=["components.compress.quantize"])
def quantize(run: StepRun, student: Model, dataset: Dataset, config: QuantizeConfig) -> None:
    """Export to ONNX with pre- and post-processing inside, quantize to int8, and serve what measures better."""
    from components.compress.quantize import quantize

    report = quantize(student, dataset, config, run.folder / "quantized").report
    line().tracking.log_metrics(
        run.id,
        {
            "quantized_operators": report.quantized_operators,
            "speedup": report.speedup,
            f"validation_{report.metric}_float32": report.metric_float32,
            f"validation_{report.metric}_int8": report.metric_int8,
            "parity_float32": report.float32_from_pytorch.largest,
            "parity_int8": report.int8_from_float32.largest,
            "bytes_float32": report.bytes_float32,
            "bytes_int8": report.bytes_int8,
        },
    )
    run.summary = report.reason
    run.table = [
        {
            "precision": name,
            f"validation {report.metric}": f"{metric:.4f}",
            "bytes": size,
            **{f"ms at {each.batch}": f"{each.median_ms:.3f}" for each in latencies},
        }
        for name, metric, size, latencies in (
            ("float32", report.metric_float32, report.bytes_float32, report.latency_float32),
            ("int8", report.metric_int8, report.bytes_int8, report.latency_int8),
        )
    ]


# -- judgement ------------------------------------------------------------------------------------------------------

SERVED, FLOAT = "served", "student (ONNX float32)"


@dataclass(frozen=True)
class Assessment:
    """What was measured on the test split: every stage of the line, and the answers of what is served."""

    stages: dict[str, Evidence]  # in the order of the line: members, ensemble, student, its float graph, what is served
    predictions: Predictions

    @property
    def evidence(self) -> Evidence:
        """Of the exact artifact that will be served."""
        return self.stages[SERVED]

    @property
    def digest(self) -> str:
        return digest_values({name: evidence.digest for name, evidence in self.stages.items()})


def _assessment(folder: Path) -> Assessment:
    places = sorted((folder / "stages").iterdir())
    # `00 member-0`, `01 member-1` …: the number keeps the order.
    stages = {place.name.split(" ", 1)[1]: Evidence.load(place) for place in places}
    return Assessment(stages, Predictions.load(folder))


@step("evaluate", load=_assessment, code=["components.evaluate.evaluate"])
def _evaluate(
    run: StepRun, models: tuple[Model, ...], names: tuple[str, ...], dataset: Dataset, config: EvaluateConfig
) -> None:
    """Measure every stage on the test split; the last is the artifact that will be served."""
    from components.evaluate.evaluate import evaluate

    stages = {}
    for number, (name, model) in enumerate(zip(names, models, strict=True)):
        line().reporter.advanced(f"evaluate {name}", number, len(names))
        stages[name], predictions = evaluate(model, dataset, config)
        stages[name].save(run.folder / "stages" / f"{number:02d} {name}")
    predictions.save(run.folder)
    evidence = stages[SERVED]
    line().tracking.log_evidence(run.id, evidence)
    run.summary = f"{evidence.primary} {said(evidence)}"
    run.table = [
        {"model": name, evidence.primary: said(each), "bytes": f"{each.figures['size_bytes'].value:,.0f}"}
        for name, each in stages.items()
    ]


def evaluate(
    members: tuple[Model, ...],
    teacher: Model,
    student: Model,
    quantized: Quantized,
    dataset: Dataset,
    config: EvaluateConfig,
) -> Assessment:
    """Measure the whole chain; what is served comes last."""
    stages = {
        **{member.card.name: member for member in members},
        "ensemble": teacher,
        "student": student,
        FLOAT: quantized.float32,
        SERVED: quantized.served,
    }
    return _evaluate(tuple(stages.values()), tuple(stages), dataset, config)


def said(evidence: Evidence) -> str:
    """The primary metric with its interval, as people write it."""
    figure = evidence.figures[evidence.primary]
    interval = f" [{figure.low:.4f}, {figure.high:.4f}]" if figure.low is not None else ""
    return f"{figure.value:.4f}{interval}"


# -- registration and promotion -------------------------------------------------------------------------------------


def _version(folder: Path) -> int:
    return int((folder / "version").read_text(encoding="utf-8"))


def _is_registered(version: int) -> bool:
    from components.registry import versions

    shared = line()
    return version in versions.versions(shared.tracking, shared.recipe.line.model)


@step(
    "register",
    load=_version,
    code=["components.registry.registration", "components.registry.card"],
    holds=_is_registered,
)
def register(
    run: StepRun, quantized: Quantized, assessment: Assessment, dataset: Dataset, name: str, config: DriftConfig
) -> None:
    """Make what will be served a version in MLflow's registry: with signature, example, model card and evidence."""
    from components.compress.runtime import embedding
    from components.data import drift
    from components.registry import registration
    from components.registry.card import model_card

    shared = line()
    served = quantized.served
    text = model_card(
        name=name,
        model=served.card,
        dataset=dataset.card,
        evidence=assessment.evidence,
        stages=assessment.stages,
        provenance={**shared.custody, "MLflow run": shared.run_id, "quantization": quantized.report.reason},
    )
    (run.folder / "card.md").write_text(text, encoding="utf-8")
    version = registration.register(
        shared.tracking,
        served,
        assessment.evidence,
        name=name,
        run_id=run.id,
        card=text,
        examples=dataset.table("test", ["image"]).column("image").slice(0, 2).to_pylist(),
        tags={"convoy.dataset": dataset.card.name},
        # What later data is compared with, if this version comes into production: seen by the version itself.
        reference=drift.profile(dataset, sample=config.sample, embed=embedding(served)),
        predictions=assessment.predictions,
    )
    (run.folder / "version").write_text(str(version), encoding="utf-8")
    run.summary = f"{name} version {version}, {served.card.precision}"


def _in_force(decision: Decision) -> bool:
    from components.registry import versions

    if decision.alias is None:
        return True
    return versions.aliased(line().tracking, decision.name, decision.alias) == decision.version


@step(
    "promote",
    load=Decision.load,
    code=["components.registry.decisions", "components.evaluate.report"],
    holds=_in_force,
)
def _promote(
    run: StepRun,
    version: int,
    production: int | None,
    quantized: Quantized,
    assessment: Assessment,
    dataset: Dataset,
    config: EvaluateConfig,
    gates: GatesConfig,
) -> None:
    """Let the gates judge the evidence; `staging` moves to the version if every one of them passes."""
    from components.evaluate.evaluate import against
    from components.evaluate.report import ReportData, write_report
    from components.registry import decisions, versions
    from components.registry.gates import Case, judge
    from components.tasks import registry as tasks

    shared = line()
    name = shared.recipe.line.model
    difference = None
    if production is not None:
        rival = versions.version_model(shared.tracking, name, production)
        difference = against(rival, assessment.predictions, dataset, config)
    case = Case(
        artifact=quantized.served.digest,
        data=dataset.digest,
        evidence=assessment.evidence,
        parent=assessment.stages[FLOAT],
        parent_artifact=quantized.float32.digest,
        parity=quantized.report.float32_from_pytorch.largest,
        production=production,
        against_production=difference,
        higher_is_better=tasks.get(dataset.card.task).spec.higher_is_better,
    )
    verdicts = judge(case, gates)
    decision = decisions.decide(shared.tracking, name, version, assessment.evidence, verdicts)
    decision.save(run.folder)
    about = {**shared.custody, "data": dataset.digest, "version": str(version)}
    title = f"{name} version {version}"
    data = ReportData(
        title, assessment.evidence, assessment.predictions, dataset.card.task, assessment.stages, verdicts, about
    )
    write_report(data, run.folder / "report")
    run.show(run.folder / "report", "report")
    passed = sum(verdict.passed for verdict in verdicts)
    outcome = f"version {version} is {decision.alias} now" if decision.alias else f"version {version} is rejected"
    run.summary = f"{passed} of {len(verdicts)} gates passed; {outcome}"
    run.table = [
        {"gate": each.gate, "verdict": "passed" if each.passed else "REJECTED", "reason": each.reason}
        for each in verdicts
    ]


def promote(
    version: int,
    quantized: Quantized,
    assessment: Assessment,
    dataset: Dataset,
    config: EvaluateConfig,
    gates: GatesConfig,
) -> Decision:
    """Judge the version against the gates and against what is in production now."""
    from components.registry import versions

    production = versions.aliased(line().tracking, line().recipe.line.model, "production")
    rival = production if production != version else None
    return _promote(version, rival, quantized, assessment, dataset, config, gates)
