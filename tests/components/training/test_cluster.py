"""Two real workers on a real Ray: killed in the middle of an epoch, they must end as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from components.artifacts import Dataset, Model
from components.models.network import load_network
from components.tasks import registry as tasks
from components.training.cluster import starting as cluster_ray
from components.training.cluster.conductor import check_turn
from components.training.cluster.fitting import claim, fit
from components.training.jobs.job import Event, Job, TrainingError
from components.training.loop.surroundings import Data
from components.training.loop.validation import validate
from components.training.parallel.replicated import Replicated
from components.training.processes.workers import Workers, autocast
from components.training.reading.samples import Split

Jobs = Callable[..., Job]
EPOCHS = 3

pytestmark = pytest.mark.usefixtures("ray_cluster")


def jobs_for_two(job: Jobs, workers: int | tuple[int, int] = 2) -> list[Job]:
    """Two networks; steps are small and many, so that there is time to kill somebody within an epoch."""
    training = {"workers": workers, "batch_size": 4, "max_failures": 1, "learning_rate": 0.003}
    return [job(name=f"network-{seed}", seed=seed, epochs=EPOCHS, training=training) for seed in (0, 1)]


def training_processes() -> list[psutil.Process]:
    """The living workers of Ray's training group, whoever's child they are."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # gone, or a zombie, between two looks
            if "TrainWorker" in " ".join(process.cmdline()):
                found.append(process)
    return found


def assert_goes_on(epochs: list[Event], of: int) -> None:
    """Those found come first, one at least: more where training was ahead of whoever heard of it and killed it."""
    resumed = [event.resumed for event in epochs]
    found = resumed.count(True)
    assert 1 <= found < of
    assert resumed == [True] * found + [False] * (of - found)


def weights(model: Model) -> dict[str, torch.Tensor]:
    return load_network(model).state_dict()


def same(first: Model, second: Model) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def undisturbed(
    dataset: Dataset, tmp_path_factory: pytest.TempPathFactory, ray_cluster: None
) -> tuple[list[Model], list[Event]]:
    """What two workers make of the two jobs when nobody kills them."""
    from tests.components.training.conftest import make_job

    folder, events = tmp_path_factory.mktemp("undisturbed"), list[Event]()
    models = fit(jobs_for_two(make_job), dataset, storage=folder / "s", output=folder / "o", on_event=events.append)
    return models, events


def test_two_workers_train_both_jobs_and_tell_every_epoch(
    undisturbed: tuple[list[Model], list[Event]], data: Data, dataset: Dataset, job: Jobs
) -> None:
    models, events = undisturbed
    assert [model.card.name for model in models] == ["network-0", "network-1"]
    assert [model.folder.name for model in models] == ["network-0", "network-1"]
    assert {model.card.data for model in models} == {dataset.digest}
    told = [(event.job, event.epoch) for event in events if event.kind == "epoch"]
    assert told == [(f"network-{seed}", epoch) for seed in (0, 1) for epoch in range(1, EPOCHS + 1)]
    assert not any(event.resumed for event in events)
    assert any(event.kind == "progress" for event in events)
    assert not same(*models)


def test_metrics_of_two_workers_are_those_of_one(undisturbed: tuple[list[Model], list[Event]], data: Data) -> None:
    models, events = undisturbed
    from tests.components.training.conftest import make_job

    task, config = tasks.get("classification"), make_job(training={"batch_size": 4}).training
    split = Split(data.validation, torch.device("cpu"))
    for model in models:
        told = [e for e in events if e.kind == "epoch" and e.job == model.card.name][-1].metrics
        whole = Replicated(load_network(model), Workers(), 1, partial(autocast, config, torch.device("cpu")))
        alone = validate(whole, split, task, batch_size=4, card=data.card, workers=Workers())
        assert {name: told[name] for name in alone} == pytest.approx(alone, rel=1e-5)
        assert told["validation_accuracy"] == alone["validation_accuracy"]


@pytest.mark.slow  # Ray is started again
@pytest.mark.parametrize("daemon", cluster_ray.DAEMONS)
def test_a_ray_that_dies_is_started_again_and_changes_nothing(
    daemon: str, undisturbed: tuple[list[Model], list[Event]], dataset: Dataset, job: Jobs, tmp_path: Path
) -> None:
    killed: list[float] = []
    events: list[tuple[float, Event]] = []

    def kill_in_the_second_epoch(event: Event) -> None:
        events.append((time.monotonic(), event))
        if not killed and (event.kind, event.epoch) == ("epoch", 1):
            victims = [each for each in psutil.Process().children(recursive=True) if each.name() == daemon]
            victims[0].kill()
            killed.append(time.monotonic())

    models = fit(
        jobs_for_two(job), dataset, storage=tmp_path / "s", output=tmp_path / "o", on_event=kill_in_the_second_epoch
    )

    (warned,) = (at for at, event in events if event.kind == "warning")
    assert warned - killed[0] < 10.0
    assert all(same(one, other) for one, other in zip(models, undisturbed[0], strict=True))


