"""The steps that measure, register and decide. Everything judges the artifact that will be served."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import WITH_TWINS, Dataset, Decision, Evidence, Model, Predictions
from components.config import DriftConfig, EvaluateConfig, Gate
from components.files import digest_values
from components.metrics.metric import decimal
from flows.run.context import line
from flows.run.step import StepRun, step

if TYPE_CHECKING:
    from components.compress.quantization.quantized import Quantized
    from components.data.drift.rule import DriftReport


ARTIFACT, FLOAT = "artifact", "exported"


@dataclass(frozen=True)
class Assessment:
    """What was measured on the test split: every stage of the pipeline, and the answers of what is served."""

    # In the order of the pipeline: members, ensemble, student, pruned, its float graph, what is served.
    stages: dict[str, Evidence]
    predictions: Predictions

    @property
    def evidence(self) -> Evidence:
        """Of the exact artifact that will be served."""
        return self.stages[ARTIFACT]

    @property
    def digest(self) -> str:
        return digest_values({name: evidence.digest for name, evidence in self.stages.items()})


def _assessment(folder: Path) -> Assessment:
    places = sorted((folder / "stages").iterdir())
    # `00 member-0`, `01 member-1` …: the number keeps the order.
    stages = {place.name.split(" ", 1)[1]: Evidence.load(place) for place in places}
    return Assessment(stages, Predictions.load(folder))


@step(
    "evaluate",
    load=_assessment,
    code=["components.evaluate.evaluate", "components.evaluate.chain", "components.evaluate.baselines.judging"],
    measures=True,
)
def _evaluate(
    run: StepRun, models: tuple[Model, ...], names: tuple[str, ...], dataset: Dataset, config: EvaluateConfig
) -> None:
    """Measure every stage on the test split; the last is the artifact that will be served."""
    from components.evaluate import chain
    from components.evaluate.baselines.judging import baselines
    from components.evaluate.evaluate import quality, timed
    from components.tasks import registry as tasks

    stages = {}
    for number, (name, model) in enumerate(zip(names, models, strict=True)):
        line().reporter.advanced(f"evaluate {name}", number, len(names))
        stages[name], predictions = quality(model, dataset, config)
    beside = baselines(predictions, dataset, config)  # of what is served, which comes last
    stages[ARTIFACT] = stages[ARTIFACT].model_copy(update={"figures": stages[ARTIFACT].figures | beside})
    line().reporter.advanced("time all of them in turn", len(names), len(names))
    stages = timed(dict(zip(names, models, strict=True)), stages)
    for number, (name, each) in enumerate(stages.items()):
        each.save(run.folder / "stages" / f"{number:02d} {name}")
    predictions.save(run.folder)
    metric = tasks.of(dataset.card).spec.primary
    chain.write(stages, run.work / "chain", metric)
    run.show(run.work / "chain", "chain")
    evidence = stages[ARTIFACT]
    line().tracking.log_evidence(run.id, evidence)
    run.summary = f"{evidence.primary} {said(evidence)}"
    if (alike := evidence.figures.get(WITH_TWINS)) is not None:
        without = said(evidence, f"{evidence.primary}_without_twins")
        run.summary += f"; without {alike.value:,.0f} with a twin in what was learnt from {without}"
    run.table = [dict(row) for row in chain.rows(stages)]


def evaluate(
    members: tuple[Model, ...],
    teacher: Model,
    student: Model,
    pruned: Model,
    quantized: Quantized,
    dataset: Dataset,
    config: EvaluateConfig,
) -> Assessment:
    """Measure the whole chain; what is served comes last."""
    stages = {
        **{member.card.name: member for member in members},
        # What was left out is not measured twice under other names.
        **({"ensemble": teacher} if teacher.digest not in {member.digest for member in members} else {}),
        **({"student": student} if student.digest != teacher.digest else {}),
        **({"pruned": pruned} if pruned.digest != student.digest else {}),
        FLOAT: quantized.float32,
        ARTIFACT: quantized.served,
    }
    return _evaluate(tuple(stages.values()), tuple(stages), dataset, config)


def said(evidence: Evidence, name: str | None = None) -> str:
    """The primary metric, or another figure, with its interval, as people write it."""
    figure = evidence.figures[name or evidence.primary]
    interval = f" [{decimal(figure.low)}, {decimal(figure.high)}]" if figure.low is not None else ""
    return f"{decimal(figure.value, figure.unit)}{interval}"


def _version(folder: Path) -> int:
    return int((folder / "version").read_text(encoding="utf-8"))


def _is_registered(version: int) -> bool:
    from components.registry import versions

    store, name = line().tracking, line().recipe.line.model
    return version in versions.versions(store, name) and versions.problem(store, name, version) is None


@step(
    "register",
    load=_version,
    code=[
        "components.registry.registration",
        "components.registry.served",  # which goes along with a version, as what decodes images does
        "components.registry.card",
        "components.data.drift.profile",
    ],
    holds=_is_registered,
)
def _register(
    run: StepRun,
    quantized: Quantized,
    assessment: Assessment,
    dataset: Dataset,
    name: str,
    config: DriftConfig,
    candidate: bool,
) -> None:
    """Make what will be served a version in MLflow's registry: with signature, example, model card and evidence."""
    from components.data.drift.profile import profile
    from components.registry import registration
    from components.registry.card import model_card
    from components.runtimes.execution import embedding

    shared = line()
    served, given = quantized.served, dataset.card.input.kind
    text = model_card(
        name=name,
        model=served.card,
        dataset=dataset.card,
        evidence=assessment.evidence,
        stages=assessment.stages,
        provenance={
            **shared.custody,
            "MLflow run": shared.run_id,
            "quantization": quantized.report.reason,
            "runtime": quantized.runtime.reason,
        },
    )
    (run.folder / "card.md").write_text(text, encoding="utf-8")
    version = registration.register(
        shared.tracking,
        served,
        assessment.evidence,
        name=name,
        run_id=run.id,
        card=text,
        examples=next(dataset.batches("test", [given], rows=2)).column(given).to_pylist(),
        tags={"convoy.dataset": dataset.card.name},
        # What later data is compared with, if this version comes into production: seen by the version itself.
        reference=profile(dataset, sample=config.sample, embed=embedding(served)),
        predictions=assessment.predictions,
        links=_links(run.id),
        candidate=candidate,
    )
    (run.folder / "version").write_text(str(version), encoding="utf-8")
    run.summary = f"{name} version {version}, {served.card.precision}"


