"""Answers that are stored are those of a teacher that runs along, and a kill, a neighbour or damage changes none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.artifacts import Model
from components.augment.policy import shown
from components.config import AugmentConfig
from components.models.network import load_network
from components.tasks.protocol import Batch
from components.training.jobs.job import Event, Job
from components.training.loop.loop import train
from components.training.loop.surroundings import Data
from components.training.objectives import answers
from components.training.objectives.answers import Answers
from components.training.objectives.teacher import Teacher
from components.training.processes.workers import Workers
from components.training.reading.samples import Part, Split

Jobs = Callable[..., Job]
MOVED = AugmentConfig(crop=1, flip=0.5)


class Stopped(Exception):  # noqa: N818
    """What a test raises to stop a training."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images the teacher is shown, each time that it is shown any."""
    sizes: list[int] = []
    answer = Teacher.__call__

    def counting(self: Teacher, images: Tensor) -> Tensor:
        sizes.append(len(images))
        return answer(self, images)

    monkeypatch.setattr(Teacher, "__call__", counting)
    return sizes


def same(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_image_is_seen_in_each_of_its_views_once() -> None:
    samples, count = 600, MOVED.views
    assert count == 18
    seen = [answers.views(samples, MOVED, column) for column in range(count)]
    numbers = torch.stack([(v.corners[0] * 3 + v.corners[1]) * 2 + v.flipped for v in seen], dim=1)
    assert torch.equal(numbers.sort(dim=1).values, torch.arange(18).repeat(samples, 1))
    assert len(numbers[:, 0].unique()) == 18  # not the same order for all of them
    assert AugmentConfig().views == 1
    assert AugmentConfig(crop=1, erase=0.1).views is None


def test_as_many_are_mirrored_as_augmentation_would_have_mirrored() -> None:
    shares = [answers.views(4000, AugmentConfig(flip=0.2), column).flipped.double().mean() for column in range(2)]
    assert shares == pytest.approx([0.2, 0.2], abs=0.02)
    assert answers.views(100, AugmentConfig(flip=1.0), 0).flipped.all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_stored_answer_is_what_the_teacher_says_of_that_view(
    tmp_path: Path, data: Data, job: Jobs, teacher: Path, precision: str
) -> None:
    events: list[Event] = []
    wanted = job(teacher=teacher, augment=MOVED, epochs=3, views=2, training={"precision": precision})
    train(wanted, data, tmp_path, on_event=events.append)
    (folder,) = (path for path in (tmp_path / "answers").iterdir() if path.is_dir())
    assert sorted(path.name for path in folder.iterdir()) == ["column-000", "column-001"]
    network = load_network(Model.load(teacher))
    split = Split(data.train, torch.device("cpu"))
    positions = np.arange(len(split))
    batch = split.batch(positions)
    for column in range(2):
        stored = np.load(folder / f"column-{column:03d}" / "answers.npy")
        images, _ = shown(batch.inputs, batch.targets, answers.views(len(split), MOVED, column), MOVED)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            expected = network(images).float().numpy()
        np.testing.assert_allclose(stored, expected, rtol=1e-4, atol=5e-2 if precision == "bfloat16" else 1e-4)
    (note,) = (event.message for event in events if event.kind == "note")
    assert note.startswith("the teacher's outputs for 400 inputs in 2 of 18 views were computed once")


def test_the_losses_are_those_of_a_teacher_that_runs_along(
    tmp_path: Path, data: Data, job: Jobs, teacher: Path, monkeypatch: pytest.MonkeyPatch, asked: list[int]
) -> None:
    wanted = job(teacher=teacher, augment=MOVED, epochs=4, views=2)
    stored: list[Event] = []
    read = train(wanted, data, tmp_path / "stored", on_event=stored.append)
    assert sum(asked) == 2 * 400  # once a view, in four epochs
    asked.clear()
    batch_of = Answers.batch
    monkeypatch.setattr(Answers, "batch", lambda self, part: replace(batch_of(self, part), answers=None))
    along: list[Event] = []
    heard = train(wanted, data, tmp_path / "along", on_event=along.append)
    assert sum(asked) == (2 + 4) * 400
    for one, other in zip(
        (event.metrics for event in stored if event.kind == "epoch"),
        (event.metrics for event in along if event.kind == "epoch"),
        strict=True,
    ):
        assert one["train_distillation_loss"] > 0.001
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)
    for name, value in read.state_dict().items():
        # Sums in another order differ in their last bits, and training amplifies that a little every step.
        torch.testing.assert_close(heard.state_dict()[name], value, rtol=2e-3, atol=2e-3)


