"""The one training loop: any task, any network, one worker or many, and always the same result for the same seed.

A training is a function of its job, its data and the number of workers. After each epoch its state is stored; a
training that is started again goes on from there and ends bitwise equal to one that was never disturbed.
Left to others: processes (`cluster`), how the network lies on them (`parallel`), what is stored (`state`,
`checkpoint`), what is minimised (`objectives`) and what is measured (`validation`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from components.augment.policy import augment
from components.models.preprocessing import laid_out
from components.tasks.protocol import Batch
from components.training.jobs.job import Event, Job, Listener, TrainingError, ignore
from components.training.loop import snapshots
from components.training.loop.averaging import refit_statistics
from components.training.loop.restoring import CheckpointRestores
from components.training.loop.resuming import finished, resumed, save
from components.training.loop.schedule import rate_at
from components.training.loop.smote import linear_head, refit_head
from components.training.loop.state import State
from components.training.loop.surroundings import Data, Surroundings, surroundings_of
from components.training.loop.validation import validate
from components.training.optimizing.optimization import set_rate
from components.training.optimizing.stopping import best_epoch, stop
from components.training.optimizing.transfer import begin_epoch
from components.training.parallel.strategy import Strategy
from components.training.processes.progress import Losses, Progress
from components.training.processes.workers import Workers, deterministic
from components.training.reading.samples import Part, Split, Timed
from components.training.reading.sampling import Epochs, Positions, mix

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
            f"training.checkpoint_restores lower it and go on from a checkpoint, or look at those samples"
        )
        self.job, self.epoch, self.step, self.positions = job.name, epoch, step, positions


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
        around = surroundings_of(job, data, folder, workers, on_event)
        restores = CheckpointRestores(folder, job.training.checkpoint_restores)
        while True:
            state = resumed(around, folder)
            try:
                _run(around, state, folder, before_saving, restores.factor)
                if around.answers is not None and workers.first:
                    said = around.answers.says(state.epoch)
                    on_event(Event(job.name, "note", state.epoch, job.epochs, message=said))
                return finished(around, state)
            except LossNotFiniteError as error:
                restores.take(error, workers)
                if workers.first:
                    on_event(Event(job.name, "warning", state.epoch, job.epochs, message=restores.says(error)))


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
    while state.epoch < job.epochs and not _stopped(around, state):
        record = _epoch(around, state, epochs, rate_factor)
        state.epoch += 1
        state.history.append(record)
        _keep_best(around, state)
        snapshots.keep(around, state, folder)
        save(around, state, folder, before_saving)
        if workers.first:
            around.on_event(Event.from_record(job.name, job.epochs, record, resumed=False))


def _epoch(around: Surroundings, state: State, epochs: Epochs, rate_factor: float) -> dict[str, Any]:
    """Train one epoch and look at the validation split; returns the epoch's record."""
    strategy, workers = state.strategy, around.workers
    epoch = state.epoch + 1
    started = time.perf_counter()
    if around.answers is not None:
        around.answers.begin_epoch(epoch)
    parts = Timed(around.train.epoch(epochs, epoch, strategy.part, strategy.parts))
    figures = _train_epoch(around, state, epochs, parts, rate_factor)
    seconds = time.perf_counter() - started
    evenness = _evenness(around, strategy, epoch)
    strategy.average_buffers()
    config = around.job.training
    last_rate = rate_factor * rate_at(around.job, epochs, epoch, epochs.steps(epoch) - 1)
    with state.averaged():
        if config.imbalance.sampling == "smote" and epoch == around.job.epochs:
            figures |= _refit_head(around, strategy.network)
        if around.job.average and epoch == around.job.epochs and isinstance(around.train, Split):
            refit_statistics(strategy, around.train, config.batch_size)
        measured = validate(
            strategy,
            around.validation,
            around.task,
            batch_size=config.batch_size,
            card=around.card,
            workers=workers,
            memory_format=config.memory_format,
        )
    return {
        "epoch": epoch,
        "steps": epochs.steps(epoch),
        "metrics": {**figures, **measured, "learning_rate": last_rate},
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
    begin_epoch(strategy.network, strategy.parameters(), state.blocks, config.transfer, epoch)
    strategy.begin_epoch()
    losses = Losses(steps, workers)
    progress = Progress(job, epoch, steps, workers, around.on_event)
    generator = torch.Generator()
    unchecked: list[Positions] = []
    for step, part in enumerate(shown):
        unchecked.append(part.positions)
        if around.answers is not None:
            batch = around.answers.batch(part)
        else:
            generator.manual_seed(mix("augment", job.seed, epoch, step, strategy.part))
            batch = Batch(*augment(part.batch.inputs, part.batch.targets, job.augment, generator, around.move))
        batch = replace(batch, inputs=laid_out(batch.inputs, config.memory_format), weights=part.batch.weights)
        losses.add(step, strategy.backward(batch, objective, part.whole), len(part.positions))
        if config.gradient_clip is not None:
            strategy.clip(config.gradient_clip)
        set_rate(state.optimizer, rate_factor * rate_at(job, epochs, epoch, step))
        state.optimizer.step()
        state.zeros.restore()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average is not None:
            state.average.update(strategy.parameters(), before + step, total)
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


def _stopped(around: Surroundings, state: State) -> bool:
    """Whether the validation split says that more epochs would be for nothing (`training.patience`)."""
    return stop(state.history, around.job.training.patience, around.watched)


def _keep_best(around: Surroundings, state: State) -> None:
    """With `patience`, the weights of the best epoch so far are what will be returned."""
    if around.job.training.patience is None or best_epoch(state.history, around.watched) != state.epoch:
        return
    with state.averaged():
        whole = state.strategy.whole(state.strategy.state())
        state.best = {name: value.detach().clone() for name, value in whole.items()}
