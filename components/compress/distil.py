"""The ensemble's knowledge in one small network: what is to be trained, as a job for the training room.

Copying the teacher is a wrapper around the task's loss there; there is one training loop.
"""

from __future__ import annotations

from components.artifacts import Model
from components.compress.errors import CompressionError
from components.config import LineConfig
from components.tasks import registry as tasks
from components.training.job import Job


def student_job(teacher: Model, line: LineConfig, task: str) -> Job:
    """The student's training: the line's own, with `teacher` to copy as well as the labels.

    Its seed follows the members' (`line.seed` … `line.seed + count − 1`), so it does not start as one of them.
    Raises CompressionError where the task cannot be distilled or the teacher is of another task.
    """
    supports = tasks.get(task).spec.supports
    if "distillation" not in supports:
        raise CompressionError(f"task {task}: expected the capability `distillation`, found {sorted(supports)}")
    if teacher.card.task != task:
        raise CompressionError(f"{teacher.folder}: expected a teacher for {task}, found one for {teacher.card.task}")
    return Job(
        name="student",
        task=task,
        network=line.student.network,
        seed=line.seed + line.members.count,
        epochs=line.student.epochs,
        training=line.training,
        augment=line.augment,
        teacher=teacher.folder,
        temperature=line.student.temperature,
        teacher_weight=line.student.teacher_weight,
    )
