"""The loop against the same training written by hand, against itself after a stop, and against a loss gone wrong."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.artifacts import Dataset, ModelCard, write_model
from components.config import AugmentConfig, NetworkConfig, TrainingConfig
from components.data.reading.decoded import map_split
from components.models.network import save_weights
from components.models.parts.sequence import blocks
from components.tasks import registry as tasks
from components.tasks.network import network_of
from components.tasks.protocol import Batch
from components.training.jobs.job import Event, Job, TrainingError
from components.training.loop import checkpoint
from components.training.loop.loop import LossNotFiniteError, train
from components.training.loop.surroundings import Data
from components.training.loop.validation import validate
from components.training.parallel.replicated import Replicated
from components.training.processes import progress
from components.training.processes.workers import Workers, autocast
from components.training.reading.samples import Split
from components.training.reading.sampling import global_batches, mix

Jobs = Callable[..., Job]
UNCHANGED = AugmentConfig()


class Stopped(Exception):  # noqa: N818
    """What a test raises to stop a training."""


def same(first: nn.Module, second: nn.Module) -> bool:
    """Bitwise equality of two networks' states."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def epochs_of(events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind == "epoch"]


def measure(network: nn.Module, split: Split, config: TrainingConfig, data: Data, workers: Workers) -> dict[str, float]:
    """What `validate` finds, each worker holding the whole network."""
    strategy = Replicated(network, workers, 1, partial(autocast, config, workers.device))
    task = tasks.get("classification")
    return validate(strategy, split, task, batch_size=config.batch_size, card=data.card, workers=workers)


