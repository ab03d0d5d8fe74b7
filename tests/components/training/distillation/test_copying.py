"""A student that copies features: it learns to, goes on bitwise after a stop, and keeps nothing of the teacher's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.artifacts import Model
from components.config import AugmentConfig, ConfigurationError, DistillationConfig, TransferConfig
from components.training.jobs.job import Event, Job
from components.training.loop import checkpoint
from components.training.loop.loop import train
from components.training.loop.surroundings import Data

Jobs = Callable[..., Job]
ALL = {"hint": {}, "attention": {}, "relation": {}, "contrastive": {}}


class Stopped(Exception):  # noqa: N818
    """What a test raises to stop a training."""


def copying(job: Jobs, teacher: Path, kinds: dict[str, Any] = ALL, **changes: Any) -> Job:
    settings = {"augment": AugmentConfig(crop=1), "epochs": 3, **changes}
    return job(teacher=teacher, distillation=DistillationConfig.model_validate(kinds), **settings)


@pytest.fixture(scope="module")
def watched(data: Data, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, float]:
    """Each kind's loss in the last epoch of a student that sees it and does not heed it."""
    from tests.components.training.conftest import make_job

    nothing = {"weight": 1e-30}
    kinds = dict.fromkeys(("hint", "attention", "contrastive"), nothing)
    wanted = copying(make_job, teacher, {**kinds, "relation": {"distance": 1e-30, "angle": 1e-30}})
    return last_of(wanted, data, tmp_path_factory.mktemp("watched"))


def last_of(job: Job, data: Data, folder: Path) -> Mapping[str, float]:
    events: list[Event] = []
    train(job, data, folder, on_event=events.append)
    return [event.metrics for event in events if event.kind == "epoch"][-1]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("hint", {"hint": {"weight": 10}}),
        ("attention", {"attention": {"weight": 20}}),
        ("distance", {"relation": {"distance": 20, "angle": 0}}),
        ("angle", {"relation": {"distance": 0, "angle": 20}}),
        ("contrastive", {"contrastive": {"weight": 2}}),
    ],
)
def test_who_heeds_a_kind_comes_closer_to_the_teacher_in_it(
    tmp_path: Path, data: Data, job: Jobs, teacher: Path, watched: Mapping[str, float], name: str, kinds: dict[str, Any]
) -> None:
    heeded = last_of(copying(job, teacher, kinds), data, tmp_path)
    assert heeded[f"train_{name}_loss"] < 0.8 * watched[f"train_{name}_loss"]


def test_the_loss_is_the_weighted_sum_and_a_stop_changes_nothing(
    tmp_path: Path, data: Data, job: Jobs, ensemble: Model
) -> None:
    wanted = copying(job, ensemble.folder, training={"ema": 0.9, "precision": "bfloat16"})
    events: list[Event] = []
    undisturbed = train(wanted, data, tmp_path / "undisturbed", on_event=events.append)
    (note,) = (event.message for event in events if event.kind == "note")
    assert note.startswith("the teacher runs along in every epoch: features are copied (hint, attention, distance, ")
    history = [event.metrics for event in events if event.kind == "epoch"]
    weights = {"hint": 1.0, "attention": 1.0, "distance": 1.0, "angle": 2.0, "contrastive": 0.2}
    last = history[-1]
    total = 0.3 * last["train_task_loss"] + 0.7 * last["train_distillation_loss"]
    total += sum(weight * last[f"train_{kind}_loss"] for kind, weight in weights.items())
    assert last["train_loss"] == pytest.approx(total, rel=1e-5)

    def stopping(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train(wanted, data, tmp_path / "stopped", on_event=stopping)
    stored, _ = checkpoint.latest(tmp_path / "stopped")
    assert stored is not None
    assert {"network/projections.hint.project.weight", "average/projections.contrastive.project_student.weight"} <= set(
        stored.tensors
    )
    continued = train(wanted, data, tmp_path / "stopped")
    own = undisturbed.state_dict()
    assert not any("projections" in name for name in own)
    assert all(torch.equal(own[name], value) for name, value in continued.state_dict().items())
    undisturbed(torch.rand(1, 1, 8, 8))
    assert not undisturbed.head._forward_pre_hooks  # type: ignore[union-attr]


def test_projections_do_not_change_what_the_student_starts_from(
    tmp_path: Path, data: Data, job: Jobs, teacher: Path
) -> None:
    """With weight ~0 the student is what it would have been without them."""
    plain = train(job(teacher=teacher, augment=AugmentConfig(erase=0.2), epochs=1), data, tmp_path / "plain")
    wanted = copying(job, teacher, {"hint": {"weight": 1e-30}}, augment=AugmentConfig(erase=0.2), epochs=1)
    copied = train(wanted, data, tmp_path / "copied")
    for name, value in copied.state_dict().items():
        torch.testing.assert_close(plain.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_micro_batches_and_frozen_features_are_copied_too(tmp_path: Path, data: Data, job: Jobs, teacher: Path) -> None:
    events: list[Event] = []
    wanted = copying(
        job,
        teacher,
        {"hint": {}},
        epochs=2,
        training={"accumulate": 2, "transfer": TransferConfig(freeze="features").model_dump()},
    )
    train(wanted, data, tmp_path, on_event=events.append)
    first, second = (event.metrics["train_hint_loss"] for event in events if event.kind == "epoch")
    assert second < first  # the projection learns although the features cannot


def test_a_strategy_that_cuts_the_network_up_is_refused(tmp_path: Path, data: Data, job: Jobs, teacher: Path) -> None:
    wanted = copying(job, teacher, {"hint": {}}, training={"strategy": "pipeline", "workers": 2})
    with pytest.raises(ConfigurationError, match=r"network: training.strategy: expected data where a student copies"):
        train(wanted, data, tmp_path)


@pytest.mark.slow
def test_two_workers_copy_alike_and_read_the_same_answers(tmp_path: Path, data: Data, job: Jobs, teacher: Path) -> None:
    from tests.components.training.parallel.group import train_together

    two = {"workers": 2}
    moved = AugmentConfig(crop=1, flip=0.5)
    copied = copying(job, teacher, name="copied", training=two, epochs=2)
    stored = job(name="stored", teacher=teacher, augment=moved, views=2, epochs=4, training=two)
    train_together([copied, stored], data, tmp_path, 2)
    for name in ("copied", "stored"):
        one, other = (load_file(tmp_path / place / "model.safetensors") for place in (name, f"{name}-resumed"))
        assert not any("projections" in key for key in one)
        assert all(torch.equal(one[key], other[key]) for key in one)
    train(job(name="stored", teacher=teacher, augment=moved, views=2, epochs=4), data, tmp_path / "alone")
    (theirs,) = (tmp_path / "stored" / "state" / "answers").glob("*/column-001/answers.npy")
    (own,) = (tmp_path / "alone" / "answers").glob("*/column-001/answers.npy")
    assert theirs.read_bytes() == own.read_bytes()
