from __future__ import annotations

from dataclasses import replace

import pytest

from components.artifacts import Model
from components.compress.distil import student_job
from components.compress.errors import CompressionError
from components.config import LineConfig
from components.tasks import registry as tasks


@pytest.fixture
def line() -> LineConfig:
    residual = {"name": "residual", "arguments": {"width": 8}}
    return LineConfig.model_validate(
        {
            "dataset": "digits",
            "model": "digits",
            "seed": 5,
            "training": {"batch_size": 32},
            "augment": {"crop": 1},
            "members": {"count": 3, "networks": [residual], "epochs": 2},
            "student": {"network": residual, "epochs": 4, "temperature": 2.5, "teacher_weight": 0.6},
            "gates": {"floor": 0.5, "latency_ms": 10.0},
        }
    )


def test_the_student_is_trained_as_the_line_says_with_the_teacher_at_its_side(student: Model, line: LineConfig) -> None:
    job = student_job(student, line.student, line.training, line.augment, seed=8)
    assert job.teacher == student.folder
    assert (job.temperature, job.teacher_weight, job.epochs, job.seed) == (2.5, 0.6, 4, 8)
    assert (job.network, job.training, job.augment) == (line.student.network, line.training, line.augment)
    assert [(parent.role, parent.digest) for parent in job.parents] == [("teacher", student.digest)]


def test_a_task_that_cannot_be_distilled_is_refused(
    student: Model, line: LineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(tasks.get("classification").spec, supports=frozenset({"ensemble"}))
    monkeypatch.setattr(tasks.get("classification"), "spec", spec)
    with pytest.raises(CompressionError, match="expected the capability `distillation`, found \\['ensemble'\\]"):
        student_job(student, line.student, line.training, line.augment, seed=8)