def test_an_epoch_is_what_plain_pytorch_would_have_done(tmp_path: Path, data: Data, job: Jobs) -> None:
    wanted = job(epochs=1, augment=UNCHANGED, training={"weight_decay": 0.05, "label_smoothing": 0.1})
    events: list[Event] = []
    trained = train(wanted, data, tmp_path, on_event=events.append)

    torch.manual_seed(mix("weights", 0))
    network = network_of(tasks.get("classification"), wanted.network, data.card).train()
    groups: list[dict[str, Any]] = [
        {"params": [p for p in network.parameters() if p.ndim > 1], "weight_decay": 0.05},
        {"params": [p for p in network.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01, fused=False, foreach=False)
    batches = global_batches(len(data.train.inputs), 64, seed=0, epoch=1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.01, total_steps=len(batches), pct_start=0.2, cycle_momentum=False
    )
    images = torch.from_numpy(data.train.inputs).permute(0, 3, 1, 2) / 255
    targets = torch.from_numpy(data.train.targets)
    total = 0.0
    for batch in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images[batch]), targets[batch], label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        schedule.step() if schedule.last_epoch + 1 < len(batches) else None
        total += loss.item() * len(batch)

    for name, expected in network.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], expected, rtol=2e-3, atol=2e-5, msg=name)
    metrics = epochs_of(events)[0].metrics
    assert metrics["train_loss"] == pytest.approx(total / len(images), rel=1e-4)
    with torch.no_grad():
        outputs = network.eval()(torch.from_numpy(data.validation.inputs).permute(0, 3, 1, 2) / 255)
    right = (outputs.argmax(1) == torch.from_numpy(data.validation.targets)).float().mean().item()
    assert metrics["validation_accuracy"] == pytest.approx(right)
    expected_loss = F.cross_entropy(outputs, torch.from_numpy(data.validation.targets)).item()
    assert metrics["validation_loss"] == pytest.approx(expected_loss, rel=1e-3)


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"optimizer": "sgd", "ema": 0.9, "gradient_clip": 1.0, "schedule": "cosine"},
        {"precision": "bfloat16", "ema": 0.95},
        {"optimizer": "muon"},
    ],
)
def test_a_training_that_was_stopped_ends_as_if_it_had_not_been(
    tmp_path: Path, data: Data, job: Jobs, training: dict[str, Any]
) -> None:
    wanted = job(epochs=3, training=training)
    events: list[Event] = []
    undisturbed = train(wanted, data, tmp_path / "undisturbed", on_event=events.append)

    def stop_in_the_third_epoch(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        train(wanted, data, tmp_path / "stopped", on_event=stop_in_the_third_epoch)
    torch.manual_seed(99)  # whatever else happened in between
    resumed: list[Event] = []
    continued = train(wanted, data, tmp_path / "stopped", on_event=resumed.append)
    assert [event.epoch for event in epochs_of(resumed)] == [3]
    assert same(undisturbed, continued)
    assert epochs_of(resumed)[0].metrics == epochs_of(events)[2].metrics


@pytest.mark.parametrize(
    ("stop", "trained_again"),
    [
        (("progress", 1), [1, 2, 3]),  # within an epoch: it is begun anew
        (("saving", 1), [1, 2, 3]),  # before anything of it was stored
        (("epoch", 1), [2, 3]),
        (("progress", 2), [2, 3]),
        (("saving", 2), [2, 3]),
        (("epoch", 2), [3]),
        (("saving", 3), [3]),
        (("epoch", 3), []),  # all is done, and handed over again
    ],
)
def test_where_a_training_was_stopped_decides_what_is_trained_again(
    stop: tuple[str, int], trained_again: list[int], tmp_path: Path, data: Data, job: Jobs, monkeypatch: Any
) -> None:
    monkeypatch.setattr(progress, "PROGRESS_SECONDS", 0.0)
    wanted, saved = job(epochs=3), list[int]()
    undisturbed = train(wanted, data, tmp_path / "undisturbed")

    def saving() -> None:
        saved.append(1)
        if stop == ("saving", len(saved)):
            raise Stopped

    def listen(event: Event) -> None:
        if stop == (event.kind, event.epoch):
            raise Stopped

    with pytest.raises(Stopped):
        train(wanted, data, tmp_path / "stopped", on_event=listen, before_saving=saving)
    events: list[Event] = []
    assert same(train(wanted, data, tmp_path / "stopped", on_event=events.append), undisturbed)
    assert [event.epoch for event in epochs_of(events)] == trained_again


def test_a_worker_that_holds_up_the_others_is_named(tmp_path: Path, data: Data, job: Jobs, monkeypatch: Any) -> None:
    monkeypatch.setattr(Replicated, "evenness", lambda self: {"worker_imbalance": 1.5})
    events: list[Event] = []
    train(job(epochs=1), data, tmp_path, on_event=events.append)
    (warning,) = [event.message for event in events if event.kind == "warning"]
    assert "the slowest worker takes 1.50 times as long as the mean" in warning
    assert epochs_of(events)[0].evenness == {"worker_imbalance": 1.5}


def test_memory_maps_train_what_arrays_in_memory_do(tmp_path: Path, data: Data, dataset: Dataset, job: Jobs) -> None:
    splits = ("train", "validation")
    train_split, validation = (map_split(dataset, split, tmp_path / "decoded") for split in splits)
    mapped = replace(data, train=train_split, validation=validation)
    loaded_events, mapped_events = list[Event](), list[Event]()
    one = train(job(), data, tmp_path / "loaded", on_event=loaded_events.append)
    other = train(job(), mapped, tmp_path / "mapped", on_event=mapped_events.append)
    assert same(one, other)
    assert [e.metrics for e in epochs_of(loaded_events)] == [e.metrics for e in epochs_of(mapped_events)]


def test_dropout_goes_on_with_the_randomness_it_had(tmp_path: Path, data: Data, job: Jobs, monkeypatch: Any) -> None:
    task = tasks.get("classification")

    def with_dropout(config: Any, card: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))

    monkeypatch.setattr(task, "network", with_dropout, raising=False)
    undisturbed = train(job(epochs=2), data, tmp_path / "undisturbed")

    def stop(event: Event) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        train(job(epochs=2), data, tmp_path / "stopped", on_event=stop)
    assert same(undisturbed, train(job(epochs=2), data, tmp_path / "stopped"))


def test_a_damaged_checkpoint_costs_an_epoch_and_not_the_result(tmp_path: Path, data: Data, job: Jobs) -> None:
    undisturbed = train(job(), data, tmp_path / "one")
    train(job(), data, tmp_path / "two")
    newest = checkpoint.stored(tmp_path / "two")[-1] / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    events: list[Event] = []
    again = train(job(), data, tmp_path / "two", on_event=events.append)
    assert events[0].kind == "warning"
    assert "damaged" in events[0].message
    assert "epoch 1" in events[0].message
    assert [event.epoch for event in epochs_of(events)] == [2]
    assert same(undisturbed, again)


