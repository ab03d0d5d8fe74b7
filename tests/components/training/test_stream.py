"""Streamed data against the same data in memory, against itself after a stop, and through Ray Data while the workers
hold every CPU."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from components.artifacts import Dataset
from components.config import AugmentConfig, ConfigurationError, ImbalanceConfig, TrainingConfig
from components.data.reading import windows
from components.data.reading.loading import load_split
from components.models.network import load_network
from components.tasks import registry as tasks
from components.tasks.protocol import Batch
from components.training.cluster.conductor import Plan, data_of
from components.training.cluster.fitting import fit
from components.training.jobs.job import Event, Job, TrainingError
from components.training.loop.loop import LossNotFiniteError, train
from components.training.loop.surroundings import Data
from components.training.processes.workers import Workers
from components.training.reading import stream
from components.training.reading.samples import Part, Split
from components.training.reading.sampling import Epochs
from components.training.reading.stream import Stream, Streamed, way

Jobs = Callable[..., Job]
CPU = torch.device("cpu")


class Stopped(Exception):  # noqa: N818
    """What a test raises to stop a training."""


@pytest.fixture(scope="session")
def shards(data: Data, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The digits in shards of 150 rows and row groups of 40, so that windows, shards and workers' runs cross."""
    folder = tmp_path_factory.mktemp("shards")
    for split in ("train", "validation"):
        table = dataset.table(split)  # type: ignore[arg-type]
        for number, start in enumerate(range(0, len(table), 150)):
            path = folder / f"{split}-{number:05d}.parquet"
            pq.write_table(table.slice(start, 150), path, row_group_size=40)
    (folder / "dataset.json").write_text(data.card.to_json())
    return Dataset.load(folder, dataset.digest)


@pytest.fixture
def small_windows(shards: Dataset, monkeypatch: pytest.MonkeyPatch) -> int:
    """Windows of three row groups, blocks of 25 rows."""
    monkeypatch.setattr(windows, "BLOCK_BYTES", 25 * 72)
    return 3 * max(group.bytes for group in windows.row_groups(shards, "train"))


def positions(parts: list[Part]) -> list[int]:
    return [int(at) for part in parts for at in part.positions]


def streamed(data: Data, shards: Dataset) -> Data:
    return replace(data, train=Stream(shards))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_epoch_is_every_sample_once_in_steps_as_large_as_those_in_memory(
    data: Data, shards: Dataset, small_windows: int, count: int
) -> None:
    epochs = Epochs(2, len(data.train.inputs), 37, seed=4)
    seen: list[int] = []
    for rank in range(count):
        workers = Workers(rank, count)
        ours = list(Streamed(Stream(shards), CPU, small_windows).epoch(epochs, 1, workers.rank, workers.count))
        theirs = list(Split(data.train, CPU).epoch(epochs, 1, workers.rank, workers.count))
        assert [(part.whole, len(part.positions)) for part in ours] == [(p.whole, len(p.positions)) for p in theirs]
        for part in ours:
            expected = Split(data.train, CPU).batch(part.positions)
            assert torch.equal(part.batch.inputs, expected.inputs)
            assert torch.equal(part.batch.targets, expected.targets)
        seen += positions(ours)
    assert sorted(seen) == list(range(len(data.train.inputs)))


def test_an_epoch_is_the_same_whenever_it_is_read(data: Data, shards: Dataset, small_windows: int) -> None:
    epochs, workers = Epochs(3, len(data.train.inputs), 64, seed=0), Workers()
    through = Streamed(Stream(shards), CPU, small_windows)
    all_of_them = [positions(list(through.epoch(epochs, epoch, workers.rank, workers.count))) for epoch in (1, 2, 3)]
    assert len({tuple(order) for order in all_of_them}) == 3
    assert positions(list(through.epoch(epochs, 2, workers.rank, workers.count))) == all_of_them[1]  # again
    fresh = Streamed(Stream(shards), CPU, small_windows)
    assert positions(list(fresh.epoch(epochs, 3, workers.rank, workers.count))) == all_of_them[2]  # as after a kill
    begun = fresh.epoch(epochs, 2, workers.rank, workers.count)
    next(begun)
    begun.close()  # stopped within an epoch
    assert positions(list(fresh.epoch(epochs, 2, workers.rank, workers.count))) == all_of_them[1]
    other = Epochs(3, len(data.train.inputs), 64, seed=1)
    assert positions(list(fresh.epoch(other, 1, workers.rank, workers.count))) != all_of_them[0]


