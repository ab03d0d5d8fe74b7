"""The one training loop: any task, any network, one worker or many, and always the same result for the same seed.

A training is a function of its job, its data and the number of workers. After each epoch its state is stored; a
training that is started again goes on from there and ends bitwise equal to one that was never disturbed.
Left to others: processes (`cluster`), how the network lies on them (`parallel`), what is stored (`state`,
`checkpoint`), what is minimised (`objectives`) and what is measured (`validation`).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

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
from components.training.parallel.strategy import Strategy, strategy_of
from components.training.progress import Losses, Progress
from components.training.reading import Part, Reading, Samples, Split, Timed
from components.training.rollback import Rollbacks
from components.training.sampling import Epochs, Positions, mix
from components.training.smote import linear_head, refit_head
from components.training.state import State, restore, stored
from components.training.stream import Stream
from components.training.validation import channels_last, validate
from components.training.workers import Workers, autocast, deterministic

NAMED = 16  # samples of a step whose loss is not finite that its error names
CHECK_STEPS = 20  # between two looks at the loss: each makes the processor wait for what it has been given
UNEVEN = 1.25  # times the mean of all workers that the slowest may take before it is spoken of


class LossNotFiniteError(TrainingError):
    """The loss is not a number; training on would only spread it."""

    def __init__(self, job: Job, epoch: int, step: int, positions: list[int], names: list[str]) -> None:
        more = ", …" if len(positions) > len(names) else ""
        super().__init__(
            f"{job.name}: the loss is not finite in epoch {epoch}, step {step} (samples at positions "
            f"{', '.join(map(str, positions[: len(names)]))}{more} of the training split, {len(positions)} in all: "
            f"{', '.join(names)}{more}); lower training.learning_rate, set training.gradient_clip, let "
            f"training.rollbacks go back and lower it, or look at those samples"
        )
        self.job, self.epoch, self.step, self.positions = job.name, epoch, step, positions


@dataclass(frozen=True)
class Data:
    """What a job learns from and is watched on."""

    card: DatasetCard
    digest: str
    train: Samples | Stream
    validation: Samples


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
    one writes and speaks, and where the strategy cuts the network up, only it gets the whole one back. With `ema` the
    averaged weights are returned. `before_saving` may raise to stop it all.
    Raises LossNotFiniteError, and TrainingError for a job that cannot be trained on this data.
    """
    workers = workers or Workers()
    with deterministic(workers.device):
        around = _surroundings(job, data, workers, on_event)
        rollbacks = Rollbacks(folder, job.training.rollbacks)
        while True:
            state = _resumed(around, folder)
            try:
                _run(around, state, folder, before_saving, rollbacks.factor)
                return _finished(around, state)
            except LossNotFiniteError as error:
                rollbacks.take(error, workers)
                if workers.first:
                    on_event(Event(job.name, "warning", state.epoch, job.epochs, message=rollbacks.says(error)))


def _surroundings(job: Job, data: Data, workers: Workers, on_event: Listener) -> Surroundings:
    task = tasks.get(job.task)
    precision = functools.partial(autocast, job.training, workers.device)
    train_split: Reading = (
        data.train.read(job, workers.device) if isinstance(data.train, Stream) else Split(data.train, workers.device)
    )
    balance = balance_of(job, task.spec, data.train.targets, data.card.classes)
    return Surroundings(
        job=job,
        task=task,
        objective=objective_of(job, task, workers.device, precision, balance),
        balance=balance,
        train=train_split,
        validation=Split(data.validation, workers.device),
        card=data.card,
        workers=workers,
        on_event=on_event,
    )


def _fresh(around: Surroundings) -> State:
    """The state before the first step: everybody has the same weights, and randomness of their own from then on."""
    job, workers = around.job, around.workers
    torch.manual_seed(mix("weights", job.seed))
    network = _network(around).train()
    sample = channels_last(around.validation.batch(np.zeros(1, dtype=np.int64)).images)
    precision = functools.partial(autocast, job.training, workers.device)
    strategy = strategy_of(network, sample, job.training, workers, precision)
    torch.manual_seed(mix("training", job.seed, workers.rank))
    average = MovingAverage(strategy.parameters(), job.training.ema) if job.training.ema is not None else None
    return State(strategy, build_optimizer(strategy.parameters(), job.training), average, epoch=0, history=[])


