"""Which combiner: judged by its loss on the validation split, on samples that it was not fitted on.

Of probabilities, labels and boxes that is the log loss, of numbers the squared error in deviations (`answers.LOSSES`).

What is fitted on the validation split is judged by cross-fitting on it: fitted on four fifths, judged on the fifth,
five times. Whoever is sure of its probabilities to the wrong degree is not a worse combiner for that, and one number
would mend it (Guo et al. 2017): everyone is compared at its own best temperature. By how much one combiner is better
than another is only known up to a standard error, so the simplest is taken that is behind the best by no more than that
(Breiman et al. 1984, on paired differences).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import nn

from components.artifacts import DatasetCard
from components.compress.ensembling.answers import LOSSES, Floats, Rows, Said, Together, losses_of, said_of, share_of
from components.compress.ensembling.combiners import Combiner, Given
from components.compress.ensembling.soup import Soups
from components.models.ensemble import Fuses, MeanProbability
from components.tasks.protocol import Task

# A combiner, its fusion, and at which samples → what the members say of them under it.
Again = Callable[[Combiner, nn.Module, Rows], Said]

FOLDS = 5  # of the validation split
SEED = 0  # of those folds
TEMPERATURES = (-3.0, 3.0)  # natural logarithms of those that are tried: 1/20 to 20


@dataclass(frozen=True)
class Candidate:
    """A way to combine the members, and how it did on samples that it was not fitted on."""

    name: str
    losses: Floats  # (N,) of each sample, by `answers.LOSSES`
    compared: Floats  # (N,) the same, of probabilities at the best temperature, which masks are not given
    said: Said | None  # None of masks and boxes, whose answers are not kept


def cross_fits(samples: int, folds: int = FOLDS) -> Iterator[tuple[Rows, Rows]]:
    """Samples to fit on and samples to judge on, so that each is judged once; as many folds as there are samples."""
    order = np.random.default_rng(SEED).permutation(samples)
    for part in np.array_split(order, min(folds, samples)):
        rest = np.setdiff1d(order, part)
        yield (rest if len(rest) else part), np.sort(part)


def judged(
    combiner: Combiner,
    answers: Together,
    given: Given,
    task: Task,
    card: DatasetCard,
    again: Again | None = None,
) -> Candidate:
    """The combiner on all N samples; of boxes, about which the members are asked `again` under its fusion.

    Raises CompressionError where it cannot combine these members.
    """
    everything = np.arange(len(answers))
    once = combiner.judged_elsewhere(given)
    pairs = [(everything, everything)] if once else list(cross_fits(len(answers)))
    if answers.fusible is None:
        losses = np.empty(len(answers))
        for fitting, judging in pairs:
            fusion = combiner.fit(answers.take(fitting), given)
            if again is not None and combiner.of == "boxes":
                found = losses_of(again(combiner, fusion, judging).units)
            else:
                found = _mean_losses(fusion, answers.take(judging))
            losses[judging] = found * share_of(answers.judged)
        return Candidate(combiner.name, losses, losses, None)
    fused = torch.empty(answers.outputs.shape[1:])
    for fitting, judging in pairs:
        fused[judging] = combiner.fit(answers.take(fitting), given)(answers.take(judging).outputs)
    return _answered(combiner.name, fused, answers, task, card)


def judged_soup(soups: Soups, answers: Together, task: Task, card: DatasetCard) -> Candidate:
    """The greedy soup, its members chosen on other samples than it is judged on."""
    losses = np.empty(len(answers))
    fused = None if answers.fusible is None else torch.empty(answers.outputs.shape[1:])
    for fitting, judging in cross_fits(len(answers)):
        said = soups.said(soups.chosen(fitting))
        losses[judging] = said.losses()[judging]
        if fused is not None and said.fusible is not None:
            fused[judging] = torch.from_numpy(said.fusible[judging])
    return Candidate("soup", losses, losses, None) if fused is None else _answered("soup", fused, answers, task, card)


def choose(losses: Mapping[str, Floats], fuses: Fuses = "probabilities") -> tuple[str, str]:
    """The name of one of several combiners, given from the simplest on with `(N,)` losses each, and why it is it.

    The losses are those that are `compared`.
    """
    least = f"the least {LOSSES[fuses].words}"
    best = min(losses, key=lambda name: float(losses[name].mean()))
    for name in losses:
        behind, error = difference(losses[name], losses[best])
        if name == best:
            return name, f"{best} has {least}, {losses[best].mean():.4f}"
        if behind <= error:
            return name, (
                f"{best} has {least}, {losses[best].mean():.4f}, and {name}, which is simpler, is "
                f"{behind:.4f} behind: less than the standard error of that, {error:.4f}"
            )
    raise ValueError("losses: expected those of one combiner at least, received none")


def difference(losses: Floats, others: Floats) -> tuple[float, float]:
    """Mean of the paired difference of `(N,)` losses, and its standard error; of one sample, which has none, 0."""
    each = losses - others
    return float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(each))) if len(each) > 1 else 0.0


def _mean_losses(fusion: object, answers: Together) -> Floats:
    """`(N,)` of a mean of probabilities, for which the truths' are enough."""
    if not isinstance(fusion, MeanProbability):
        raise TypeError(f"expected a mean of probabilities for masks, received {type(fusion).__name__}")
    mixed = np.tensordot(fusion.weights.double().numpy(), answers.units, axes=1)
    return losses_of(mixed)


def at_best_temperature(logs: Floats, targets: Rows) -> Floats:
    """`(N,)` losses in nats of `(N, C)` log-probabilities divided by the temperature at which their mean is least."""
    rows = np.arange(len(targets))

    def losses(log_temperature: float) -> Floats:
        cooled = logs * math.exp(-log_temperature)
        found: Floats = logsumexp(cooled, axis=1) - cooled[rows, targets]
        return found

    best = minimize_scalar(lambda value: float(losses(value).mean()), bounds=TEMPERATURES, method="bounded")
    return losses(float(best.x))


def labels_at_best_temperature(logits: Floats, targets: Floats) -> Floats:
    """The same of `(N, C)` logits of labels and the truths, 0 or 1: the mean over the labels of each sample."""

    def losses(log_temperature: float) -> Floats:
        cooled = logits * math.exp(-log_temperature)
        found: Floats = np.logaddexp(0.0, np.where(targets > 0, -cooled, cooled)).mean(axis=1)
        return found

    best = minimize_scalar(lambda value: float(losses(value).mean()), bounds=TEMPERATURES, method="bounded")
    return losses(float(best.x))


# What an answer is not worse for, put right: `(N, C)` answers and their truths → `(N,)` losses.
MENDED: dict[Fuses, Callable[[Floats, Any], Floats]] = {
    "probabilities": at_best_temperature,
    "labels": labels_at_best_temperature,
}


def _answered(name: str, fused: torch.Tensor, answers: Together, task: Task, card: DatasetCard) -> Candidate:
    answer = {key: value.numpy() for key, value in task.answer(fused).items()}
    said = said_of(task, answer, answers.targets, card)
    losses = said.losses()
    compared, mended = losses, MENDED.get(said.fuses)
    if said.fusible is not None and mended is not None:
        compared = mended(said.fusible.astype(np.float64), answers.targets)
    return Candidate(name, losses, compared, said)
