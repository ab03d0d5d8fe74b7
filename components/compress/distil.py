"""A teacher's knowledge in one small network: what is to be trained, as jobs, and what it gained.

Copying is a wrapper around the task's loss there; there is one training loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from components.artifacts import Card, Dataset, Model
from components.config import AugmentConfig, StudentConfig, TrainingConfig
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.metrics.metric import SHARE, recorded
from components.models.network import load_network
from components.tasks import registry as tasks
from components.tasks.asking import ask, primary
from components.tasks.capabilities import Distillable
from components.tasks.network import torch_answerer
from components.training.jobs.job import Job

STUDENT = "student"
CONTROL = "control"  # the same student without a teacher


class Pupil(Card):
    """One of the networks on the way, on the validation split."""

    name: str
    network: str
    primary: float


class DistillationReport(Card):
    """What came of it, by the primary metric on the validation split; one training each, so one draw of the seed."""

    metric: str
    higher_is_better: bool
    unit: str = Field(default=SHARE, exclude_if=lambda unit: unit == SHARE)  # of the metric
    teacher: float
    pupils: tuple[Pupil, ...]  # in the order of their training; the last of them are the student's generations
    chosen: str  # the generation that goes on
    control: float | None  # the chosen student's network, trained with the same seed and no teacher

    @property
    def student(self) -> float:
        return next(pupil.primary for pupil in self.pupils if pupil.name == self.chosen)

    @property
    def gain(self) -> float | None:
        """How much better than without a teacher; None where that was not tried."""
        if self.control is None:
            return None
        return 0.0 - recorded(self.metric, self.higher_is_better, self.unit).lost(self.control, self.student)

    def metrics(self) -> dict[str, float]:
        """Figures to be logged."""
        found = {f"validation_{self.metric}.{pupil.name}": pupil.primary for pupil in self.pupils}
        found[f"validation_{self.metric}.teacher"] = self.teacher
        return {**found, **({} if self.gain is None else {"distillation_gain": self.gain})}

    def says(self) -> str:
        """One line for people."""
        said = f"validation {self.metric} {self.student:.4f} ({self.chosen}), teacher {self.teacher:.4f}"
        if len(self.pupils) > 1:
            said += f"; {', '.join(f'{pupil.name} {pupil.primary:.4f}' for pupil in self.pupils)}"
        if self.control is None or self.gain is None:
            return said
        what = "the teacher helped" if self.gain > 0 else "the teacher did not help"
        return f"{said}; {what}: {self.gain:+.4f} over {self.control:.4f} without it, one seed"


def student_job(
    teacher: Model,
    student: StudentConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    *,
    seed: int,
    unlabelled: Dataset | None = None,
) -> Job:
    """The student's training: as the members were trained, with `teacher` to copy as well as the labels.

    `unlabelled` has images that the teacher alone answers for.
    Raises CompressionError where the teacher's task cannot be distilled.
    """
    if not isinstance(tasks.of(teacher.card), Distillable):
        raise CompressionError(f"task {teacher.card.task}: expected one whose networks can be distilled")
    return Job(
        name=STUDENT,
        task=teacher.card.task,
        network=student.network,
        seed=seed,
        epochs=student.epochs,
        training=training,
        augment=augment,
        teacher=teacher.folder,
        temperature=student.temperature,
        teacher_weight=student.teacher_weight,
        views=student.views,
        distillation=student.distillation,
        unlabelled=unlabelled,
    )


def training_of(
    trained: Model,
    teacher: Model | None,
    student: StudentConfig | None,
    training: TrainingConfig,
    augment: AugmentConfig,
    *,
    seed: int,
    unlabelled: Dataset | None = None,
) -> Job:
    """The training that a network came from, for those who train it further: with its teacher, where it had one."""
    if teacher is not None and student is not None:
        return student_job(teacher, student, training, augment, seed=seed, unlabelled=unlabelled)
    card = trained.card
    return Job(card.name, card.task, card.network, seed, epochs=1, training=training, augment=augment)


def student_jobs(
    teacher: Model,
    student: StudentConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    *,
    seed: int,
    folder: Path,
    unlabelled: Dataset | None = None,
) -> list[Job]:
    """The trainings in their order, each of which may learn from the one before it, whose Model is at `folder/NAME`.

    The control, where it is asked for, is the first. Every network is trained with `seed`: generations differ by their
    teachers. Raises CompressionError as `student_job` does.
    """
    job = student_job(teacher, student, training, augment, seed=seed, unlabelled=unlabelled)
    named = [(f"assistant-{number}", network) for number, network in enumerate(student.assistants, start=1)]
    if student.generations == 1:
        named.append((STUDENT, student.network))
    else:
        named += [(f"{STUDENT}-{number}", student.network) for number in range(1, student.generations + 1)]
    jobs: list[Job] = []
    learnt_from = teacher.folder
    for name, network in named:
        jobs.append(replace(job, name=name, network=network, teacher=learnt_from))
        learnt_from = folder / name
    if student.control:
        alone = Job(CONTROL, job.task, job.network, job.seed, job.epochs, training, augment)
        return [alone, *jobs]
    return jobs


def report_on(teacher: Model, trained: Sequence[Model], dataset: Dataset) -> DistillationReport:
    """Judge the teacher and the models of `student_jobs` on the validation split, and choose the best generation."""
    task = tasks.of(dataset.card)
    samples = load_split(dataset, "validation")

    def figure(model: Model) -> float:
        return primary(task, ask(task, torch_answerer(task, load_network(model)), samples, dataset.card))

    pupils = [
        Pupil(name=model.card.name, network=model.card.network.name, primary=figure(model))
        for model in trained
        if model.card.name != CONTROL
    ]
    metric = task.spec.primary
    generations = [pupil for pupil in pupils if pupil.name.startswith(STUDENT)]
    return DistillationReport(
        metric=metric.name,
        higher_is_better=metric.more,
        unit=metric.unit,
        teacher=figure(teacher),
        pupils=tuple(pupils),
        chosen=metric.best(generations, lambda pupil: pupil.primary).name,
        control=next((figure(model) for model in trained if model.card.name == CONTROL), None),
    )