def test_a_worker_killed_within_an_epoch_changes_nothing(
    undisturbed: tuple[list[Model], list[Event]], dataset: Dataset, job: Jobs, tmp_path: Path
) -> None:
    killed: list[int] = []
    events: list[Event] = []

    def kill_in_the_second_epoch(event: Event) -> None:
        events.append(event)
        if not killed and (event.kind, event.epoch) == ("epoch", 1):
            victim = training_processes()[-1]
            victim.send_signal(signal.SIGKILL)
            killed.append(victim.pid)

    models = fit(
        jobs_for_two(job), dataset, storage=tmp_path / "s", output=tmp_path / "o", on_event=kill_in_the_second_epoch
    )
    assert len(killed) == 1
    assert any(event.kind == "warning" and "a worker died; attempt 2 of 2" in event.message for event in events)
    told = [(event.job, event.epoch, event.metrics) for event in events if event.kind == "epoch"]
    expected = [(event.job, event.epoch, event.metrics) for event in undisturbed[1] if event.kind == "epoch"]
    assert told == expected
    assert all(same(one, other) for one, other in zip(models, undisturbed[0], strict=True))

    # and the same call again trains nothing, tells everything once more, and hands back the same models
    again: list[Event] = []
    before = {process.pid for process in training_processes()}
    repeated = fit(jobs_for_two(job), dataset, storage=tmp_path / "s", output=tmp_path / "new", on_event=again.append)
    assert {process.pid for process in training_processes()} <= before
    assert all(event.resumed for event in again)
    assert [(event.job, event.epoch, event.metrics) for event in again] == expected
    assert [model.digest for model in repeated] == [model.digest for model in models]


DRIVER = """
    import sys
    from pathlib import Path
    from components.artifacts import Dataset
    from components.training.cluster.fitting import fit
    from tests.components.training.conftest import make_job
    from tests.components.training.test_cluster import jobs_for_two

    dataset, storage, output, digest = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    fit(jobs_for_two(make_job), Dataset.load(dataset, digest), storage=storage, output=output,
        on_event=lambda event: print(event.kind, event.epoch, flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("everything", [False, True])
def test_a_driver_killed_within_an_epoch_is_continued_by_the_same_call(
    everything: bool, undisturbed: tuple[list[Model], list[Event]], dataset: Dataset, job: Jobs, tmp_path: Path
) -> None:
    """The driver alone, or with every process that it has started: Ray's, the conductor and the workers."""
    storage = tmp_path / "s"
    arguments = [str(dataset.folder), str(storage), str(tmp_path / "o"), dataset.digest]
    driver = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DRIVER), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.startswith("epoch 1"):
            below = psutil.Process(driver.pid).children(recursive=True) if everything else []
            driver.send_signal(signal.SIGKILL)
            for process in below:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            break
    assert driver.wait() == -signal.SIGKILL
    events: list[Event] = []
    models = fit(jobs_for_two(job), dataset, storage=storage, output=tmp_path / "o", on_event=events.append)
    assert_goes_on([event for event in events if event.kind == "epoch"], of=6)
    assert all(same(one, other) for one, other in zip(models, undisturbed[0], strict=True))


@pytest.mark.slow
def test_a_conductor_killed_within_an_epoch_says_so_and_the_same_call_goes_on(
    undisturbed: tuple[list[Model], list[Event]], dataset: Dataset, job: Jobs, tmp_path: Path
) -> None:
    jobs, places = jobs_for_two(job)[:1], {"storage": tmp_path / "s", "output": tmp_path / "o"}

    def kill_in_the_second_epoch(event: Event) -> None:
        if (event.kind, event.epoch) == ("epoch", 1):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if "Conductor" in " ".join(process.cmdline()):
                        process.kill()

    with pytest.raises(
        TrainingError, match=r"(?s)conducts the training died .* start again to go on from the last epoch"
    ):
        fit(jobs, dataset, **places, on_event=kill_in_the_second_epoch)
    events: list[Event] = []
    (model,) = fit(jobs, dataset, **places, on_event=events.append)
    assert_goes_on([event for event in events if event.kind == "epoch"], of=EPOCHS)
    assert same(model, undisturbed[0][0])


