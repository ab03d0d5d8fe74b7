"""The step that takes out of the student what it can do without."""

from __future__ import annotations

from components.artifacts import Dataset, Model
from components.config import AugmentConfig, PruneConfig, StudentConfig, TrainingConfig
from flows.run.context import line
from flows.run.curves import Curves
from flows.run.step import StepRun, step
from flows.steps.exchanged import Exchanged


@step(
    "prune",
    load=Exchanged.load,
    code=["components.compress.pruning.prune", "components.compress.allowance", "components.training.cluster.fitting"],
    minutes=24 * 60,
)
def _prune(
    run: StepRun,
    student: Model,
    dataset: Dataset,
    config: PruneConfig,
    teacher: Model | None,
    shape: StudentConfig | None,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
    unlabelled: Dataset | None,
) -> None:
    """Cut in rounds and train after each, through the one loop; measure every round beside the unpruned network."""
    from components.compress import allowance
    from components.compress.distil import training_of
    from components.compress.pruning.finetuning import fine_tuning
    from components.compress.pruning.prune import prune
    from components.training.cluster import fitting as cluster

    job = training_of(student, teacher, shape, training, augment, seed=seed, unlabelled=unlabelled)

    def fine_tune(start: Model) -> Model:
        jobs = [fine_tuning(job, start, config)]
        curves = Curves(run, jobs)
        storage, decoded = run.work / "storage", line().project.decoded
        (trained,) = cluster.fit(
            jobs, dataset, storage=storage, output=run.work / "trained", decoded=decoded, on_event=curves
        )
        curves.finish()
        return trained

    pruned = prune(
        student, dataset, config, run.folder / "models" / "pruned", work=run.work / "cuts", fine_tune=fine_tune
    )
    (run.folder / "pruning.json").write_text(pruned.report.to_json(), encoding="utf-8")
    for each in pruned.report.rounds:
        line().tracking.log_metrics(run.id, pruned.report.figures(each.round), step=each.round)
    found = allowance.exchange(student, pruned.model, dataset)
    allowance.write(found, run.folder)
    run.summary, run.table = pruned.report.says(), pruned.report.table()


def prune(
    student: Model,
    dataset: Dataset,
    config: PruneConfig | None,
    teacher: Model,
    shape: StudentConfig | None,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
    unlabelled: Dataset | None,
) -> Model:
    """The student with less in it; the student itself, and a word in the run, where nothing is to be taken out."""
    if config is None:
        line().skip("prune", "nothing is to be pruned: the student goes on as it is")
        return student
    taught = None if teacher.digest == student.digest else teacher
    # Allowances are no part of how a network came about.
    known = shape.model_copy(update={"allowance": 0.0}) if shape else None
    asked = config.model_copy(update={"allowance": 0.0})
    found = _prune(student, dataset, asked, taught, known, training, augment, seed, unlabelled)
    return found.within("prune.allowance", config.allowance)