def test_one_seed_gives_one_network_and_another_seed_another(tmp_path: Path, data: Data, job: Jobs) -> None:
    first = train(job(epochs=1), data, tmp_path / "first")
    again = train(job(epochs=1, name="again"), data, tmp_path / "again")
    other = train(job(epochs=1, seed=1), data, tmp_path / "other")
    assert same(first, again)
    assert not same(first, other)


def test_the_network_learns(tmp_path: Path, data: Data, job: Jobs) -> None:
    events: list[Event] = []
    train(
        job(epochs=10, augment=UNCHANGED, training={"batch_size": 32, "ema": 0.9}),
        data,
        tmp_path,
        on_event=events.append,
    )
    assert epochs_of(events)[-1].metrics["validation_accuracy"] > 0.85
    assert epochs_of(events)[-1].images_per_second > 0


def test_the_settings_of_the_caller_are_left_alone(tmp_path: Path, data: Data, job: Jobs) -> None:
    train(job(epochs=1), data, tmp_path)
    assert not torch.are_deterministic_algorithms_enabled()


def explode_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss of the third step of the second epoch is not a number, the first time it is reached."""
    task = tasks.get("classification")
    learn = task.loss
    steps = 0

    def explode(outputs: Tensor, batch: Batch, label_smoothing: float = 0.0) -> dict[str, Tensor]:
        nonlocal steps
        steps += outputs.requires_grad
        losses = learn(outputs, batch, label_smoothing)
        return {"loss": losses["loss"] * float("nan")} if steps == 10 else losses  # third step of the second epoch

    monkeypatch.setattr(task, "loss", explode, raising=False)


def test_a_loss_that_is_not_a_number_stops_and_says_where(
    tmp_path: Path, data: Data, job: Jobs, monkeypatch: Any
) -> None:
    explode_once(monkeypatch)
    with pytest.raises(LossNotFiniteError, match="network: the loss is not finite in epoch 2, step 3 ") as caught:
        train(job(), data, tmp_path)
    expected = global_batches(len(data.train.inputs), 64, seed=0, epoch=2)[2].tolist()
    assert caught.value.positions == expected
    assert str(expected[0]) in str(caught.value)
    assert [path.name for path in checkpoint.stored(tmp_path)] == ["epoch-00001"]  # the good epoch is kept


def test_a_loss_that_is_not_a_number_can_go_back_and_learn_more_slowly(
    tmp_path: Path, data: Data, job: Jobs, monkeypatch: Any
) -> None:
    explode_once(monkeypatch)
    events: list[Event] = []
    wanted = job(epochs=3, training={"checkpoint_restores": 1, "schedule": "constant", "warmup": 0.0})
    trained = train(wanted, data, tmp_path / "one", on_event=events.append)
    assert [event.epoch for event in epochs_of(events)] == [1, 2, 3]
    assert [event.metrics["learning_rate"] for event in epochs_of(events)] == [0.01, 0.005, 0.005]
    (said,) = [event.message for event in events if event.kind == "warning"]
    assert "not finite in epoch 2, step 3" in said
    assert "0.5 times the learning rate (checkpoint restore 1 of 1)" in said

    # Killed afterwards, it goes on alike.
    checkpoint_of_third = checkpoint.stored(tmp_path / "one")[-1]
    shutil.rmtree(checkpoint_of_third)
    again: list[Event] = []
    assert same(train(wanted, data, tmp_path / "one", on_event=again.append), trained)
    assert [(event.epoch, event.metrics["learning_rate"]) for event in epochs_of(again)] == [(3, 0.005)]


def test_no_more_checkpoint_restores_than_allowed(tmp_path: Path, data: Data, job: Jobs) -> None:
    hopeless = job(
        training={
            "learning_rate": 1e30,
            "optimizer": "sgd",
            "schedule": "constant",
            "warmup": 0.0,
            "checkpoint_restores": 2,
        }
    )
    events: list[Event] = []
    with pytest.raises(LossNotFiniteError):
        train(hopeless, data, tmp_path, on_event=events.append)
    assert [event.kind for event in events if event.kind != "progress"] == ["warning", "warning"]  # that is timed


def test_a_full_disk_keeps_what_is_stored_and_the_same_call_goes_on(tmp_path: Path, data: Data, job: Jobs) -> None:
    """Files may grow to 1 kB only from the second epoch on: the kernel refuses the write, as a full disk does."""
    undisturbed = train(job(epochs=3), data, tmp_path / "undisturbed")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: Event) -> None:
        if event.kind == "epoch":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))

    try:
        with pytest.raises(TrainingError, match=r"network: epoch 2 could not be stored .* make room there"):
            train(job(epochs=3), data, tmp_path / "full", on_event=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["epoch-00001"]
    assert same(train(job(epochs=3), data, tmp_path / "full"), undisturbed)


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path, data: Data, job: Jobs) -> None:
    network = NetworkConfig(name="residual", arguments={"width": 8, "normalization": "group"})
    settings = {"optimizer": "sgd", "learning_rate": 0.05}
    one, several = (
        train(
            job(network=network, augment=UNCHANGED, training={**settings, "accumulate": count}),
            data,
            tmp_path / f"{count}",
        ).state_dict()
        for count in (1, 5)
    )
    for name, expected in one.items():
        torch.testing.assert_close(several[name], expected, rtol=1e-3, atol=1e-5, msg=name)


def test_patience_ends_a_training_and_returns_its_best_epoch(tmp_path: Path, data: Data, job: Jobs) -> None:
    # A rate at which accuracy goes up and down.
    settings = {"learning_rate": 0.2, "schedule": "constant", "warmup": 0.0, "patience": 2, "ema": 0.5}
    wanted = job(epochs=30, training=settings)
    events: list[Event] = []
    trained = train(wanted, data, tmp_path / "one", on_event=events.append)
    accuracy = [event.metrics["validation_accuracy"] for event in epochs_of(events)]
    best = int(np.argmax(accuracy)) + 1
    assert len(accuracy) == best + 2 < 30
    split = Split(data.validation, torch.device("cpu"))
    assert measure(trained, split, wanted.training, data, Workers())["validation_accuracy"] == accuracy[best - 1]

    def stop(event: Event) -> None:
        if event.kind == "epoch" and event.epoch == best + 1:
            raise Stopped

    with pytest.raises(Stopped):
        train(wanted, data, tmp_path / "stopped", on_event=stop)
    assert same(train(wanted, data, tmp_path / "stopped"), trained)


def test_frozen_features_stay_as_they_were_trained(tmp_path: Path, data: Data, job: Jobs) -> None:
    first = train(job(epochs=1), data, tmp_path / "first")
    card = ModelCard(
        name="first",
        task="classification",
        network=job().network,
        classes=data.card.classes,
        input=data.card.input,
        data="",
        seed=0,
        parents=(),
    )
    write_model(tmp_path / "model", card, lambda folder: save_weights(first, folder))
    network = job().network.model_copy(update={"pretrained": f"model:{tmp_path / 'model'}"})
    settings = {"transfer": {"freeze": "features", "unfreeze": 1.0}, "weight_decay": 0.1}
    wanted = job(epochs=2, network=network, training=settings)
    events: list[Event] = []
    states: list[dict[str, Tensor]] = []

    def keep(event: Event) -> None:
        events.append(event)
        if event.kind == "epoch":
            found, _ = checkpoint.latest(tmp_path / "second")
            assert found is not None
            states.append({n.removeprefix("network/"): v for n, v in found.tensors.items() if n.startswith("network/")})

    train(wanted, data, tmp_path / "second", on_event=keep)
    (note,) = [event.message for event in events if event.kind == "note"]
    assert note.startswith("pretrained: 100% of the features")
    before = first.state_dict()
    changed = [{name for name in before if not torch.equal(state[name], before[name])} for state in states]
    assert {name.split(".")[0] for name in changed[0]} == {"head"}
    last_block = {name for name in changed[1] if name.startswith("features.")}
    assert last_block
    assert {name.split(".")[1] for name in last_block} == {blocks(first)[-1][0].split(".")[1]}


def test_a_checkpoint_of_other_workers_is_refused(tmp_path: Path, data: Data, job: Jobs) -> None:
    train(job(epochs=1), data, tmp_path)
    facts = checkpoint.stored(tmp_path)[0] / "state.json"
    facts.write_text(facts.read_text().replace('"workers": 1', '"workers": 2'))
    with pytest.raises(TrainingError, match="2 workers"):
        train(job(epochs=2), data, tmp_path)


def test_validation_shared_by_workers_measures_what_one_measures(data: Data, job: Jobs) -> None:
    torch.manual_seed(0)
    task, config = tasks.get("classification"), job(training={"batch_size": 16}).training
    network = network_of(task, job().network, data.card).eval()
    split = Split(data.validation, torch.device("cpu"))
    alone = measure(network, split, config, data, Workers())
    sent: dict[int, Any] = {}

    class Recorded(Workers):
        def gather(self, value: Any) -> list[Any]:
            sent[self.rank] = value
            if len(sent) < self.count:
                raise Stopped  # the others have not answered yet
            return [sent[rank] for rank in sorted(sent)]

    for rank in (2, 1):
        with pytest.raises(Stopped):
            measure(network, split, config, data, Recorded(rank, 3))
    together = measure(network, split, config, data, Recorded(0, 3))
    assert together == pytest.approx(alone, rel=1e-6)
    assert together["validation_accuracy"] == alone["validation_accuracy"]


def test_progress_is_told_at_most_twice_a_second(tmp_path: Path, data: Data, job: Jobs) -> None:
    events: list[Event] = []
    train(job(epochs=1, training={"batch_size": 2}), data, tmp_path, on_event=events.append)
    progress = [event for event in events if event.kind == "progress"]
    assert len(progress) <= 2 * epochs_of(events)[0].seconds
    assert all(0 < event.step <= event.steps == 200 for event in progress)
    assert np.isfinite([event.metrics["train_loss"] for event in progress]).all()


def test_every_kind_of_task_is_trained_by_this_loop(tmp_path: Path, data: Data, job: Jobs) -> None:
    masks = replace(
        data,
        card=data.card.model_copy(update={"task": "segmentation", "classes": ("background", "ink")}),
        train=replace(data.train, targets=(data.train.inputs[..., 0] > 100).astype(np.uint8)),
        validation=replace(data.validation, targets=(data.validation.inputs[..., 0] > 100).astype(np.uint8)),
    )
    network = job().network.model_copy(update={"name": "unet", "arguments": {"width": 4}})
    events: list[Event] = []
    train(job(task="segmentation", network=network, epochs=3), masks, tmp_path, on_event=events.append)
    assert epochs_of(events)[-1].metrics["validation_mean_iou"] > 0.7
    assert "train_dice_loss" in epochs_of(events)[-1].metrics


def test_masks_of_which_a_half_is_ignored_are_learnt_from_the_other_half(tmp_path: Path, data: Data, job: Jobs) -> None:
    # given masks whose left half is ignored
    record = {"task": "segmentation", "classes": ("background", "ink"), "target": {"kind": "mask", "ignore": 255}}
    parts = {}
    for split in ("train", "validation"):
        samples = getattr(data, split)
        masks = (samples.inputs[..., 0] > 100).astype(np.uint8)
        masks[:, :, : masks.shape[2] // 2] = 255
        parts[split] = replace(samples, targets=masks)
    ignoring = replace(data, card=data.card.model_copy(update=record), **parts)
    # when a network is trained, with pictures that are moved
    network = job().network.model_copy(update={"name": "unet", "arguments": {"width": 4}})
    wanted = job(task="segmentation", network=network, epochs=2, augment=AugmentConfig(crop=1))
    events: list[Event] = []
    train(wanted, ignoring, tmp_path, on_event=events.append)
    # then it learns, and is watched on, the other half
    told = epochs_of(events)[-1].metrics
    assert np.isfinite([told["train_loss"], told["validation_loss"]]).all()
    assert told["validation_mean_iou"] > 0.5
