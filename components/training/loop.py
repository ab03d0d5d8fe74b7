"""The one training loop: any task, any network, one worker or many, and always the same result for the same seed.

A training is a function of its job, its data and the number of workers. After each epoch its state is stored; a
training that is started again goes on from there and ends bitwise equal to one that was never disturbed.
Left to others: processes (`cluster`), files (`checkpoint`), what is minimised (`objectives`) and what is measured
(`validation`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.artifacts import DatasetCard
from components.augment.policy import augment
from components.tasks import registry as tasks
from components.tasks.protocol import Batch, Task
from components.training import checkpoint
from components.training.checkpoint import Checkpoint
from components.training.imbalance import Balance, balance_of
from components.training.job import Event, Job, Listener, TrainingError, ignore
from components.training.objectives import Objective, objective_of
from components.training.optimization import MovingAverage, build_optimizer, rate, set_rate
from components.training.reading import Part, Reading, Samples, Split, Timed
from components.training.sampling import Epochs, Positions, mix
from components.training.smote import linear_head, refit_head
from components.training.stream import Stream
from components.training.validation import channels_last, validate
from components.training.workers import Workers, autocast, deterministic

PROGRESS_SECONDS = 0.5  # between two progress events: what people can follow, and no cost
NAMED = 16  # samples of a step whose loss is not finite that its error names
CHECK_STEPS = 20  # between two looks at the loss: each makes the processor wait for what it has been given


class LossNotFiniteError(TrainingError):
    """The loss is not a number; training on would only spread it."""

    def __init__(self, job: Job, epoch: int, step: int, positions: list[int], names: list[str]) -> None:
        more = ", …" if len(positions) > len(names) else ""
        super().__init__(
            f"{job.name}: the loss is not finite in epoch {epoch}, step {step} (samples at positions "
            f"{', '.join(map(str, positions[: len(names)]))}{more} of the training split, {len(positions)} in all: "
            f"{', '.join(names)}{more}); lower training.learning_rate, set training.gradient_clip, or look at those "
            f"samples"
        )
        self.job, self.epoch, self.step, self.positions = job.name, epoch, step, positions


@dataclass(frozen=True)
class Data:
    """What a job learns from and is watched on."""

    card: DatasetCard
    digest: str
    train: Samples | Stream
    validation: Samples


@dataclass
class State:
    """What changes while a network is trained."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None
    epoch: int  # finished
    history: list[dict[str, Any]]


@dataclass(frozen=True)
class Surroundings:
    """What stays the same."""

    job: Job
    task: Task
    objective: Callable[[int], Objective]  # of an epoch
    balance: Balance | None
    train: Reading
    validation: Split
    card: DatasetCard
    workers: Workers
    epochs: Epochs
    on_event: Listener


def train(
    job: Job,
    data: Data,
    folder: Path,
    *,
    workers: Workers | None = None,
    on_event: Listener = ignore,
    before_saving: Callable[[], None] = lambda: None,
) -> nn.Module:
    """Train the job's network, or go on where `folder` says it stopped; returns it in evaluation mode.

    `folder` holds this job's checkpoints and nothing else. With several workers everybody calls this alike; the first
    one writes and speaks. With `ema` the averaged weights are returned. `before_saving` may raise to stop it all.
    Raises LossNotFiniteError, and TrainingError for a job that cannot be trained on this data.
    """
    workers = workers or Workers()
    with deterministic(workers.device):
        around = _surroundings(job, data, workers, on_event)
        state = _resumed(around, folder)
        while state.epoch < job.epochs:
            record = _epoch(around, state)
            state.epoch += 1
            state.history.append(record)
            _save(around, state, folder, before_saving)
            if workers.first:
                on_event(Event.from_record(job.name, job.epochs, record, resumed=False))
        if state.average is not None:
            state.average.swap(state.network)
    return state.network.eval()


def _surroundings(job: Job, data: Data, workers: Workers, on_event: Listener) -> Surroundings:
    task = tasks.get(job.task)
    precision = functools.partial(autocast, job.training, workers.device)
    train_split: Reading = (
        data.train.read(job, workers.device) if isinstance(data.train, Stream) else Split(data.train, workers.device)
    )
    balance = balance_of(job, task.spec, data.train.targets, data.card.classes)
    epochs = Epochs(job.epochs, len(train_split), job.training.batch_size, job.seed, balance)
    epochs.check(workers.count)
    return Surroundings(
        job=job,
        task=task,
        objective=objective_of(job, task, workers.device, precision, balance),
        balance=balance,
        train=train_split,
        validation=Split(data.validation, workers.device),
        card=data.card,
        workers=workers,
        epochs=epochs,
        on_event=on_event,
    )


