"""SAMME (Zhu et al. 2009): each member learns most from what those before it got wrong.

Which samples a member gets wrong is known once it is trained; from there on all is arithmetic, so that nothing but the
members themselves is ever carried from one training to the next. Left to others: the weighted loss (`objectives`) and
the vote (`components.models.ensemble`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from components.artifacts import Model
from components.files import writing
from components.models.network import load_network
from components.tasks import registry as tasks
from components.tasks.capabilities import Mistaken
from components.tasks.network import arrays_of
from components.tasks.protocol import Task
from components.training.processes.workers import Workers
from components.training.reading.samples import Samples, Split

Floats = npt.NDArray[np.float64]
Mistakes = npt.NDArray[np.bool_]

FILE = "mistakes.npy"  # in a finished training's folder
BATCH = 256


@dataclass(frozen=True)
class Boosting:
    """What follows from the mistakes of K members on N training samples."""

    say: Floats  # (K,) of each member in the vote; 0: no better than a guess
    errors: Floats  # (K,) weighted share of the samples that it got wrong
    weights: Floats  # (K + 1, N), mean 1: of the samples for each member, and for one more


def samme(mistakes: Mistakes, classes: int) -> Boosting:
    """Algorithm 2 of the paper, on `(K, N)`: which member got which sample wrong.

    A member that got nothing wrong would have an infinite say, and leaves nothing to learn from: it is counted as
    having got half a sample wrong, and the weights stay as they are. A member that is no better than a guess (weighted
    error of 1 − 1/C or more) has no say, and the weights stay as they are too.
    """
    members, samples = mistakes.shape
    weights = np.ones((members + 1, samples))
    say, errors = np.zeros(members), np.zeros(members)
    for member, wrong in enumerate(mistakes):
        errors[member] = weights[member][wrong].sum() / samples
        error = max(errors[member], 0.5 / samples)
        if error < 1.0 - 1.0 / classes:
            say[member] = np.log((1.0 - error) / error) + np.log(classes - 1.0)
        raised = weights[member] * np.exp(say[member] * wrong)
        weights[member + 1] = raised * (samples / raised.sum())
    return Boosting(say, errors, weights)


def mistakes_of(network: nn.Module, task: Task, samples: Samples, workers: Workers) -> Mistakes:
    """`(N,)`: which samples, as they are, the network in evaluation mode gets wrong. Workers share the work."""
    split = Split(samples, workers.device)
    mine = np.arange(workers.rank, len(split), workers.count)
    found = np.zeros(len(mine), dtype=np.bool_)
    with torch.inference_mode():
        for start in range(0, len(mine), BATCH):
            batch = split.batch(mine[start : start + BATCH])
            answer = arrays_of(task.answer(network(batch.inputs)))
            found[start : start + BATCH] = cast(Mistaken, task).mistakes(answer, batch.targets.cpu().numpy())
    everything = np.zeros(len(split), dtype=np.bool_)
    for rank, theirs in enumerate(workers.gather(found)):
        everything[rank :: workers.count] = theirs
    return everything


def weights_after(folders: Sequence[Path], samples: Samples, classes: int, workers: Workers) -> Floats:
    """`(N,)`, mean 1: what the next member learns from, after those whose finished trainings are in `folders`.

    All workers call this. What a member got wrong is kept in its folder, and is the same when it is looked up again.
    """
    workers.from_first(None)  # the first worker writes the models, and the others may be here before it
    every = [_mistakes_in(folder, samples, workers) for folder in folders]
    if not every:
        return np.ones(len(samples.ids))
    weights: Floats = samme(np.stack(every), classes).weights[-1]
    return weights


def _mistakes_in(folder: Path, samples: Samples, workers: Workers) -> Mistakes:
    file = folder / FILE
    if workers.from_first(file.is_file()):
        found: Mistakes = np.load(file, allow_pickle=False)
        return found
    model = Model.load(folder / "model")
    network = load_network(model).to(workers.device)
    found = mistakes_of(network, tasks.of(model.card), samples, workers)
    if workers.first:
        with writing(file) as temporary, temporary.open("wb") as stream:
            np.save(stream, found, allow_pickle=False)
    workers.from_first(None)
    return found
