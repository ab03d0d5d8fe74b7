"""The steps of the members, and of the ensemble that they make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import Dataset, Model
from components.config import AugmentConfig, EnsembleConfig, MembersConfig, NetworkConfig, TrainingConfig
from flows.run.context import line
from flows.run.curves import Curves
from flows.run.step import StepRun, step

if TYPE_CHECKING:
    from components.training.jobs.job import Job


def _members(folder: Path) -> tuple[Model, ...]:
    # member-2 before member-10
    places = sorted((folder / "models").iterdir(), key=lambda place: (len(place.name), place.name))
    return tuple(Model.load(place) for place in places)


def only(folder: Path) -> Model:
    """The one model that a step has made."""
    (model,) = _members(folder)
    return model


@step(
    "train",
    load=_members,
    code=["components.training.cluster.fitting", "components.training.jobs.members"],
    minutes=24 * 60,
)
def _train(
    run: StepRun,
    dataset: Dataset,
    members: MembersConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> None:
    """Train the ensemble's members in one worker group (Ray Train); `members` says by what they differ."""
    from components.training.jobs.members import member_jobs

    _fit(run, member_jobs(members, dataset.card.task, training, augment, seed=seed), dataset)


def train(
    dataset: Dataset,
    members: MembersConfig,
    training: TrainingConfig,
    augment: AugmentConfig,
    seed: int,
) -> tuple[Model, ...]:
    """The members; weights that they start from are part of what the step is known by."""
    networks = tuple(pinned_network(network) for network in members.networks)
    return _train(dataset, members.model_copy(update={"networks": networks}), training, augment, seed)


@step("ensemble", load=only, code=["components.compress.ensembling.combine", "components.compress.ensembling.picture"])
def _ensemble(run: StepRun, members: tuple[Model, ...], dataset: Dataset, config: EnsembleConfig) -> None:
    """Combine the members into one model; how, is found on the validation split."""
    from components.compress.ensembling.combine import combine, read_report
    from components.compress.ensembling.picture import draw

    report = read_report(combine(members, dataset, config, run.folder / "models" / "ensemble"))
    line().tracking.log_metrics(run.id, report.metrics())
    draw(report, run.work / "plots" / "ensemble.png")
    run.show(run.work / "plots", "plots")
    weights = [member.weight for member in report.members if member.weight is not None]
    weighed = f", weights {'/'.join(f'{weight:.2f}' for weight in weights)}" if weights else ""
    run.summary = f"validation {report.metric} {report.primary:.4f}, {report.combiner}{weighed}"
    run.table = [
        {
            "what": each.name,
            report.loss_title: f"{each.loss:.4f}",
            report.metric: f"{each.primary:.4f}",
            **({"calibration error": f"{each.calibration_error:.4f}"} if report.calibrated else {}),
        }
        for each in report.rows
    ]


def ensemble(members: tuple[Model, ...], dataset: Dataset, config: EnsembleConfig) -> Model:
    """The members as one model; the first, and a word in the run, where it is alone or the task combines none."""
    if len(members) == 1:
        line().skip("ensemble", "there is one member: it goes on alone")
        return members[0]
    if not combinable(dataset):
        line().skip("ensemble", f"{dataset.card.task} has no way to combine members: the first one goes on alone")
        return members[0]
    # Raising the allowance changes nothing about the ensemble: it is no part of what the step is known by.
    combined = _ensemble(members, dataset, config.model_copy(update={"allowance": 0.0}))
    _worth_it(combined, dataset, config.allowance)
    return combined


def _worth_it(combined: Model, dataset: Dataset, limit: float) -> None:
    """Stop the pipeline where the ensemble is worse than its best member by more than it may."""
    from components.compress import allowance
    from components.tasks import registry as tasks

    metric = tasks.of(dataset.card).spec.primary
    allowance.within("ensemble.allowance", allowance.of_ensemble(combined, metric), limit)


def pinned_network(network: NetworkConfig) -> NetworkConfig:
    """The network with the file and digest of the weights that it starts from, where it does not start at random."""
    if network.pretrained is None:
        return network
    from components.models.weights import pinned
    from components.registry.memory import manifest

    tracking = line().tracking
    return pinned(network, lambda run_id: manifest.whole(tracking, run_id) / "models")


def _fit(run: StepRun, jobs: Sequence[Job], dataset: Dataset) -> None:
    from components.training.cluster import fitting as cluster

    curves = Curves(run, jobs)
    storage, decoded = run.work / "storage", line().project.decoded
    cluster.fit(jobs, dataset, storage=storage, output=run.folder / "models", decoded=decoded, on_event=curves)
    run.summary, run.table = curves.finish()


def combinable(dataset: Dataset) -> bool:
    """Whether members of the data set's task can be combined."""
    from components.tasks import registry as tasks
    from components.tasks.capabilities import Combinable

    return isinstance(tasks.of(dataset.card), Combinable)
