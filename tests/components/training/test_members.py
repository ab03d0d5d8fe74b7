"""What makes members differ: folds, boosting, snapshots, averages; and that a kill changes none of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from components.artifacts import Dataset, Model
from components.config import AugmentConfig, LineConfig, MembersConfig, NetworkConfig, TrainingConfig
from components.data.errors import DataError
from components.data.preparing.splits import assign_folds
from components.data.reading.folds import folds_of
from components.models.preprocessing import channels_last
from components.tasks import registry as tasks
from components.tasks.network import network_of
from components.tasks.protocol import Batch
from components.training.cluster.conductor import Plan, data_of, folder_of, keep, model_of
from components.training.jobs.job import Event, Job
from components.training.jobs.members import member_jobs, problems
from components.training.loop import averaging, boosting, snapshots
from components.training.loop.averaging import TailAverage, first_averaged
from components.training.loop.boosting import mistakes_of, samme
from components.training.loop.loop import train
from components.training.loop.schedule import cycle, rate_at
from components.training.loop.surroundings import Data
from components.training.objectives.objective import Boosted, Supervised
from components.training.parallel.pieces import micro_batches
from components.training.processes.workers import Workers
from components.training.reading.samples import Split
from components.training.reading.sampling import Epochs

CPU = torch.device("cpu")
Jobs = Callable[..., Job]


class StoppedError(Exception):
    """As good as a kill."""


def same(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stopped_and_continued(job: Job, data: Data, folder: Path, saves: int) -> nn.Module:
    """The training, stopped before it has stored its epoch number `saves`, and begun again."""
    left = [saves]

    def stop() -> None:
        left[0] -= 1
        if not left[0]:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(job, data, folder, before_saving=stop)
    torch.manual_seed(99)
    return train(job, data, folder)


# -- jobs ------------------------------------------------------------------------------------------------------------


def config(**changes: Any) -> MembersConfig:
    networks = [{"name": "residual", "arguments": {"width": width}} for width in (8, 12)]
    return MembersConfig.model_validate({"count": 4, "networks": networks, "epochs": 6, **changes})


def jobs_of(members: MembersConfig, augment: AugmentConfig | None = None) -> list[Job]:
    return member_jobs(members, "classification", TrainingConfig(), augment or AugmentConfig(), seed=10)


def widths(jobs: list[Job]) -> list[Any]:
    return [job.network.arguments["width"] for job in jobs]


def test_plain_members_differ_by_seed_and_architecture_and_augmentation_in_turn() -> None:
    jobs = jobs_of(config(augments=[{"flip": 0.5}, {"crop": 1}, {}]), AugmentConfig(erase=0.5))
    assert [job.name for job in jobs] == ["member-0", "member-1", "member-2", "member-3"]
    assert [job.seed for job in jobs] == [10, 11, 12, 13]
    assert widths(jobs) == [8, 12, 8, 12]
    assert [(job.augment.flip, job.augment.crop) for job in jobs] == [(0.5, 0), (0, 1), (0, 0), (0.5, 0)]
    assert all(job.fold is None and job.boosts is None and job.snapshots == () for job in jobs)
    assert all(job.augment.erase == 0.5 for job in jobs_of(config(), AugmentConfig(erase=0.5)))


def test_the_trainings_of_one_learner_share_all_but_the_fold_and_the_seed() -> None:
    jobs = jobs_of(config(folds=2))
    assert [job.fold for job in jobs] == [(0, 2), (1, 2), (0, 2), (1, 2)]
    assert widths(jobs) == [8, 8, 12, 12]


def test_snapshots_are_named_as_members_and_share_a_training() -> None:
    jobs = jobs_of(config(snapshots=2))
    assert [job.name for job in jobs] == ["run-0", "run-1"]
    assert [job.snapshots for job in jobs] == [("member-0", "member-1"), ("member-2", "member-3")]
    assert {(job.training.schedule, job.training.warmup) for job in jobs} == {("cosine", 0.0)}


def test_a_boosted_member_knows_those_before_it_and_its_fingerprint_too() -> None:
    jobs = jobs_of(config(boosting="samme"))
    assert [job.boosts for job in jobs] == [(), tuple(jobs[:1]), tuple(jobs[:2]), tuple(jobs[:3])]
    other = replace(jobs[1], boosts=(replace(jobs[0], epochs=7),))
    assert other.fingerprint("d") != jobs[1].fingerprint("d")
    assert jobs[0].fingerprint("d") != jobs_of(config())[0].fingerprint("d")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"folds": 3}, "a `count` that is `folds: 3` or a multiple of it"),
        ({"folds": 2, "snapshots": 2}, "one of `folds`, `boosting` and `snapshots`"),
        ({"snapshots": 4}, "a `count` and `epochs` that are multiples of `snapshots: 4`"),
        ({"snapshots": 2, "average": "swa"}, "`average: none` beside `snapshots`"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        config(**changes)


@pytest.mark.parametrize(
    ("members", "training", "task", "grouped", "expected"),
    [
        ({}, {}, "classification", True, None),
        ({"folds": 2}, {}, "classification", False, None),
        ({"folds": 2}, {}, "classification", True, "split.folds: 2"),
        ({"boosting": "samme"}, {}, "segmentation", False, "no whole sample right or wrong"),
        ({"boosting": "samme"}, {"imbalance": {"loss": "focal"}}, "classification", False, "both decide"),
        ({"folds": 2}, {"reading": "streamed"}, "classification", False, "streamed"),
        ({"average": "swa"}, {"ema": 0.9}, "classification", False, "both are averages"),
        ({"average": "swa"}, {"workers": 2, "strategy": "sharded"}, "classification", False, "training.strategy: data"),
        ({"snapshots": 2}, {"patience": 1}, "classification", False, "known beforehand"),
    ],
)
def test_problems_that_only_the_whole_configuration_shows(
    members: dict[str, Any], training: dict[str, Any], task: str, grouped: bool, expected: str | None
) -> None:
    line = LineConfig.model_validate(
        {
            "dataset": "d",
            "model": "m",
            "members": config(**members),
            "training": training,
            "student": None,
            "gates": [{"gate": "floor", "limit": 0.5}],
        }
    )
    found = problems(line, tasks.get(task), grouped=grouped)
    assert (expected is None) == (not found)
    assert expected is None or expected in found[0]


# -- folds -----------------------------------------------------------------------------------------------------------


def test_a_member_without_a_fold_is_trained_as_if_that_fold_were_not_there(
    tmp_path: Path, data: Data, job: Jobs
) -> None:
    rows = np.flatnonzero(np.arange(400) % 4 != 1)
    held = replace(data, rows=rows)
    train_split: Any = type(data.train)(data.train.ids[rows], data.train.inputs[rows], data.train.targets[rows])  # type: ignore[union-attr]
    cut = replace(data, train=train_split)
    wanted = job(epochs=1, fold=(1, 4))
    assert same(train(wanted, held, tmp_path / "held"), train(wanted, cut, tmp_path / "cut"))


def test_folds_are_the_data_sets_own_or_stratified(dataset: Dataset) -> None:
    found = folds_of(dataset, 5)
    table = dataset.table("train")
    ids, targets = table["id"].to_pylist(), table["target"].to_numpy()
    assert found.tolist() == assign_folds(ids, targets.tolist(), 5, 0)
    counts = np.array([np.bincount(targets[found == fold], minlength=10) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= 1).all()
    own = replace(dataset, card=dataset.card.model_copy(update={"folds": 3}))
    with pytest.raises(
        DataError, match=r"members.folds: expected 3, as datasets.digits.split.folds has it, received 5"
    ):
        folds_of(own, 5)


# -- boosting --------------------------------------------------------------------------------------------------------


def test_the_boosted_loss_is_the_weighted_mean_and_the_plain_one_under_equal_weights() -> None:
    random = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(6, 4, generator=random), torch.tensor([0, 1, 2, 3, 0, 1])
    weights = torch.tensor([0.0, 3.0, 0.5, 1.0, 1.0, 0.5])
    images = torch.zeros(6, 1, 2, 2)
    each = F.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1)
    found = Boosted(tasks.get("classification"), 0.1)(outputs, Batch(images, targets, weights=weights))["loss"]
    torch.testing.assert_close(found, (each * weights).sum() / 6)
    plain = Supervised(tasks.get("classification"), 0.1)(outputs, Batch(images, targets))["loss"]
    torch.testing.assert_close(
        Boosted(tasks.get("classification"), 0.1)(outputs, Batch(images, targets, weights=torch.ones(6)))["loss"], plain
    )
    pieces = micro_batches(Batch(images, targets, weights=weights), 2)
    assert [piece.weights.tolist() for piece in pieces if piece.weights is not None] == [
        [0.0, 3.0, 0.5],
        [1.0, 1.0, 0.5],
    ]


def test_samples_bring_their_weights_into_every_batch(data: Data) -> None:
    weights = np.linspace(0.0, 2.0, 400)
    split = Split(data.train, CPU, rows=np.arange(1, 400, 2), weights=weights)  # type: ignore[arg-type]
    batch = split.batch(np.array([5, 0]))
    assert batch.weights is not None
    np.testing.assert_allclose(batch.weights.numpy(), weights[[11, 1]], rtol=1e-6)
    assert split.names(np.array([5])) == ["digit-0011"]


def boosted_jobs() -> list[Job]:
    settings = TrainingConfig.model_validate({"batch_size": 64, "learning_rate": 0.01, "precision": "float32"})
    members = MembersConfig(
        count=3,
        networks=(NetworkConfig(name="residual", arguments={"width": 8}),),
        epochs=1,
        boosting="samme",
    )
    return member_jobs(members, "classification", settings, AugmentConfig(), seed=0)


def done(plan: Plan, job: Job, dataset: Dataset) -> Model:
    """The job trained as a worker of the cluster does, unless it is there already."""
    folder = folder_of(plan.storage, job, plan.digest)
    if not (folder / "model").exists():
        data = data_of(plan, job, dataset, Workers(), lambda message: None)
        keep(plan, job, dataset, train(job, data, folder), folder)
    return Model.load(folder / "model")


def test_each_boosted_member_learns_from_the_mistakes_of_those_before_it_after_a_kill_as_well(
    tmp_path: Path, dataset: Dataset, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan((), dataset.folder, dataset.digest, tmp_path / "a", tmp_path / "decoded", "", (1, 1), 1, False, 0)
    jobs = boosted_jobs()
    models = [done(plan, job, dataset) for job in jobs]
    assert [[p.digest for p in m.card.parents] for m in models] == [
        [],
        [models[0].digest],
        [models[0].digest, models[1].digest],
    ]
    from components.models.network import load_network

    with torch.inference_mode():
        batch = Split(data.train, CPU).batch(np.arange(400))  # type: ignore[arg-type]
        wrong = np.stack([(load_network(m)(batch.inputs).argmax(1) != batch.targets).numpy() for m in models[:2]])
    assert wrong.any(axis=1).all()
    found = data_of(plan, jobs[2], dataset, Workers(), lambda message: None)
    np.testing.assert_allclose(found.weights, samme(wrong, 10).weights[2])
    assert found.weights[wrong[1]].mean() > found.weights[~wrong[1]].mean()
    # Another try: the first is there, the second is trained anew, and the third looks the mistakes up again.
    again = replace(plan, storage=tmp_path / "b")
    done(again, jobs[0], dataset)
    data_of(again, jobs[1], dataset, Workers(), lambda message: None)  # and is killed
    assert [done(again, job, dataset).digest for job in jobs] == [model.digest for model in models]
    monkeypatch.setattr(boosting, "mistakes_of", None)  # nobody is asked a second time
    kept = data_of(again, jobs[2], dataset, Workers(), lambda message: None)
    np.testing.assert_array_equal(kept.weights, found.weights)


def test_mistakes_are_those_of_the_network_as_it_is_used(data: Data) -> None:
    task = tasks.get("classification")
    torch.manual_seed(0)
    network = network_of(task, NetworkConfig(name="residual", arguments={"width": 8}), data.card).eval()
    found = mistakes_of(network, task, data.train, Workers())  # type: ignore[arg-type]
    with torch.inference_mode():
        batch = Split(data.train, CPU).batch(np.arange(400))  # type: ignore[arg-type]
        expected = (network(batch.inputs).argmax(dim=1) != batch.targets).numpy()
    np.testing.assert_array_equal(found, expected)


# -- snapshots -------------------------------------------------------------------------------------------------------


def test_the_rate_of_a_snapshot_training_is_the_cyclic_cosine_of_the_paper(job: Jobs) -> None:
    """Huang et al. 2017, equation 2, of T steps in M cycles: α₀/2 · (cos(π · mod(t − 1, ⌈T/M⌉) / ⌈T/M⌉) + 1)."""
    wanted = job(epochs=6, snapshots=("a", "b", "c"), training={"schedule": "cosine", "warmup": 0.0})
    epochs = Epochs(6, 400, 64, 0)
    found = [rate_at(wanted, epochs, epoch, step) for epoch in range(1, 7) for step in range(7)]
    length = math.ceil(42 / 3)
    expected = [0.01 / 2 * (math.cos(math.pi * ((t - 1) % length) / length) + 1) for t in range(1, 43)]
    assert found == pytest.approx(expected)
    assert [cycle(wanted, epoch) for epoch in (1, 2, 3, 6)] == [(1, 2), (1, 2), (3, 4), (5, 6)]


def test_one_training_leaves_a_network_behind_at_the_end_of_each_cycle(
    tmp_path: Path, dataset: Dataset, data: Data, job: Jobs
) -> None:
    settings = {"schedule": "cosine", "warmup": 0.0}
    wanted = job("run-0", epochs=4, snapshots=("member-0", "member-1"), training=settings)
    plan = Plan((), dataset.folder, dataset.digest, tmp_path, tmp_path / "decoded", "", (1, 1), 1, False, 0)
    folder = folder_of(plan.storage, wanted, plan.digest)
    events: list[Event] = []
    last = train(wanted, data, folder, on_event=events.append)
    keep(plan, wanted, dataset, last, folder)
    models = [Model.load(model_of(folder, name)) for name in wanted.snapshots]
    assert [model.card.name for model in models] == ["member-0", "member-1"]
    assert all(torch.equal(load_file(models[1].weights)[name], value) for name, value in last.state_dict().items())
    # A cycle's steps do not depend on later ones: the first snapshot is what a training of that length gives.
    shorter = train(job("run-0", epochs=2, training=settings), data, tmp_path / "shorter")
    assert all(torch.equal(load_file(models[0].weights)[name], value) for name, value in shorter.state_dict().items())
    stopped_and_continued(wanted, data, tmp_path / "stopped", saves=2)
    for name in wanted.snapshots:
        ours = snapshots.place(tmp_path / "stopped", name).read_bytes()
        assert ours == snapshots.place(folder, name).read_bytes()


# -- averages --------------------------------------------------------------------------------------------------------


def test_the_tail_is_averaged_as_torch_does_it() -> None:
    network = nn.Linear(3, 2)
    average, theirs = TailAverage(dict(network.named_parameters())), AveragedModel(network)
    random, steps = torch.Generator().manual_seed(0), 40
    for step in range(steps):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=random))
        average.update(dict(network.named_parameters()), step, steps)
        if step >= 30:
            theirs.update_parameters(network)
        if step == 29:
            assert torch.equal(average.values["weight"], network.weight)  # before the tail: the weights themselves
    assert first_averaged(steps) == 30
    torch.testing.assert_close(average.values["weight"], theirs.module.weight)
    torch.testing.assert_close(average.values["bias"], theirs.module.bias)


def test_the_rate_stays_what_it_was_where_averaging_began(job: Jobs) -> None:
    plain, averaged = job(epochs=4), job(epochs=4, average=True)
    epochs = Epochs(4, 400, 64, 0)
    steps = [(epoch, step) for epoch in range(1, 5) for step in range(7)]
    expected = [rate_at(plain, epochs, *each) for each in steps]
    found = [rate_at(averaged, epochs, *each) for each in steps]
    assert found[:22] == expected[:22]
    assert set(found[21:]) == {expected[21]}
    assert expected[27] < 0.01 * expected[21]


def test_an_averaged_network_has_statistics_of_its_own_and_survives_a_kill(
    tmp_path: Path, data: Data, job: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = job(epochs=4, average=True)
    seen: list[dict[str, torch.Tensor]] = []
    update = TailAverage.update

    def listen(self: TailAverage, parameters: Any, step: int, steps: int) -> None:
        update(self, parameters, step, steps)
        seen.append({name: value.detach().clone() for name, value in parameters.items()})

    monkeypatch.setattr(averaging.TailAverage, "update", listen)
    network = train(wanted, data, tmp_path / "undisturbed")
    monkeypatch.undo()
    tail = seen[first_averaged(len(seen)) :]
    for name, parameter in network.named_parameters():
        mean = torch.stack([weights[name] for weights in tail]).mean(dim=0)
        torch.testing.assert_close(parameter.detach(), mean, rtol=1e-4, atol=1e-6)
    # The first normalisation's statistics: the mean over batches of what the averaged weights make of the images.
    split, inputs = Split(data.train, CPU), list[torch.Tensor]()  # type: ignore[arg-type]
    first = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    first.register_forward_pre_hook(lambda module, given: inputs.append(given[0].detach()))
    with torch.inference_mode():
        for positions in np.array_split(np.arange(400), 7):
            network(channels_last(split.batch(positions).inputs))
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in inputs]).mean(dim=0)
    variances = torch.stack([batch.var(dim=(0, 2, 3)) for batch in inputs]).mean(dim=0)
    torch.testing.assert_close(first.running_mean, means, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var, variances, rtol=1e-4, atol=1e-5)
    for saves in (2, 4):
        assert same(stopped_and_continued(wanted, data, tmp_path / f"stopped {saves}", saves), network)