def test_a_student_that_was_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, data: Data, job: Jobs, teacher: Path
) -> None:
    wanted = job(teacher=teacher, augment=MOVED, epochs=5, views=3, training={"precision": "bfloat16"})
    undisturbed = train(wanted, data, tmp_path / "undisturbed")
    for number, stop in enumerate((1, 2, 4)):
        folder = tmp_path / f"stopped-{number}"

        def stopping(event: Event, stop: int = stop) -> None:
            if event.kind == "epoch" and event.epoch == stop:
                raise Stopped

        with pytest.raises(Stopped):
            train(wanted, data, folder, on_event=stopping)
        if stop == 4:  # what was stored is lost as well: it is asked for again
            shutil.rmtree(folder / "answers")
        assert same(undisturbed, train(wanted, data, folder))


def test_another_student_reads_what_is_there_and_damage_is_made_good(
    tmp_path: Path, data: Data, job: Jobs, teacher: Path, asked: list[int]
) -> None:
    shared = replace(data, answers=tmp_path / "answers")
    wanted: dict[str, Any] = {"teacher": teacher, "augment": MOVED, "epochs": 3, "views": 2}
    first = train(job(**wanted), shared, tmp_path / "first")
    assert sum(asked) == 800
    train(job(**wanted, seed=1), shared, tmp_path / "second")
    assert sum(asked) == 800
    (file,) = (tmp_path / "answers").glob("*/column-001/answers.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert same(first, train(job(**wanted), shared, tmp_path / "third"))
    assert sum(asked) == 1200


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"augment": AugmentConfig(crop=1, erase=0.5)}, "augment shows no image twice in the same way"),
        ({"augment": MOVED}, "2 epochs show no view twice (18 of each image; student.views makes them fewer)"),
    ],
)
def test_where_it_would_not_pay_the_teacher_runs_along_and_the_training_says_why(
    tmp_path: Path, data: Data, job: Jobs, teacher: Path, changes: dict[str, Any], says: str, asked: list[int]
) -> None:
    events: list[Event] = []
    train(job(teacher=teacher, **changes), data, tmp_path, on_event=events.append)
    assert [e.message for e in events if e.kind == "note"] == [f"the teacher runs along in every epoch: {says}"]
    assert sum(asked) == 2 * 400
    assert not (tmp_path / "answers").exists()


def test_without_augmentation_one_answer_an_image_is_enough(
    tmp_path: Path, data: Data, job: Jobs, teacher: Path, asked: list[int]
) -> None:
    train(job(teacher=teacher, augment=AugmentConfig(), epochs=3), data, tmp_path)
    assert sum(asked) == 400


def test_only_the_last_teachers_answers_stay(tmp_path: Path, data: Data, job: Jobs, teacher: Path) -> None:
    split = Split(data.train, torch.device("cpu"))
    wanted = job(teacher=teacher, augment=AugmentConfig(), epochs=3)
    kept = []
    for number in range(answers.KEPT + 2):
        asked = Teacher(Model.load(teacher), torch.device("cpu"), nullcontext)
        found = Answers(wanted, split, f"data {number}", asked, tmp_path, Workers())
        found.begin_epoch(1)
        part = Part(split.batch(np.array([3, 1])), np.array([3, 1]), 2)
        batch: Batch = found.batch(part)
        assert batch.answers is not None
        assert batch.answers.shape == (2, 10)
        kept.append(found.folder.name)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(kept[-answers.KEPT :])
