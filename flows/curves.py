"""Training, as it happens, in MLflow and on the terminal: a child run a network, a point an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.registry.tracking import Tracking
from components.tasks import registry as tasks
from components.training.job import Event, Job
from flows.step import LINE, StepRun, flat, line


class Curves:
    """Listens to training. Each job gets a run below the step's, opened at its first word and closed at `finish`."""

    def __init__(self, run: StepRun, jobs: Sequence[Job]) -> None:
        self._run, self._jobs = run, {job.name: job for job in jobs}
        self._order = {job.name: number for number, job in enumerate(jobs)}
        self._opened: dict[str, str] = {}
        self._last: dict[str, dict[str, float]] = {}

    def __call__(self, event: Event) -> None:
        job = self._jobs[event.job]
        shared = line()
        if event.kind == "warning":
            shared.tracking.log_tags(self._run_of(job), {"convoy.warning": event.message})
            return
        if event.kind == "epoch":
            self._last[job.name] = dict(event.metrics)
            figures = {**event.metrics, "images_per_second": event.images_per_second, "epoch_seconds": event.seconds}
            shared.tracking.log_metrics(self._run_of(job), figures, step=event.epoch)
        finished = event.epoch if event.kind == "epoch" else event.epoch - 1 + event.step / max(event.steps, 1)
        done = self._order[job.name] * job.epochs + finished
        total = sum(each.epochs for each in self._jobs.values())
        note = f"epoch {event.epoch}/{event.epochs} · {event.images_per_second:,.0f} images/s"
        # In thousandths of an epoch: the bar wants whole numbers.
        shared.reporter.advanced(job.name, int(done * 1000), total * 1000, note)

    def finish(self) -> tuple[str, list[dict[str, Any]]]:
        """Close the networks' runs; a line and a table of their last figures."""
        for run_id in self._opened.values():
            line().tracking.finish(run_id)
        metric = tasks.get(next(iter(self._jobs.values())).task).spec.primary_metric
        best = ", ".join(f"{last[f'validation_{metric}']:.4f}" for last in self._last.values())
        table = [
            {"network": name, **{key: f"{value:.4g}" for key, value in last.items()}}
            for name, last in self._last.items()
        ]
        return f"validation {metric} {best}", table

    def _run_of(self, job: Job) -> str:
        if job.name not in self._opened:
            tracking: Tracking = line().tracking
            run_id = tracking.start_run(job.name, parent=self._run.id, tags={LINE: line().lease.id})
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
