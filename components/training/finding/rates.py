"""The learning-rate range test (Smith 2017): raise the rate step by step, watch the loss, stop where it diverges.

What is found is read off the curve by two rules of the field: where the loss falls fastest, and a tenth of the rate at
which it starts to diverge. Left to others: a job's steps (`steps`) and the picture (`picture`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from components.training.finding.steps import Steps
from components.training.jobs.job import Job, TrainingError
from components.training.loop.surroundings import Data
from components.training.optimizing.scaling import factor
from components.training.processes.workers import deterministic

Floats = npt.NDArray[np.float64]

LOWEST, HIGHEST = 1e-6, 10.0  # wide enough for every optimizer, and narrow enough for 200 steps
STEPS = 200
RUNNING = 5  # steps of the running mean that decides when to stop
STOPPED = 1.5  # times the loss of the start: nothing that was learnt is left, and nothing more to be seen
LOST = 0.1  # of the way back from the lowest loss to that of the start: more than noise does to a smoothed curve
WINDOW = 0.02  # of the steps, to each side, over which the curve is smoothed before it is read
LEAST_CURVE = 5  # points: with fewer there is no slope to speak of
TENTH = 0.1  # of the rate of divergence: the field's usual distance from it (Howard & Gugger 2020)
FLOOR = 1e-300  # below it the logarithm of a loss is taken of this instead


@dataclass(frozen=True)
class RangeTest:
    """What was seen, and what it says."""

    rates: Floats  # (N,), of each step that was taken
    losses: Floats  # (N,), of each step's batch, before the step; the last may be infinite
    smoothed: Floats  # (N,), the geometric mean over a window around each step
    steepest: float | None  # rate at which the loss falls fastest; None: it never fell
    divergence: float | None  # rate from which on a tenth of the descent was lost again; None: never

    @property
    def suggested(self) -> float | None:
        """A tenth of the rate of divergence; where there was none, that of the steepest descent."""
        return self.steepest if self.divergence is None else TENTH * self.divergence


def find_learning_rate(
    job: Job,
    data: Data,
    device: torch.device,
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEPS,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> RangeTest:
    """The range test with the job's network, batches, augmentation and optimizer, on one worker.

    The rates are those that a step is taken with: see `configured` for what to write into the configuration. Weights
    are fresh and not kept. Raises TrainingError where the range is none or the loss is not finite from the start.
    """
    rates = rising(lowest, highest, steps)
    with deterministic(device):
        taker = Steps(job, data, device)
        epochs = taker.epochs(job.training.batch_size)
        batches = (batch for epoch in range(1, steps + 1) for batch in epochs.batches(min(epoch, epochs.count)))

        def take(rate: float, number: int) -> float:
            on_step(number, steps)
            return float(taker.take(next(batches), rate, number))

        return read(rates, climb(take, rates))


def configured(rate: float, job: Job) -> float:
    """The `training.learning_rate` with which this rate is the peak: not the same where the rate is scaled."""
    return rate / factor(job.training)


def rising(lowest: float, highest: float, steps: int) -> Floats:
    """`steps` rates from the lowest to the highest, each the same multiple of the one before."""
    if not (0 < lowest < highest and steps >= LEAST_CURVE):
        raise TrainingError(
            f"range test: expected rates above 0 that rise and {LEAST_CURVE} steps or more, received {lowest:g} to "
            f"{highest:g} in {steps}"
        )
    return np.geomspace(lowest, highest, steps)


def climb(take: Callable[[float, int], float], rates: Floats) -> Floats:
    """Losses of the steps, up to the one whose running mean is half again that of the start, or that is not finite.

    `take` does a step at a rate, is told its number, and returns the loss before it.
    """
    losses: list[float] = []
    for number, rate in enumerate(rates):
        losses.append(take(float(rate), number))
        if not math.isfinite(losses[-1]):
            break
        start, running = losses[:RUNNING], losses[-RUNNING:]
        if number >= 2 * RUNNING and sum(running) > STOPPED * sum(start):
            break
    return np.array(losses)


def read(rates: Floats, losses: Floats) -> RangeTest:
    """Read a curve of N losses at the first N of the rates, of which only the last may not be finite."""
    rates = rates[: len(losses)]
    finite = int(np.isfinite(losses).sum())
    if finite < LEAST_CURVE:
        raise TrainingError(
            f"range test: the loss is not finite at step {finite + 1}, at a rate of {rates[-1]:.1e}; start lower, or "
            f"look at the data"
        )
    smoothed = np.full(len(losses), np.inf)
    smoothed[:finite] = _smooth(losses[:finite], max(1, round(WINDOW * len(rates))))
    return RangeTest(
        rates=rates,
        losses=losses,
        smoothed=smoothed,
        steepest=_steepest(rates[:finite], smoothed[:finite]),
        divergence=_divergence(rates, smoothed),
    )


def _smooth(losses: Floats, reach: int) -> Floats:
    """Geometric mean over `reach` steps to each side, fewer at the ends: it lags behind nothing, and what explodes
    does not colour what was before it as an arithmetic mean's would."""
    logarithms = np.log(np.maximum(losses, FLOOR))
    return np.array([np.exp(logarithms[max(0, at - reach) : at + reach + 1].mean()) for at in range(len(logarithms))])


def _steepest(rates: Floats, smoothed: Floats) -> float | None:
    """Where the loss falls fastest over the logarithm of the rate, before its lowest point."""
    lowest = int(smoothed.argmin())
    if lowest == 0:
        return None
    slopes = np.gradient(smoothed, np.log(rates))[: lowest + 1]
    return float(rates[int(slopes.argmin())])


def _divergence(rates: Floats, smoothed: Floats) -> float | None:
    """From where on the loss had lost again a tenth of what it had gained, for good.

    Not the end of the curve: networks with normalisation do not explode, they slide.
    """
    lowest = int(smoothed.argmin())
    if lowest == 0:
        return None
    limit = smoothed[lowest] + LOST * (smoothed[:lowest].max() - smoothed[lowest])
    last = int(np.flatnonzero(smoothed <= limit)[-1])
    return float(rates[last + 1]) if last + 1 < len(rates) else None
