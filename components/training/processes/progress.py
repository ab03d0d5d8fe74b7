"""What a training epoch says of itself: the mean of every part of its loss, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from components.training.jobs.job import Event, Job, Listener
from components.training.processes.workers import Workers

PROGRESS_SECONDS = 0.5  # between two progress events: what people can follow, and no cost


class Losses:
    """Every step's parts of the loss, kept where they were computed until somebody needs to know."""

    def __init__(self, steps: int, workers: Workers) -> None:
        self.steps, self.workers = steps, workers
        self.values: dict[str, Tensor] = {}
        self.weights = np.zeros(steps)  # samples of this worker

    def add(self, step: int, losses: Mapping[str, Tensor], samples: int) -> None:
        """`{}` from a worker that does not see the network's outputs."""
        self.weights[step] = samples
        for name, value in losses.items():
            if name not in self.values:
                self.values[name] = torch.zeros(self.steps, device=self.workers.device)
            self.values[name][step] = value.detach()

    def first_not_finite(self, steps: int) -> int | None:
        """The first of the steps at which anybody's loss is not finite; everybody gets the same answer."""
        bad = (~torch.isfinite(self.values["loss"][:steps])).nonzero() if self.values else torch.empty(0)
        first = self.workers.smallest(int(bad[0]) if len(bad) else steps)
        return first if first < steps else None

    def means(self, samples: int) -> dict[str, float]:
        """Mean over all workers' samples, as `train_NAME`."""
        sums = {name: float(value.double().cpu().numpy() @ self.weights) for name, value in self.values.items()}
        gathered = self.workers.gather(sums)
        names = dict.fromkeys(name for theirs in gathered for name in theirs)
        return {f"train_{name}": sum(theirs.get(name, 0.0) for theirs in gathered) / samples for name in names}

    def latest(self, step: int) -> dict[str, float]:
        """The loss of a step as this worker knows it, as `train_loss`; {} where it does not see the outputs."""
        return {"train_loss": float(self.values["loss"][step])} if self.values else {}


class Progress:
    """At most two "progress" events a second, from the first worker."""

    def __init__(self, job: Job, epoch: int, steps: int, workers: Workers, on_event: Listener) -> None:
        self.job, self.epoch, self.steps, self.on_event = job, epoch, steps, on_event
        self.speaks = workers.first
        self.started = self.told = time.perf_counter()
        self.images = 0

    def tell(self, step: int, images: int, losses: Losses) -> None:
        """Step `step` (counted from 1) of `images` samples is done."""
        self.images += images
        now = time.perf_counter()
        if not self.speaks or now - self.told < PROGRESS_SECONDS:
            return
        self.told = now
        self.on_event(
            Event(
                self.job.name,
                "progress",
                epoch=self.epoch,
                epochs=self.job.epochs,
                step=step,
                steps=self.steps,
                metrics=losses.latest(step - 1),
                images_per_second=self.images / (now - self.started),
                seconds=now - self.started,
            )
        )