def _fresh(around: Surroundings) -> State:
    """The state before the first step: everybody has the same weights, and randomness of their own from then on."""
    job, workers = around.job, around.workers
    torch.manual_seed(mix("weights", job.seed))
    network = around.task.network(job.network, around.card)
    if job.training.imbalance.sampling == "smote":
        linear_head(network, job.network.name)  # said before anything is trained
    network = network.to(workers.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    torch.manual_seed(mix("training", job.seed, workers.rank))
    average = MovingAverage(network, job.training.ema) if job.training.ema is not None else None
    return State(network, build_optimizer(network, job.training), average, epoch=0, history=[])


def _epoch(around: Surroundings, state: State) -> dict[str, Any]:
    """Train one epoch and look at the validation split; returns the epoch's record."""
    started = time.perf_counter()
    parts = Timed(around.train.epoch(around.epochs, state.epoch + 1, around.workers))
    figures = _train_epoch(around, state, parts)
    seconds = time.perf_counter() - started
    around.workers.average_buffers(state.network)
    if state.average is not None:
        state.average.swap(state.network)
    config = around.job.training
    if config.imbalance.sampling == "smote" and state.epoch + 1 == around.job.epochs:
        figures |= _refit_head(around, state.network)
    measured = validate(
        state.network, around.validation, around.task, config=config, card=around.card, workers=around.workers
    )
    if state.average is not None:
        state.average.swap(state.network)
    return {
        "epoch": state.epoch + 1,
        "steps": around.epochs.steps(state.epoch + 1),
        "metrics": {**figures, **measured, "learning_rate": state.optimizer.param_groups[0]["lr"]},
        "images_per_second": around.epochs.size(state.epoch + 1) / seconds,
        "seconds": seconds,
        "waiting": parts.seconds,
    }


def _refit_head(around: Surroundings, network: nn.Module) -> dict[str, float]:
    """SMOTE on the embeddings, once: in the last epoch, on the weights that are returned, before they are stored."""
    if around.balance is None or not isinstance(around.train, Split):  # a stream refuses to be balanced
        return {}
    made = refit_head(
        network,
        linear_head(network, around.job.network.name),
        around.train.batch,
        around.balance,
        batch_size=around.job.training.batch_size,
        label_smoothing=around.job.training.label_smoothing,
        seed=around.job.seed,
        workers=around.workers,
    )
    return {"smote_embeddings": float(made)}


def _train_epoch(around: Surroundings, state: State, shown: Iterable[Part]) -> dict[str, float]:
    """One pass over what is shown of the training split; returns the mean of each part of the loss as `train_…`."""
    job, workers, config = around.job, around.workers, around.job.training
    epoch = state.epoch + 1
    before, steps, total = around.epochs.steps_before(epoch), around.epochs.steps(epoch), around.epochs.total_steps
    objective = around.objective(epoch)
    parameters = [p for p in state.network.parameters() if p.requires_grad]
    network = workers.wrap(state.network)
    parts = _Parts(steps, workers)
    progress = _Progress(around, epoch)
    generator = torch.Generator()
    unchecked: list[Positions] = []
    for step, part in enumerate(shown):
        unchecked.append(part.positions)
        generator.manual_seed(mix("augment", job.seed, epoch, step, workers.rank))
        images, targets = augment(part.batch.images, part.batch.targets, job.augment, generator)
        batch = Batch(channels_last(images), targets)
        with autocast(config, workers.device):
            outputs = network(batch.images)
        losses = objective(outputs.float(), batch)
        # Workers' gradients are averaged: a part that is larger than its fellows must count for more.
        loss = losses["loss"] * (len(part.positions) * workers.count / part.whole)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.gradient_clip is not None:
            nn.utils.clip_grad_norm_(parameters, config.gradient_clip)
        set_rate(state.optimizer, rate(before + step, total, config))
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average is not None:
            state.average.update(state.network, before + step)
        parts.add(step, losses, len(part.positions))
        if (step + 1) % CHECK_STEPS == 0 or step + 1 == steps:
            bad = parts.first_not_finite(step + 1)
            if bad is not None:
                positions = np.concatenate(workers.gather(unchecked[bad - step - 1]))
                names = around.train.names(positions[:NAMED])
                raise LossNotFiniteError(job, epoch, bad + 1, positions.tolist(), names)
            unchecked.clear()
        progress.tell(step + 1, part.whole, losses["loss"])
    return parts.means(around.epochs.size(epoch))


class _Parts:
    """Every step's parts of the loss, kept where they were computed until somebody needs to know."""

    def __init__(self, steps: int, workers: Workers) -> None:
        self.steps, self.workers = steps, workers
        self.values: dict[str, Tensor] = {}
        self.weights = np.zeros(steps)  # samples of this worker

    def add(self, step: int, losses: Mapping[str, Tensor], samples: int) -> None:
        self.weights[step] = samples
        for name, value in losses.items():
            if name not in self.values:
                self.values[name] = torch.zeros(self.steps, device=self.workers.device)
            self.values[name][step] = value.detach()

    def first_not_finite(self, steps: int) -> int | None:
        """The first of the steps at which anybody's loss is not finite; everybody gets the same answer."""
        bad = (~torch.isfinite(self.values["loss"][:steps])).nonzero()
        first = self.workers.smallest(int(bad[0]) if len(bad) else steps)
        return first if first < steps else None

    def means(self, samples: int) -> dict[str, float]:
        """Mean over all workers' samples, as `train_NAME`."""
        sums = {name: float(value.double().cpu().numpy() @ self.weights) for name, value in self.values.items()}
        gathered = self.workers.gather(sums)
        return {f"train_{name}": sum(theirs[name] for theirs in gathered) / samples for name in sums}


class _Progress:
    """At most two "progress" events a second, from the first worker."""

    def __init__(self, around: Surroundings, epoch: int) -> None:
        self.around, self.epoch = around, epoch
        self.started = self.told = time.perf_counter()
        self.images = 0

    def tell(self, step: int, images: int, loss: Tensor) -> None:
        self.images += images
        now = time.perf_counter()
        if not self.around.workers.first or now - self.told < PROGRESS_SECONDS:
            return
        self.told = now
        self.around.on_event(
            Event(
                self.around.job.name,
                "progress",
                epoch=self.epoch,
                epochs=self.around.job.epochs,
                step=step,
                steps=self.around.epochs.steps(self.epoch),
                metrics={"train_loss": float(loss.detach())},
                images_per_second=self.images / (now - self.started),
                seconds=now - self.started,
            )
        )


# -- storing and resuming -------------------------------------------------------------------------------------------


def _save(around: Surroundings, state: State, folder: Path, before_saving: Callable[[], None]) -> None:
    """Everybody's random state goes into the first worker's checkpoint; all wait until it is written."""
    random = around.workers.gather(_random_state(around.workers.device))
    if around.workers.first:
        before_saving()
        settings = state.optimizer.state_dict()
        tensors = {f"network/{name}": value for name, value in state.network.state_dict().items()}
        if state.average is not None:
            tensors |= {f"average/{name}": value for name, value in state.average.values.items()}
        for index, values in settings["state"].items():
            tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
        for rank, states in enumerate(random):
            tensors |= {f"random/{rank}/{name}": value for name, value in states.items()}
        facts = {
            "job": around.job.name,
            "epoch": state.epoch,
            "step": around.epochs.steps_before(state.epoch + 1),
            "workers": around.workers.count,
            "reading": around.train.way,
            "optimizer": settings["param_groups"],
            "history": state.history,
        }
        checkpoint.save(folder, state.epoch, Checkpoint(tensors, facts))
    around.workers.from_first(None)


def _resumed(around: Surroundings, folder: Path) -> State:
    """The state that `folder` holds, or a fresh one. The first worker chooses, so that all read the same."""
    state, workers = _fresh(around), around.workers
    found: Checkpoint | None = None
    if workers.first:
        found, complaints = checkpoint.latest(folder)
        epoch = int(found.facts["epoch"]) if found is not None else 0
        for complaint in complaints:
            message = f"{complaint}; removed, going on after epoch {epoch}"
            around.on_event(Event(around.job.name, "warning", epoch, around.job.epochs, message=message))
    else:
        epoch = 0
    epoch = workers.from_first(epoch)
    if epoch == 0:
        return state
    if found is None:
        found = checkpoint.load(folder / f"epoch-{epoch:05d}")
    _restore(around, state, found)
    return state


def _restore(around: Surroundings, state: State, found: Checkpoint) -> None:
    workers = around.workers
    if found.facts["workers"] != workers.count:
        raise TrainingError(
            f"{around.job.name}: expected to go on with the {found.facts['workers']} workers that its checkpoint was "
            f"trained by, received {workers.count}; use as many, or another storage"
        )
    if (before := found.facts.get("reading", "mapped")) != around.train.way:
        raise TrainingError(
            f"{around.job.name}: expected to go on with data that is {before}, as when its checkpoint was written, "
            f"received data that is {around.train.way}, in another order; go on where there is as much memory as there "
            f"was, or use another storage"
        )
    state.network.load_state_dict(_under(found.tensors, "network"))
    if state.average is not None:
        for name, value in _under(found.tensors, "average").items():
            state.average.values[name].copy_(value)
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    stored = {
        index: {
            name: _laid_out(value, parameter) for name, value in _under(found.tensors, f"optimizer/{index}").items()
        }
        for index, parameter in enumerate(parameters)
    }
    groups = [{**group, **_tuples(group)} for group in found.facts["optimizer"]]
    state.optimizer.load_state_dict({"state": stored, "param_groups": groups})
    random = _under(found.tensors, f"random/{workers.rank}")
    torch.set_rng_state(random["cpu"])
    if "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"], workers.device)
    state.epoch = int(found.facts["epoch"])
    state.history = list(found.facts["history"])


def _random_state(device: torch.device) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}


def _laid_out(value: Tensor, parameter: Tensor) -> Tensor:
    """The tensor with its parameter's strides: a fused optimizer walks both by address, and files are row-major."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _tuples(group: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no tuples; AdamW's betas are one."""
    return {name: tuple(value) for name, value in group.items() if isinstance(value, list) and name != "params"}
