"""The networks' steps: members, the ensemble they make, and the student that learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import Dataset, Model
from components.config import AugmentConfig, EnsembleConfig, MembersConfig, NetworkConfig, StudentConfig, TrainingConfig
from flows.curves import Curves
from flows.step import StepRun, line, step

if TYPE_CHECKING:
    from components.training.job import Job


def _members(folder: Path) -> tuple[Model, ...]:
    # member-2 before member-10
    places = sorted((folder / "models").iterdir(), key=lambda place: (len(place.name), place.name))
    return tuple(Model.load(place) for place in places)


def _only(folder: Path) -> Model:
    (model,) = _members(folder)
    return model


@step("train", load=_members, code=["components.training.cluster"], minutes=24 * 60)
def _train(
    run: StepRun,
    dataset: Dataset,
    members: MembersConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> None:
    """Train the ensemble's members in one worker group (Ray Train): other seeds, other architectures where asked."""
    from components.training.job import Job

    jobs = [
        Job(
            name=f"member-{number}",
            task=dataset.card.task,
            network=members.networks[number % len(members.networks)],
            seed=seed + number,
            epochs=members.epochs,
            training=training,
            augment=augment,
        )
        for number in range(members.count)
    ]
    _fit(run, jobs, dataset)


def train(
    dataset: Dataset,
    members: MembersConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> tuple[Model, ...]:
    """The members; weights that they start from are part of what the step is known by."""
    networks = tuple(_pinned(network) for network in members.networks)
    return _train(dataset, members.model_copy(update={"networks": networks}), training, augment, seed)


@step("ensemble", load=_only, code=["components.compress.ensemble"])
def _ensemble(run: StepRun, members: tuple[Model, ...], dataset: Dataset, config: EnsembleConfig) -> None:
    """Combine the members into one model; their weights are fitted on the validation split."""
    from components.compress.ensemble import combine, read_report

    report = read_report(combine(members, dataset, config, run.folder / "models" / "ensemble"))
    weights = "/".join(f"{member.weight:.2f}" for member in report.members)
    line().tracking.log_metrics(run.id, {f"validation_{report.metric}": report.primary, "log_loss": report.log_loss})
    run.summary = f"validation {report.metric} {report.primary:.4f}, weights {weights}"
    run.table = [
        {
            "member": each.name,
            "weight": f"{each.weight:.3f}",
            "log loss": f"{each.log_loss:.4f}",
            report.metric: f"{each.primary:.4f}",
        }
        for each in report.members
    ]


def ensemble(members: tuple[Model, ...], dataset: Dataset, config: EnsembleConfig) -> Model:
    """The members as one model; the first, and a word in the run, where it is alone or the task combines none."""
    if len(members) == 1:
        line().skip("ensemble", "there is one member: it goes on alone")
        return members[0]
    if "ensemble" not in _supports(dataset):
        line().skip("ensemble", f"{dataset.card.task} has no way to combine members: the first one goes on alone")
        return members[0]
    return _ensemble(members, dataset, config)


@step("distil", load=_only, code=["components.compress.distil", "components.training.cluster"], minutes=24 * 60)
def _distil(
    run: StepRun,
    teacher: Model,
    dataset: Dataset,
    student: StudentConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> None:
    """Train the student on the labels and on the teacher's soft targets, through the same loop."""
    from components.compress.distil import student_job

    _fit(run, [student_job(teacher, student, training, augment, seed=seed)], dataset)


def distil(
    teacher: Model,
    dataset: Dataset,
    student: StudentConfig | None,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> Model:
    """The student; the teacher itself, and a word in the run, where none is asked for or the task knows none."""
    if student is None:
        line().skip("distil", "no student is asked for: the teacher goes on itself")
        return teacher
    if "distillation" not in _supports(dataset):
        line().skip("distil", f"{dataset.card.task} cannot be distilled: the teacher goes on itself")
        return teacher
    pinned = student.model_copy(update={"network": _pinned(student.network)})
    return _distil(teacher, dataset, pinned, training, augment, seed)


def _pinned(network: NetworkConfig) -> NetworkConfig:
    """The network with the file and digest of the weights that it starts from, where it does not start at random."""
    if network.pretrained is None:
        return network
    from components.models.weights import pinned

    tracking = line().tracking
    return pinned(network, lambda run_id: tracking.artifact_folder(run_id, "result") / "models")


def _fit(run: StepRun, jobs: Sequence[Job], dataset: Dataset) -> None:
    from components.training import cluster

    curves = Curves(run, jobs)
    storage, decoded = run.work / "storage", line().project.decoded
    cluster.fit(jobs, dataset, storage=storage, output=run.folder / "models", decoded=decoded, on_event=curves)
    run.summary, run.table = curves.finish()


def _supports(dataset: Dataset) -> frozenset[str]:
    from components.tasks import registry as tasks

    return tasks.get(dataset.card.task).spec.supports
