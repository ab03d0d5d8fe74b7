"""Tuning: the settings with which a member network does best on the validation split, found by Ray Tune.

A study is a function of the pipeline, the data and its seed where its trials run one at a time. It is started like a
training: the same call with the same storage goes on where an interrupted one was. Left to others: what may be tried
(`space`), Ray Tune, Optuna and ASHA (`conductor`), pictures (`picture`), files (`recipe`) and MLflow (the flows).
"""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import ray
from ray.exceptions import RayActorError

from components.artifacts import Dataset
from components.training.cluster import fitting as cluster
from components.training.cluster import starting as cluster_ray
from components.training.cluster.conducting import conducting
from components.training.cluster.conductor import MEMORY_KEPT
from components.training.cluster.starting import check_alive
from components.training.jobs.job import TrainingError
from components.training.tuning.conductor import StudyConductor, StudyPlan, importances
from components.training.tuning.study import Findings, Study, Trial, TrialEvent, TrialListener, best_of, ignore

_ray: Any = ray  # its annotations do not know what its decorators do


def optimise(
    study: Study, dataset: Dataset, *, storage: Path, decoded: Path, on_event: TrialListener = ignore
) -> Findings:
    """Do the study's trials; returns all of them, and the best of those that were trained to their end.

    `storage` keeps every trial's epochs under the digest of what decides them: epochs found there are reported and not
    trained again. `on_event` is called in this thread, for each trial in the order of its events. Raises TrainingError
    where there are too few CPUs, or no trial was trained to its end.
    """
    study.check()
    storage, decoded = storage.resolve(), decoded.resolve()
    cluster_ray.start()
    log = _Log(on_event)
    token = cluster.claim(storage)
    plan = _plan(study, dataset, storage, decoded, token)
    try:
        with conducting(cast(Any, StudyConductor).options(runtime_env={"env_vars": MEMORY_KEPT}).remote()) as conductor:
            _conduct(conductor, plan, log)
    finally:
        shutil.rmtree(storage / "ray" / token, ignore_errors=True)
    log.close("stopped")
    trials = log.trials(study)
    best = best_of(trials, study.watched)
    if best is None:
        raise TrainingError(_nothing(trials, study))
    return Findings(trials, best, importances(trials, study.space, study.line.tune.seed))


def _plan(study: Study, dataset: Dataset, storage: Path, decoded: Path, token: str) -> StudyPlan:
    """Lay the trials over the CPUs; raises TrainingError saying what is short."""
    config, concurrent = study.line.training, study.line.tune.concurrent
    total = _ray.cluster_resources()
    cpus = config.cpus_per_worker or max(1, int(total.get("CPU", 0)) // concurrent)
    use_gpu = config.use_gpu == "auto" and total.get("GPU", 0) >= concurrent
    places = sum(int(node["Resources"].get("CPU", 0)) // cpus for node in _ray.nodes() if node["Alive"])
    if places < concurrent:
        raise TrainingError(
            f"tune.concurrent: expected room for {concurrent} trials of {cpus} CPUs, found {total.get('CPU', 0):g} "
            f"CPUs, which is room for {places}; lower tune.concurrent or training.cpus_per_worker, or add machines"
        )
    return StudyPlan(study, dataset.folder.resolve(), dataset.digest, storage, decoded, token, cpus, use_gpu)


def _conduct(conductor: Any, plan: StudyPlan, log: _Log) -> None:
    """Have the study conducted, listening all the while."""
    running = conductor.run.remote(plan)
    done: list[Any] = []
    try:
        while not done:
            check_alive()
            time.sleep(cluster.POLL_SECONDS)  # not in `ray.wait`: a signal that arrives there surfaces as a SystemError
            done, _ = ray.wait([running], timeout=0)
            for event in ray.get(conductor.take.remote()):
                log(event)
        failure: str | None = ray.get(running)
    except SystemError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    except RayActorError as error:
        check_alive()
        raise TrainingError(
            f"the process that conducts the study died ({error}); start again to go on from the last epoch"
        ) from error
    if failure is not None:
        raise TrainingError(f"the study failed: {failure}")


class _Log:
    """What was heard of each trial, and those who want to hear it too."""

    def __init__(self, on_event: TrialListener) -> None:
        self.on_event = on_event
        self.events: dict[int, list[TrialEvent]] = {}

    def __call__(self, event: TrialEvent) -> None:
        self.events.setdefault(event.number, []).append(event)
        self.on_event(event)

    def close(self, state: Any) -> None:
        """End those that nobody ended: Ray Tune says nothing of them when the time is up."""
        for number, events in sorted(self.events.items()):
            if events[-1].kind != "ended":
                self(replace(events[-1], number=number, kind="ended", state=state, metrics={}))

    def trials(self, study: Study) -> tuple[Trial, ...]:
        return tuple(_trial(number, events, study) for number, events in sorted(self.events.items()))


def _trial(number: int, events: list[TrialEvent], study: Study) -> Trial:
    last, epochs = events[-1], [event for event in events if event.kind == "epoch"]
    figures = [event.metrics[study.metric] for event in epochs]
    value = figures[-1] if figures else None
    if figures and last.state != "failed" and study.job(last.values).training.patience is not None:
        value = study.watched.best(figures, float)
    return Trial(number, last.values, last.state or "stopped", len(epochs), value, last.message)


def _nothing(trials: tuple[Trial, ...], study: Study) -> str:
    failed = [trial for trial in trials if trial.state == "failed"]
    if failed:
        return (
            f"{len(failed)} of {len(trials)} trials failed and none was trained to its end; the first: "
            f"{failed[0].message}"
        )
    return (
        f"no trial was trained to its end within {study.line.tune.seconds} s; give the study more time "
        f"(tune.seconds), or the trials fewer epochs (-S members.epochs=…)"
    )
