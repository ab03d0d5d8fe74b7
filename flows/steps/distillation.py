"""The steps that make one small network of what the members know."""

from __future__ import annotations

import shutil

from components.artifacts import Dataset, Model
from components.config import AugmentConfig, StudentConfig, TrainingConfig
from flows.run.context import line
from flows.run.curves import Curves
from flows.run.step import StepRun, step
from flows.steps.exchanged import Exchanged
from flows.steps.training import pinned_network


@step(
    "distil",
    load=Exchanged.load,
    code=["components.compress.distil", "components.compress.allowance", "components.training.cluster.fitting"],
    minutes=24 * 60,
)
def _distil(
    run: StepRun,
    teacher: Model,
    dataset: Dataset,
    student: StudentConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
    unlabelled: Dataset | None,
) -> None:
    """Train the student on the labels and on what the teacher says, through the same loop; maybe over generations."""
    from components.compress import allowance
    from components.compress.distil import report_on, student_jobs
    from components.training.cluster import fitting as cluster

    course = run.folder / "course"  # all that were trained on the way
    jobs = student_jobs(teacher, student, training, augment, seed=seed, folder=course, unlabelled=unlabelled)
    curves = Curves(run, jobs)
    storage, decoded = run.work / "storage", line().project.decoded
    at_once = 2 if student.control else 1  # nobody learns from the control: it shares the first one's workers
    trained: list[Model] = []
    for part in (jobs[:at_once], *([job] for job in jobs[at_once:])):
        trained += cluster.fit(part, dataset, storage=storage, output=course, decoded=decoded, on_event=curves)
    run.summary, run.table = curves.finish()
    chosen = trained[-1]
    if len(jobs) > 1:
        report = report_on(teacher, trained, dataset)
        (run.folder / "distillation.json").write_text(report.to_json(), encoding="utf-8")
        line().tracking.log_metrics(run.id, report.metrics())
        run.summary = report.says()
        chosen = Model.load(course / report.chosen)
    shutil.copytree(chosen.folder, run.folder / "models" / "student")
    found = allowance.exchange(teacher, Model.load(run.folder / "models" / "student"), dataset)
    allowance.write(found, run.folder)
    line().tracking.log_metrics(run.id, {f"validation_{found.metric}_loss_against_teacher": found.loss})


def distil(
    teacher: Model,
    dataset: Dataset,
    student: StudentConfig | None,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
    unlabelled: Dataset | None,
) -> Model:
    """The student; the teacher itself, and a word in the run, where none is asked for or the task knows none."""
    if student is None:
        line().skip("distil", "no student is asked for: the teacher goes on itself")
        return teacher
    if not _distillable(dataset):
        line().skip("distil", f"{dataset.card.task} cannot be distilled: the teacher goes on itself")
        return teacher
    assistants = tuple(pinned_network(network) for network in student.assistants)
    # Raising the allowance changes nothing about the student: it is no part of what the step is known by.
    changes = {"network": pinned_network(student.network), "assistants": assistants, "allowance": 0.0}
    found = _distil(teacher, dataset, student.model_copy(update=changes), training, augment, seed, unlabelled)
    return found.within("student.allowance", student.allowance)


def _distillable(dataset: Dataset) -> bool:
    """Whether networks of the data set's task can be copied."""
    from components.tasks import registry as tasks
    from components.tasks.capabilities import Distillable

    return isinstance(tasks.of(dataset.card), Distillable)
