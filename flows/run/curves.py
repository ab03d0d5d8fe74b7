"""Training, as it happens, in MLflow and on the terminal: a child run a network, a point an epoch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from components.registry.memory.store import TrackingError
from components.registry.memory.tracking import KIND, Tracking
from components.tasks import registry as tasks
from components.training.jobs.job import PRETRAINED, Event, Job
from flows.run.context import line
from flows.run.known_by import flat
from flows.run.step import LEASE, StepRun

AWAY_SECONDS = 300.0  # that MLflow may not answer while a network is trained: long enough to start a server again
AGAIN_SECONDS = 5.0  # between two attempts to tell it what it has missed


class Curves:
    """Listens to training. Each job gets a run below the step's, opened at its first word and closed at `finish`.

    What MLflow cannot be told is kept and told later, in order: training does not wait for it, and does not end because
    of it unless it stays away for `AWAY_SECONDS`.
    """

    def __init__(self, run: StepRun, jobs: Sequence[Job]) -> None:
        self._run, self._jobs = run, {job.name: job for job in jobs}
        self._order = {job.name: number for number, job in enumerate(jobs)}
        self._opened: dict[str, str] = {}
        self._last: dict[str, dict[str, float]] = {}
        self._said: dict[tuple[str, str], list[str]] = {}
        self._untold: deque[Callable[[], None]] = deque()
        self._away_since: float | None = None
        self._tried = 0.0

    def __call__(self, event: Event) -> None:
        job = self._jobs[event.job]
        shared = line()
        if event.kind in ("note", "warning"):
            tag = f"convoy.{event.kind}"
            said = self._said.setdefault((job.name, tag), [])
            said.append(event.message)
            text = "\n".join(said)  # one tag: a second word does not take the place of the first
            self._tell(lambda: shared.tracking.log_tags(self._run_of(job), {tag: text}))
            return
        if event.kind == "epoch":
            self._last[job.name] = dict(event.metrics)
            figures = {
                **event.metrics,
                **event.evenness,
                "images_per_second": event.images_per_second,
                "epoch_seconds": event.seconds,
                "waiting_seconds": event.waiting,
            }
            self._tell(lambda: shared.tracking.log_metrics(self._run_of(job), figures, step=event.epoch))
        finished = event.epoch if event.kind == "epoch" else event.epoch - 1 + event.step / max(event.steps, 1)
        done = self._order[job.name] * job.epochs + finished
        total = sum(each.epochs for each in self._jobs.values())
        note = f"epoch {event.epoch}/{event.epochs} · {event.images_per_second:,.0f} images/s"
        # In thousandths of an epoch: the bar wants whole numbers.
        shared.reporter.advanced(job.name, int(done * 1000), total * 1000, note)

    def finish(self) -> tuple[str, list[dict[str, Any]]]:
        """Close the networks' runs, once MLflow knows all; a line and a table of their last figures.

        The line says of how many units a file had the vectors, where they began with such.
        """
        self._settle()
        self._untold.extend(partial(line().tracking.finish, run_id) for run_id in self._opened.values())
        self._settle()
        metric = tasks.get(next(iter(self._jobs.values())).task).spec.primary_metric
        best = ", ".join(f"{last[f'validation_{metric}']:.4f}" for last in self._last.values())
        vectors = f"{PRETRAINED} vectors of"
        began = dict.fromkeys(word for said in self._said.values() for word in said if word.startswith(vectors))
        table = [
            {"network": name, **{key: f"{value:.4g}" for key, value in last.items()}}
            for name, last in self._last.items()
        ]
        return "; ".join([f"validation {metric} {best}", *began]), table

    def _tell(self, what: Callable[[], None]) -> None:
        self._untold.append(what)
        if self._away_since is None or time.monotonic() - self._tried >= AGAIN_SECONDS:
            self._catch_up()

    def _catch_up(self) -> None:
        """Tell MLflow what it has not been told; raises TrackingError once it has been away for too long."""
        try:
            while self._untold:
                self._untold[0]()
                self._untold.popleft()
            self._away_since = None
        except TrackingError:
            self._tried = time.monotonic()
            self._away_since = self._away_since or self._tried
            if self._tried - self._away_since > AWAY_SECONDS:
                raise

    def _settle(self) -> None:
        """Wait until MLflow has been told everything."""
        self._catch_up()
        while self._untold:
            time.sleep(AGAIN_SECONDS)
            self._catch_up()

    def _run_of(self, job: Job) -> str:
        if job.name not in self._opened:
            tracking: Tracking = line().tracking
            tags = {LEASE: line().lease.id, KIND: "network"}
            run_id = tracking.start_run(job.name, parent=self._run.id, tags=tags)
            self._run.log_inputs(run_id, "training")
            tracking.log_params(
                run_id,
                {
                    "seed": job.seed,
                    "epochs": job.epochs,
                    **flat(job.network.model_dump(mode="json"), "network."),
                    **flat(job.training.model_dump(mode="json"), "training."),
                },
            )
            self._opened[job.name] = run_id
        return self._opened[job.name]
