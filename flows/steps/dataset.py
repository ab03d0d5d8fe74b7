"""The data's steps: versioned and judged by DVC's stages, compared with the past, shown as training will see it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import Dataset, Model
from components.config import AugmentConfig, DriftConfig, StudentConfig
from components.secrecy import errors_without_secrets
from flows.run import data_revisions
from flows.run.context import Line, NotDone, Plan, line
from flows.run.step import StepRun, nothing, step

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from components.data.drift.rule import DriftReport
    from components.data.inspection.base.findings import Inspection
    from components.data.validation.validate import ValidationReport

PREVIEW_SAMPLES = 8  # rows of the augmentation sheet: a page


def _data(name: str, as_of: datetime | None) -> Dataset:
    """Ingest, prepare and validate: DVC's stages, as far as something that they depend on has changed.

    For a past moment, the version of that time, from DVC's cache and beside what lies in data/.
    """
    from prefect.artifacts import create_table_artifact

    from components.data import versions

    shared = line()
    root = shared.project.root
    with errors_without_secrets():
        if as_of is None:
            dataset = versions.reproduce(root, name, log=shared.project.logs / f"data-{name}.log")
        else:
            digest = data_revisions.as_of(root, name, shared.recipe.line.model, as_of)
            dataset = Dataset.load(versions.restore(root, name, digest, shared.restored / name), digest)
    rows = [{"split": split, "samples": count} for split, count in dataset.card.splits.items()]
    create_table_artifact(rows, key="data", description=f"{name}, version {dataset.digest}")
    return dataset


def _made(name: str) -> Dataset:
    from flows.run import orchestrated

    shared = line()
    task = orchestrated.task_of(_data, "data", _data, retries=1, delay=5.0, minutes=60.0)
    state: State[Dataset] = task(name, shared.as_of, wait_for=shared.after, return_state=True)
    dataset = state.result()
    shared.after = [state]
    return dataset


def data(name: str) -> Dataset:
    """The prepared, valid data set. DVC remembers what is done; its digest goes on the parent run."""
    shared = line()
    if shared.plan is not None:
        return _looked_up("data", name, shared.plan)
    return noted(shared, "data", functools.partial(_made, name))


def _looked_up(part: str, name: str, plan: Plan) -> Dataset:
    """The data as it lies there, where DVC's stages would find it done; raises NotDone where they would work."""
    from components.data import versions

    root, began = line().project.root, time.monotonic()
    if why := versions.pending(root, name, certain=plan.certain):
        plan.runs(part, "; ".join(why))
        raise NotDone(part)
    dataset = versions.present(root, name)
    plan.done(part, seconds=time.monotonic() - began, dataset=dataset)
    return dataset


def unlabelled(student: StudentConfig | None) -> Dataset | None:
    """The data set whose images the student sees without their labels, where it does; its digest goes on the run."""
    if student is None or student.unlabelled is None:
        return None
    shared, name = line(), student.unlabelled
    if shared.plan is not None:
        return _looked_up("unlabelled", name, shared.plan)
    return noted(shared, "unlabelled", functools.partial(_made, name))


def noted(shared: Line, part: str, had: Callable[[], Dataset]) -> Dataset:
    """The data set that `had` gives, which is told of and put on the parent run; `part` is `data` or `unlabelled`."""
    labelled = part == "data"
    with shared.reporting(part, counted=labelled) as told:
        dataset = had()
        name, splits = dataset.card.name, dataset.card.splits
        counts = ", ".join(f"{count:,} {split}" for split, count in splits.items())
        of = counts if labelled else f"{splits['train']:,} images for the teacher alone"
        told(f"{name} {dataset.digest[:12]} · {of}")
    shared.tracking.log_tags(shared.run_id, {f"convoy.{part}": dataset.digest})
    context = "training" if labelled else part
    shared.tracking.log_dataset_input(shared.run_id, name, dataset.digest, source=f"dvc:{name}", context=context)
    return dataset


@step(
    "data-validation",
    load=nothing,
    code=["components.data.validation.validate", "components.data.inspection.inspect"],
)
def _validation(run: StepRun, dataset: Dataset, report: ValidationReport, inspection: Inspection) -> None:
    """How Great Expectations judged the data, and what was found in it: verdicts, pages and pictures of the run."""
    from components.data import places

    root, name = line().project.root, dataset.card.name
    run.show(places.validated(root, name), "data-validation")
    run.show(places.inspected(root, name), "inspection")
    found = {f"found_{kind}": count for kind, count in inspection.found.items()}
    card = dataset.card
    told = {"moved": len(card.moved), "judged_with_twins": len(card.twins)}  # of most data nothing
    there = {name: number for name, number in told.items() if number}
    line().tracking.log_metrics(run.id, {"dropped": len(card.dropped), **there, **found})
    said = [f"{len(report.results)} expectations checked, {len(report.warnings)} warnings"]
    if inspection.found:
        said.append(f"found: {', '.join(f'{count:,} {kind}' for kind, count in inspection.found.items())}")
    if card.dropped:
        said.append(f"{len(card.dropped):,} dropped from the training split")
    if card.moved:
        said.append(f"{len(card.moved):,} moved into the split of their twins")
    if card.twins:
        said.append(f"{len(card.twins):,} of validation and test have a twin in an earlier split")
    run.summary = "; ".join(said)
    run.table = [
        {"expectation": each.expectation, "severity": each.severity, "rows that fail": each.unexpected_count}
        for each in report.results
    ]


