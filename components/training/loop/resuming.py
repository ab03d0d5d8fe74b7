"""Where a training begins, how it is stored, gone on with, and handed over at its end.

What the state is and which tensors it has is `state`'s business, files are `checkpoint`'s.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from components.config import TransferConfig
from components.models import pretrained
from components.models.parts.sequence import blocks as blocks_of
from components.models.preprocessing import laid_out
from components.training.jobs.job import PRETRAINED, Event, TrainingError
from components.training.loop import checkpoint
from components.training.loop.averaging import TailAverage
from components.training.loop.checkpoint import Checkpoint
from components.training.loop.state import State, restore, stored
from components.training.loop.surroundings import Surroundings
from components.training.optimizing.optimization import MovingAverage, build_optimizer
from components.training.optimizing.sparsity import Zeros
from components.training.parallel.choosing import strategy_of
from components.training.processes.workers import autocast
from components.training.reading.sampling import mix


def fresh(around: Surroundings, *, resuming: bool) -> State:
    """The state before the first step: everybody has the same weights, and randomness of their own from then on."""
    job, workers = around.job, around.workers
    torch.manual_seed(mix("weights", job.seed))
    network = around.network().train()
    loaded = pretrained.load(network, job.network, around.card.input)
    if loaded is not None and workers.first and not resuming:
        around.on_event(Event(job.name, "note", epochs=job.epochs, message=f"{PRETRAINED} {loaded}"))
    blocks = blocks_of(network) if job.training.transfer != TransferConfig() else []
    sample = laid_out(around.validation.batch(np.zeros(1, dtype=np.int64)).inputs, job.training.memory_format)
    if around.copying is not None:
        around.copying.attach(network, sample)
    precision = functools.partial(autocast, job.training, workers.device)
    strategy = strategy_of(network, sample, job.training, workers, precision)
    torch.manual_seed(mix("training", job.seed, workers.rank))
    average = MovingAverage(strategy.parameters(), job.training.ema) if job.training.ema is not None else None
    if job.average:
        average = TailAverage(strategy.parameters())
    optimizer = build_optimizer(strategy.parameters(), blocks, job.training)
    zeros = Zeros(strategy.parameters() if job.keep_zeros else {})
    return State(strategy, blocks, optimizer, average, zeros, epoch=0, history=[])


def save(around: Surroundings, state: State, folder: Path, before_saving: Callable[[], None]) -> None:
    """Everybody's part of the state goes into the first worker's checkpoint; all wait until it is written."""
    found = stored(state, around.workers)
    if found is not None:
        before_saving()
        facts = {"job": around.job.name, "reading": around.train.way}
        try:
            checkpoint.save(folder, state.epoch, Checkpoint(found.tensors, {**facts, **found.facts}))
        except (OSError, SafetensorError) as error:
            raise TrainingError(
                f"{around.job.name}: epoch {state.epoch} could not be stored in {folder}: {error}. The epochs before "
                f"it are kept: make room there and start again, and training goes on from epoch {state.epoch - 1}"
            ) from error
    around.workers.from_first(None)


def resumed(around: Surroundings, folder: Path) -> State:
    """The state that `folder` holds, or a fresh one. The first worker chooses, so that all read the same."""
    workers = around.workers
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
    state = fresh(around, resuming=epoch > 0)
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


def finished(around: Surroundings, state: State) -> nn.Module:
    """The network that was asked for, in evaluation mode: whole, on the first worker at least."""
    strategy, network = state.strategy, state.strategy.network
    if state.average is not None:
        state.average.swap(strategy.parameters())
    cut = around.workers.count > 1 and around.job.training.strategy != "data"
    weights = strategy.whole(strategy.state()) if cut and state.best is None else state.best
    if cut:
        network = around.network()
    if weights is not None and (around.workers.first or not cut):
        network.load_state_dict(weights)
    if around.copying is not None:
        around.copying.detach(network)
    return network.eval()