ELASTIC = """
    import os, sys
    from pathlib import Path

    from ray.cluster_utils import Cluster

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = machines.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = machines.address

    from components.artifacts import Dataset
    from components.training.cluster import fitting as cluster, starting as cluster_ray
    from tests.components.training.conftest import make_job
    from tests.components.training.test_cluster import EPOCHS, jobs_for_two

    gone = []

    def listen(event):
        if event.kind == "epoch":
            print("epoch", event.epoch, len(event.evenness), event.metrics["train_loss"], flush=True)
        if not gone and (event.kind, event.epoch) == ("epoch", 1):
            gone.append(machines.remove_node(lost, allow_graceful=False))

    dataset, folder, digest = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    (job,) = jobs_for_two(make_job, workers=(1, 2))[:1]
    cluster.fit([job], Dataset.load(dataset, digest), storage=folder / "s", output=folder / "o", on_event=listen)
    cluster_ray.stop()
    machines.shutdown()
"""


@pytest.mark.slow
def test_an_elastic_training_goes_on_when_a_machine_is_lost(
    undisturbed: tuple[list[Model], list[Event]], dataset: Dataset, tmp_path: Path
) -> None:
    """Two machines of one CPU each, as far as Ray knows; one of them dies within the second epoch."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ELASTIC), str(dataset.folder), str(tmp_path), dataset.digest],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = [line.split() for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert [int(epoch) for _, epoch, _, _ in told] == [1, 2, 3]
    compared = [int(figures) for _, _, figures, _ in told]  # two workers are, one is not
    assert (compared[0], compared[-1]) == (1, 0)
    before = [event.metrics["train_loss"] for event in undisturbed[1] if event.kind == "epoch"][:EPOCHS]
    losses = [float(loss) for _, _, _, loss in told]
    assert losses[0] == before[0]
    # The same batches, but augmented and normalised by one worker instead of two.
    assert losses[2] == pytest.approx(before[2], rel=0.25)
    assert load_network(Model.load(tmp_path / "o" / "network-0")) is not None


def test_too_many_workers_are_refused_before_anything_starts(dataset: Dataset, job: Jobs, tmp_path: Path) -> None:
    many = job(training={"workers": 500, "cpus_per_worker": 2, "batch_size": 64})
    with pytest.raises(TrainingError, match=r"room for 500 workers of 2 CPUs, found \d+ CPUs"):
        fit([many], dataset, storage=tmp_path / "s", output=tmp_path / "o")


def test_a_loss_that_is_not_a_number_is_told_and_not_tried_again(dataset: Dataset, job: Jobs, tmp_path: Path) -> None:
    hopeless = job(training={"learning_rate": 1e30, "optimizer": "sgd", "schedule": "constant", "warmup": 0.0})
    with pytest.raises(TrainingError, match=r"network: the loss is not finite in epoch 1, step \d+ \(samples at"):
        fit([hopeless], dataset, storage=tmp_path / "s", output=tmp_path / "o")


def test_a_failure_carries_its_cause_and_what_to_do(dataset: Dataset, job: Jobs, tmp_path: Path) -> None:
    shutil.copytree(dataset.folder, tmp_path / "broken")
    (tmp_path / "broken" / "train-00000.parquet").write_bytes(b"not a table")
    broken = Dataset.load(tmp_path / "broken", dataset.digest)
    with pytest.raises(TrainingError, match=r"(?s)training\.max_failures.*arquet.*start again"):
        fit([job(training={"max_failures": 0})], broken, storage=tmp_path / "s", output=tmp_path / "o")


def test_jobs_that_cannot_share_workers_are_refused(dataset: Dataset, job: Jobs, tmp_path: Path) -> None:
    first = job()
    for second in (job(), replace(job(training={"workers": 2}), name="other")):
        with pytest.raises(ValueError, match="jobs: expected"):
            fit([first, second], dataset, storage=tmp_path / "s", output=tmp_path / "o")


def test_who_was_overtaken_must_not_write(tmp_path: Path) -> None:
    first = claim(tmp_path)
    check_turn(tmp_path, first)
    second = claim(tmp_path)
    check_turn(tmp_path, second)
    with pytest.raises(TrainingError, match="taken this training over"):
        check_turn(tmp_path, first)