def validation(dataset: Dataset) -> None:
    """Record what the data's stages found and judged: by their own digests, which a rule of the user's may change."""
    from components.data import places
    from components.data.inspection.base.findings import Inspection
    from components.data.validation.validate import ValidationReport

    if line().as_of is not None:
        line().skip("data-validation", "this version of the data was judged when it was made")
        return
    root, name = line().project.root, dataset.card.name
    report = ValidationReport.load(places.validated(root, name))
    _validation(dataset, report, Inspection.load(places.inspected(root, name)))


def _drift_report(folder: Path) -> DriftReport:
    from components.data.drift.rule import DriftReport

    return DriftReport.load(folder)


@step("drift", load=_drift_report, code=["components.data.drift.comparison", "components.runtimes.execution"])
def _drift(
    run: StepRun, dataset: Dataset, production: Model | None, name: str, config: DriftConfig, unreadable: str | None
) -> None:
    """Whether the data is still what the production model was trained on (Evidently).

    `unreadable` says what is wrong with the version in production, where it cannot be compared with.
    """
    from components.data.drift import comparison as drift
    from components.data.drift.profile import profile
    from components.registry import versions
    from components.runtimes.execution import embedding

    shared = line()
    reference = None if unreadable else versions.production_reference(shared.tracking, name)
    current = profile(dataset, sample=config.sample, embed=embedding(production) if production else None)
    # The step's own key: a comparison that is tried again, or whose result was lost, is not a second one.
    about = {"dataset": dataset.card.name, "data": dataset.digest, "MLflow run": run.id}
    history = drift.History(shared.project.drift_history, name, run.work.name, about)
    report = drift.compare(current, reference, config, run.folder, history, why_none=unreadable)
    run.show(run.folder, "drift")
    if report.share is not None:
        shares = {f"drift_{family}": each.share for family, each in report.families.items()}
        shared.tracking.log_metrics(run.id, {"drifted_share": report.share, **shares})
    run.summary = report.message
    run.table = [
        {
            "family": column.family,
            "column": name,
            "drifted": "yes" if column.drifted else "no",
            "from the reference to now": column.change,
            "test": column.test,
            "score": f"{column.score:.3g}",
            "limit": f"{column.threshold:.3g}",
        }
        for name, column in report.columns.items()
    ]


def drift(dataset: Dataset, name: str, config: DriftConfig) -> DriftReport:
    """Compare the data with what the model `name` that is in production now was trained on."""
    from components.registry import versions

    store = line().tracking
    try:
        production = versions.production_model(store, name)
        versions.production_reference(store, name)
    except versions.UnreadableError as error:
        return _drift(dataset, None, name, config, f"there is no reference that can be read: {error}")
    return _drift(dataset, production, name, config, None)


@step("augmentation", load=nothing, code=["components.augment.preview", "components.data.reading.loading"])
def augmentation(run: StepRun, dataset: Dataset, config: AugmentConfig, seed: int) -> None:
    """A sheet of samples as training will see them."""
    import torch

    from components.augment.preview import preview
    from components.data.reading.loading import load_split
    from components.inputs import registry as inputs
    from components.models.preprocessing import preprocess
    from components.targets import registry as targets
    from components.tasks import registry as tasks
    from components.tasks.capabilities import moves

    given = inputs.of(dataset.card)
    if not given.augmented:
        run.summary = f"{given.many} are learnt from as they are"
        return
    samples = load_split(dataset, "train", limit=PREVIEW_SAMPLES, seed=seed)
    images = preprocess(torch.from_numpy(samples.inputs))
    kind, about = targets.of(dataset), dataset.card.target
    sheet = preview(
        images,
        torch.from_numpy(samples.targets),
        config,
        seed,
        move=moves(tasks.of(dataset.card)),
        mark=functools.partial(kind.marked, about=about),
        colours=kind.colours(dataset.card.classes, about),
    )
    sheet.savefig(run.folder / "augmentation.png", dpi=120)
    run.show(run.folder, "augmentation")
    run.summary = f"{', '.join(config.switched_on) or 'nothing'} switched on; the sheet shows {PREVIEW_SAMPLES} samples"