def _links(run_id: str) -> dict[str, str]:
    """Where a version's description leads to."""
    shared = line()
    made = {done.step: done.run_id for done in shared.done}
    places = {
        "the run": (shared.run_id, ""),
        "every metric": (made["evaluate"], ""),
        "the whole card": (run_id, "result/card.md"),
    }
    if "data-validation" in made:  # data of the past was judged when it was made
        places["its data, judged"] = (made["data-validation"], "data-validation/docs/index.html")
    return {said: shared.tracking.inside(*place) for said, place in places.items()}


def register(quantized: Quantized, assessment: Assessment, dataset: Dataset, name: str, config: DriftConfig) -> int:
    """The version's number; one of past data is no candidate."""
    return _register(quantized, assessment, dataset, name, config, line().as_of is None)


def _in_force(decision: Decision) -> bool:
    from components.registry import record, versions

    store = line().tracking
    try:
        last = record.judgement(store, decision.name, decision.version)
        if last is None or last.action != decision.action:
            return False  # its record was deleted, or stricter gates have judged since: it is judged anew
    except versions.UnreadableError:
        return False
    return decision.alias is None or versions.aliased(store, decision.name, decision.alias) == decision.version


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
    drift: DriftReport,
    newest: float | None,
    config: EvaluateConfig,
    limits: tuple[Gate, ...],
    stage: bool,
    unreadable: str | None,
) -> None:
    """Let the gates judge the evidence; `staging` moves to the version if every one of them passes.

    `unreadable` says what is wrong with the version in production, where that cannot be compared with.
    """
    from components.data.reading.loading import load_split
    from components.evaluate.evaluate import against
    from components.evaluate.report import ReportData, write_report
    from components.registry import decisions, gates, versions
    from components.tasks import registry as tasks
    from components.tasks.capabilities import WithClassMetric

    shared, task = line(), tasks.of(dataset.card)
    name = shared.recipe.line.model
    difference = None
    if production is not None and unreadable is None:
        rival = versions.version_model(shared.tracking, name, production)
        difference = against(rival, assessment.predictions, dataset, config)
    case = gates.Case(
        artifact=quantized.served.digest,
        data=dataset.digest,
        test=dataset.samples_digest("test"),
        evidence=assessment.evidence,
        confidence=config.confidence,
        parent=assessment.stages[FLOAT],
        parent_artifact=quantized.float32.digest,
        parity=quantized.report.float32_from_pytorch.largest,
        production=production,
        against_production=difference,
        unreadable=unreadable,
        drift=drift,
        newest=newest,
        at=time.time(),
        metric=task.spec.primary,
        class_metric=task.class_metric if isinstance(task, WithClassMetric) else None,
    )
    decision = decisions.decide(shared.tracking, name, version, case, limits, stage=stage)
    decision.save(run.folder)
    verdicts = decision.verdicts
    counted = {"version": str(version), "evaluation on the test split": str(decision.test_evaluations)}
    about = {**shared.custody, "data": dataset.digest, **counted}
    title = f"{name} version {version}"
    data = ReportData(
        title=title,
        evidence=assessment.evidence,
        predictions=assessment.predictions,
        task=task,
        stages=assessment.stages,
        verdicts=verdicts,
        about=about,
        pictures=lambda: load_split(dataset, "test").inputs,
    )
    write_report(data, run.folder / "report")
    run.show(run.folder / "report", "report")
    shared.tracking.log_metrics(run.id, {"test_evaluations": float(decision.test_evaluations or 0)})
    passed = sum(verdict.passed for verdict in verdicts)
    outcome = {"fail": "failed", "pass": f"is {decision.alias} now"}[decision.action]
    if decision.action == "pass" and decision.alias is None:
        outcome = "passed and stays where it is: it was made of past data"
    tried = f"evaluation {decision.test_evaluations} on this test split"
    run.summary = f"{passed} of {len(verdicts)} gates passed, {tried}; version {version} {outcome}"
    run.table = [
        {"gate": each.gate, "verdict": "passed" if each.passed else "FAILED", "reason": each.reason}
        for each in verdicts
    ]


def promote(
    version: int,
    quantized: Quantized,
    assessment: Assessment,
    dataset: Dataset,
    drift: DriftReport,
    config: EvaluateConfig,
    limits: tuple[Gate, ...],
) -> Decision:
    """Judge the version against the gates and against what is in production now."""
    from components.data.places import ingested
    from components.data.preparing.ingest import newest
    from components.registry import versions

    store, name = line().tracking, line().recipe.line.model
    production = versions.aliased(store, name, versions.PRODUCTION)
    rival = production if production != version else None
    wrong = None if rival is None else versions.problem(store, name, rival)
    unreadable = f"{wrong}. {_way_out(name)}" if wrong else None
    current = line().as_of is None
    # How old a past version's data is is not known: its raw form is not what lies there now.
    taken = newest(ingested(line().project.root, dataset.card.name)) if current else None
    return _promote(version, rival, quantized, assessment, dataset, drift, taken, config, limits, current, unreadable)


def _way_out(name: str) -> str:
    from components.registry import decisions

    return decisions.way_out(line().tracking, name)