def _network(around: Surroundings) -> nn.Module:
    job = around.job
    network = around.task.network(job.network, around.card)
    if job.training.imbalance.sampling == "smote":
        linear_head(network, job.network.name)  # said before anything is trained
    return network.to(around.workers.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _epochs(around: Surroundings, strategy: Strategy) -> Epochs:
    job = around.job
    batch_size = job.training.batch_size
    epochs = Epochs(job.epochs, len(around.train), batch_size, job.seed, around.balance, strategy.quantum)
    epochs.check(strategy.parts)
    return epochs


def _run(
    around: Surroundings, state: State, folder: Path, before_saving: Callable[[], None], rate_factor: float
) -> None:
    """All the epochs that are left, each of them stored."""
    job, workers = around.job, around.workers
    epochs = _epochs(around, state.strategy)
    while state.epoch < job.epochs:
        record = _epoch(around, state, epochs, rate_factor)
        state.epoch += 1
        state.history.append(record)
        _save(around, state, folder, before_saving)
        if workers.first:
            around.on_event(Event.from_record(job.name, job.epochs, record, resumed=False))


def _epoch(around: Surroundings, state: State, epochs: Epochs, rate_factor: float) -> dict[str, Any]:
    """Train one epoch and look at the validation split; returns the epoch's record."""
    strategy, workers = state.strategy, around.workers
    epoch = state.epoch + 1
    started = time.perf_counter()
    parts = Timed(around.train.epoch(epochs, epoch, strategy.part, strategy.parts))
    figures = _train_epoch(around, state, epochs, parts, rate_factor)
    seconds = time.perf_counter() - started
    evenness = _evenness(around, strategy, epoch)
    strategy.average_buffers()
    if state.average is not None:
        state.average.swap(strategy.parameters())
    config = around.job.training
    if config.imbalance.sampling == "smote" and epoch == around.job.epochs:
        figures |= _refit_head(around, strategy.network)
    measured = validate(
        strategy, around.validation, around.task, batch_size=config.batch_size, card=around.card, workers=workers
    )
    if state.average is not None:
        state.average.swap(strategy.parameters())
    return {
        "epoch": epoch,
        "steps": epochs.steps(epoch),
        "metrics": {**figures, **measured, "learning_rate": state.optimizer.param_groups[0]["lr"]},
        "images_per_second": epochs.size(epoch) / seconds,
        "seconds": seconds,
        "waiting": parts.seconds,
        "evenness": evenness,
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


def _train_epoch(
    around: Surroundings, state: State, epochs: Epochs, shown: Iterable[Part], rate_factor: float
) -> dict[str, float]:
    """One pass over what is shown of the training split; returns the mean of each part of the loss as `train_…`."""
    job, workers, config, strategy = around.job, around.workers, around.job.training, state.strategy
    epoch = state.epoch + 1
    before, steps, total = epochs.steps_before(epoch), epochs.steps(epoch), epochs.total_steps
    objective = around.objective(epoch)
    strategy.begin_epoch()
    losses = Losses(steps, workers)
    progress = Progress(job, epoch, steps, workers, around.on_event)
    generator = torch.Generator()
    unchecked: list[Positions] = []
    for step, part in enumerate(shown):
        unchecked.append(part.positions)
        generator.manual_seed(mix("augment", job.seed, epoch, step, strategy.part))
        images, targets = augment(part.batch.images, part.batch.targets, job.augment, generator)
        batch = Batch(channels_last(images), targets)
        losses.add(step, strategy.backward(batch, objective, part.whole), len(part.positions))
        if config.gradient_clip is not None:
            strategy.clip(config.gradient_clip)
        set_rate(state.optimizer, rate_factor * rate(before + step, total, config))
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average is not None:
            state.average.update(strategy.parameters(), before + step)
        if (step + 1) % CHECK_STEPS == 0 or step + 1 == steps:
            bad = losses.first_not_finite(step + 1)
            if bad is not None:
                positions = np.concatenate(workers.gather(unchecked[bad - step - 1]))
                names = around.train.names(positions[:NAMED])
                raise LossNotFiniteError(job, epoch, bad + 1, positions.tolist(), names)
            unchecked.clear()
        progress.tell(step + 1, part.whole, losses)
    return losses.means(epochs.size(epoch))


def _evenness(around: Surroundings, strategy: Strategy, epoch: int) -> dict[str, float]:
    """How evenly the workers shared the work; said aloud where one of them holds up the others."""
    found = strategy.evenness()
    uneven = found.get("worker_imbalance", 1.0)
    if uneven > UNEVEN and around.workers.first:
        said = (
            f"the slowest worker takes {uneven:.2f} times as long as the mean of all, and the others wait for it; give "
            f"training.cpus_per_worker the same everywhere, or leave that machine out"
        )
        around.on_event(Event(around.job.name, "warning", epoch, around.job.epochs, message=said))
    return found


# -- storing, resuming and handing over -----------------------------------------------------------------------------


def _save(around: Surroundings, state: State, folder: Path, before_saving: Callable[[], None]) -> None:
    """Everybody's part of the state goes into the first worker's checkpoint; all wait until it is written."""
    found = stored(state, around.workers)
    if found is not None:
        before_saving()
        facts = {"job": around.job.name, "reading": around.train.way}
        try:
            checkpoint.save(folder, state.epoch, Checkpoint(found.tensors, {**facts, **found.facts}))
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"{around.job.name}: epoch {state.epoch} could not be stored in {folder}: {error}. The epochs before it "
                f"are kept: make room there and start again, and training goes on from epoch {state.epoch - 1}"
            ) from error
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
    _check(around, found)
    restore(state, found, workers, around.job.seed)
    return state


def _check(around: Surroundings, found: Checkpoint) -> None:
    """Raise TrainingError where going on from the checkpoint would not be what it was to become."""
    before, now = int(found.facts["workers"]), around.workers.count
    if before != now and not around.job.training.elastic:
        raise TrainingError(
            f"{around.job.name}: expected to go on with the {before} workers that its checkpoint was trained by, "
            f"received {now}; use as many, or another storage, or say which numbers will do (training.workers: [1, 4])"
        )
    if (way := found.facts.get("reading", "mapped")) != around.train.way:
        raise TrainingError(
            f"{around.job.name}: expected to go on with data that is {way}, as when its checkpoint was written, "
            f"received data that is {around.train.way}, in another order; go on where there is as much memory as there "
            f"was, or use another storage"
        )


def _finished(around: Surroundings, state: State) -> nn.Module:
    """The network that was asked for, in evaluation mode: whole, on the first worker at least."""
    strategy = state.strategy
    if state.average is not None:
        state.average.swap(strategy.parameters())
    network = strategy.network
    if around.workers.count > 1 and around.job.training.strategy != "data":
        weights = strategy.whole(strategy.state())
        if around.workers.first:
            network = _network(around)
            network.load_state_dict(weights)
    return network.eval()
