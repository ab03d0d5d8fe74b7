from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from components.artifacts import Dataset, Model
from components.compress.distil import report_on, student_jobs
from components.config import LineConfig, NetworkConfig
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.models.network import load_network
from components.tasks import registry as tasks
from components.training.jobs.job import Job


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
            "student": {"network": residual, "epochs": 4, "temperature": 2.5, "teacher_weight": 0.6, "views": 2},
            "gates": [{"gate": "floor", "limit": 0.5}],
        }
    )


def jobs_of(student: Model, line: LineConfig, **changes: Any) -> list[Job]:
    wanted = line.student.model_copy(update=changes)
    return student_jobs(student, wanted, line.training, line.augment, seed=8, folder=Path("course"))


def test_the_student_is_trained_as_the_line_says_with_the_teacher_at_its_side(student: Model, line: LineConfig) -> None:
    (job,) = jobs_of(student, line)
    assert job.name == "student"
    assert job.teacher == student.folder
    assert (job.temperature, job.teacher_weight, job.epochs, job.seed) == (2.5, 0.6, 4, 8)
    assert (job.views, job.distillation) == (2, line.student.distillation)
    assert (job.network, job.training, job.augment) == (line.student.network, line.training, line.augment)
    assert [(parent.role, parent.digest) for parent in job.parents] == [("teacher", student.digest)]


def test_each_learns_from_the_one_before_it_and_the_control_from_nobody(student: Model, line: LineConfig) -> None:
    assistant = NetworkConfig(name="residual", arguments={"width": 12})
    control, *jobs = jobs_of(student, line, assistants=(assistant,), generations=2, control=True)
    assert [job.name for job in jobs] == ["assistant-1", "student-1", "student-2"]
    assert [job.teacher for job in jobs] == [student.folder, Path("course/assistant-1"), Path("course/student-1")]
    assert [job.network for job in jobs] == [assistant, line.student.network, line.student.network]
    (alone,) = jobs_of(student, line)
    assert control == replace(alone, name="control", teacher=None, temperature=3.0, teacher_weight=0.7, views=None)


def test_a_task_that_cannot_be_distilled_is_refused(
    student: Model, line: LineConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "get", lambda name: SimpleNamespace())
    with pytest.raises(CompressionError, match="task classification: expected one whose networks can be distilled"):
        jobs_of(student, line)


def test_the_best_generation_goes_on_and_what_does_not_help_is_said(
    members: list[Model], digits: Dataset, write_network: Callable[..., Model], tmp_path: Path
) -> None:
    teacher, good, ignorant = members

    def called(name: str, model: Model) -> Model:
        return write_network(tmp_path / name, load_network(model), model.card.network, digits)

    trained = [called("control", good), called("student-1", good), called("student-2", ignorant)]
    report = report_on(teacher, trained, digits)
    samples = load_split(digits, "validation")
    with torch.no_grad():
        outputs = load_network(good)(torch.from_numpy(samples.inputs).permute(0, 3, 1, 2) / 255)
    accuracy = float((outputs.argmax(dim=1).numpy() == samples.targets).mean())
    assert report.chosen == "student-1"
    assert report.student == pytest.approx(accuracy)
    assert report.gain == 0
    assert "the teacher did not help: +0.0000 over" in report.says()
    helped = report_on(teacher, [called("control", ignorant), called("student", good)], digits)
    assert helped.gain == pytest.approx(accuracy - helped.control)
    assert helped.gain > 0.3
    assert "the teacher helped" in helped.says()
    assert report_on(teacher, [called("student", good)], digits).gain is None


def test_views_need_an_augmentation_that_has_an_end(line: LineConfig) -> None:
    settings = line.model_dump()
    settings["augment"]["erase"] = 0.5
    with pytest.raises(ValidationError, match=r"`student.views: null`, or an `augment` of crop and flip alone"):
        LineConfig.model_validate(settings)