def test_no_epoch_is_longer_than_what_is_taken_up_at_once(
    data: Data, shards: Dataset, small_windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs, workers = Epochs(4, len(data.train.inputs), 64, seed=0), Workers()
    at_once = Streamed(Stream(shards), CPU, small_windows)
    expected = [positions(list(at_once.epoch(epochs, epoch, workers.rank, workers.count))) for epoch in range(1, 5)]
    monkeypatch.setattr(stream, "MOST_PIECES", 7)  # an epoch has 4: two at a time
    in_parts = Streamed(Stream(shards), CPU, small_windows)
    assert [
        positions(list(in_parts.epoch(epochs, epoch, workers.rank, workers.count))) for epoch in range(1, 5)
    ] == expected


def test_samples_are_named_by_their_positions(data: Data, shards: Dataset) -> None:
    wanted = np.array([399, 0, 151, 150, 0])
    assert Streamed(Stream(shards), CPU).names(wanted) == data.train.ids[wanted].tolist()
    assert Split(data.train, CPU).names(wanted) == data.train.ids[wanted].tolist()


def test_labels_are_known_without_the_pictures(data: Data, shards: Dataset) -> None:
    assert np.array_equal(Stream(shards).targets, data.train.targets)


@pytest.mark.parametrize("sampling", ["over", "under", "smote"])
def test_sampling_by_class_is_refused(data: Data, shards: Dataset, job: Jobs, tmp_path: Path, sampling: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"(?s)imbalance\.sampling.*received {sampling}.*imbalance\.loss"):
        train(job(training={"imbalance": {"sampling": sampling}}), streamed(data, shards), tmp_path)


def test_a_balanced_loss_can_be_streamed(data: Data, shards: Dataset, job: Jobs, tmp_path: Path) -> None:
    wanted = job(epochs=1, training={"imbalance": ImbalanceConfig(loss="weighted")})
    events: list[Event] = []
    train(wanted, streamed(data, shards), tmp_path, on_event=events.append)
    assert np.isfinite(events[-1].metrics["train_loss"])


def test_the_network_learns_from_a_stream(data: Data, shards: Dataset, job: Jobs, tmp_path: Path) -> None:
    events: list[Event] = []
    wanted = job(epochs=10, augment=AugmentConfig(), training={"batch_size": 32, "ema": 0.9})
    train(wanted, streamed(data, shards), tmp_path, on_event=events.append)
    last = [event for event in events if event.kind == "epoch"][-1]
    assert last.metrics["validation_accuracy"] > 0.85  # what it reaches in memory
    assert 0 < last.waiting < last.seconds


def test_a_streamed_training_that_was_stopped_ends_as_if_it_had_not_been(
    data: Data, shards: Dataset, job: Jobs, tmp_path: Path
) -> None:
    source = streamed(data, shards)
    undisturbed = train(job(epochs=3), source, tmp_path / "undisturbed")

    def stop_in_the_third_epoch(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train(job(epochs=3), source, tmp_path / "stopped", on_event=stop_in_the_third_epoch)
    assert same(undisturbed, train(job(epochs=3), source, tmp_path / "stopped"))


def test_a_stream_does_not_go_on_where_memory_maps_stopped(
    data: Data, shards: Dataset, job: Jobs, tmp_path: Path
) -> None:
    train(job(epochs=1), data, tmp_path)
    with pytest.raises(TrainingError, match=r"data that is mapped.*received data that is streamed"):
        train(job(epochs=2), streamed(data, shards), tmp_path)


def test_a_loss_that_is_not_a_number_names_streamed_samples(
    data: Data, shards: Dataset, job: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = tasks.get("classification")
    learn = task.loss
    steps = 0

    def explode(outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        nonlocal steps
        steps += outputs.requires_grad
        losses = learn(outputs, batch, label_smoothing)
        return {"loss": losses["loss"] * float("nan")} if steps == 3 else losses

    monkeypatch.setattr(task, "loss", explode, raising=False)
    with pytest.raises(LossNotFiniteError) as caught:
        train(job(), streamed(data, shards), tmp_path)
    epochs = Epochs(2, len(data.train.inputs), 64, seed=0)
    expected = list(Streamed(Stream(shards), CPU).epoch(epochs, 1, 0, 1))[2].positions
    assert caught.value.positions == expected.tolist()
    assert ", ".join(data.train.ids[expected[:16]]) in str(caught.value)


@pytest.mark.parametrize(
    ("reading", "memory", "expected"),
    [
        ("auto", 2 * 400 * 72, "mapped"),
        ("auto", 2 * 400 * 72 - 2, "streamed"),
        ("mapped", 1, "mapped"),
        ("streamed", 2**60, "streamed"),
    ],
)
def test_the_way_is_chosen_by_memory_unless_it_is_configured(
    shards: Dataset, monkeypatch: pytest.MonkeyPatch, reading: str, memory: int, expected: str
) -> None:
    monkeypatch.setattr(stream, "memory", lambda: memory)  # 400 samples of 64 bytes and an int64
    assert way(TrainingConfig.model_validate({"reading": reading}), shards, Workers()) == expected


def test_a_worker_says_that_it_streams_where_memory_decided(
    shards: Dataset, job: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "memory", lambda: 1000)
    plan = Plan((), shards.folder, shards.digest, tmp_path, tmp_path / "decoded", "", 1, 1, False, 0)
    told: list[str] = []
    found = data_of(plan, job(), shards, Workers(), told.append)
    assert isinstance(found.train, Stream)
    assert len(told) == 1
    assert "training.reading" in told[0]
    data_of(plan, job(training={"reading": "streamed"}), shards, Workers(), told.append)
    found = data_of(plan, job(training={"reading": "mapped"}), shards, Workers(), told.append)
    assert np.array_equal(found.train.inputs, load_split(shards, "train").inputs)
    assert len(told) == 1


def same(first: nn.Module, second: nn.Module) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- on Ray ---------------------------------------------------------------------------------------------------------


def fitted(job: Job, shards: Dataset, folder: Path, on_event: Callable[[Event], None]) -> nn.Module:
    (model,) = fit([job], shards, storage=folder / "s", output=folder / "o", on_event=on_event)
    return load_network(model)


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.slow
def test_a_worker_that_has_every_cpu_streams_what_the_loop_alone_would(
    data: Data, shards: Dataset, job: Jobs, tmp_path: Path
) -> None:
    import ray

    cpus = int(ray.cluster_resources()["CPU"])
    wanted = job(epochs=3, training={"reading": "streamed", "cpus_per_worker": cpus})
    events: list[Event] = []
    through_ray = fitted(wanted, shards, tmp_path / "ray", events.append)
    told = [event.metrics for event in events if event.kind == "epoch"]

    before = torch.get_num_threads()
    torch.set_num_threads(cpus)
    here: list[Event] = []
    alone = train(wanted, streamed(data, shards), tmp_path / "here", on_event=here.append)
    torch.set_num_threads(before)
    assert told == [event.metrics for event in here if event.kind == "epoch"]
    assert same(through_ray, alone)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_broken_sample_in_the_stream_is_named(shards: Dataset, data: Data, job: Jobs, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in shards.folder.iterdir():
        table = pq.read_table(path) if path.suffix == ".parquet" else None
        if table is None:
            (broken / path.name).write_bytes(path.read_bytes())
            continue
        if path.name == "train-00001.parquet":
            images = table["image"].to_pylist()
            images[3] = b"nothing"
            table = table.set_column(table.column_names.index("image"), "image", pa.array(images))
        pq.write_table(table, broken / path.name)
    wanted = job(training={"reading": "streamed"})
    with pytest.raises(TrainingError, match=r"^digit-0153: is text, not a picture"):
        fit([wanted], Dataset.load(broken, "broken"), storage=tmp_path / "s", output=tmp_path / "o")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_two_streaming_workers_of_which_one_is_killed_end_as_if_nothing_had_happened(
    shards: Dataset, job: Jobs, tmp_path: Path
) -> None:
    from tests.components.training.test_cluster import training_processes

    settings = {"reading": "streamed", "workers": 2, "batch_size": 4, "max_failures": 1, "learning_rate": 0.003}
    wanted = job(epochs=3, training=settings)
    undisturbed = fitted(wanted, shards, tmp_path / "undisturbed", lambda event: None)
    killed: list[int] = []

    def kill_in_the_second_epoch(event: Event) -> None:
        if not killed and (event.kind, event.epoch) == ("progress", 2):
            victim = training_processes()[-1]
            victim.send_signal(signal.SIGKILL)
            killed.append(victim.pid)

    disturbed = fitted(wanted, shards, tmp_path / "disturbed", kill_in_the_second_epoch)
    assert len(killed) == 1
    assert same(undisturbed, disturbed)
