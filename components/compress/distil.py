"""The ensemble's knowledge in one small network: what is to be trained, as a job for the training room.

Copying the teacher is a wrapper around the task's loss there; there is one training loop.
"""

from __future__ import annotations

from components.artifacts import Model
from components.compress.errors import CompressionError
from components.config import AugmentConfig, StudentConfig, TrainingConfig
from components.tasks import registry as tasks
from components.training.job import Job


def student_job(
    teacher: Model, student: StudentConfig, training: TrainingConfig, augment: AugmentConfig, *, seed: int
) -> Job:
    """The student's training: as the members were trained, with `teacher` to copy as well as the labels.

    Raises CompressionError where the teacher's task cannot be distilled.
    """
    supports = tasks.get(teacher.card.task).spec.supports
    if "distillation" not in supports:
        raise CompressionError(
            f"task {teacher.card.task}: expected the capability `distillation`, found {sorted(supports)}"
        )
    return Job(
        name="student",
        task=teacher.card.task,
        network=student.network,
        seed=seed,
        epochs=student.epochs,
        training=training,
        augment=augment,
        teacher=teacher.folder,
        temperature=student.temperature,
        teacher_weight=student.teacher_weight,
    )
