"""Jobs on Ray: one group of workers trains them in turn, survives crashes, and hands back models.

A worker that dies is replaced, and training goes on from the last epoch; so it does when the driver dies and the same
call is made again with the same storage. Either way the models are bitwise those of an undisturbed run.
On a cluster of several machines `storage` and the data set must be on a file system that all of them see.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import ray
from ray.exceptions import RayActorError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from components.artifacts import Dataset, Model
from components.files import replacing, writing
from components.training.cluster.conducting import conducting
from components.training.cluster.conductor import Conductor, Plan, folder_of, is_finished, model_of
from components.training.cluster.starting import RayLostError, check_alive, start, stop
from components.training.jobs.job import Event, Job, Listener, TrainingError, ignore
from components.training.loop import checkpoint

_ray: Any = ray  # its annotations do not know what its decorators do
POLL_SECONDS = 0.3  # between two looks for events: soon enough for people, and no load
RELEASE_SECONDS = 20.0  # how long CPUs of a training that has just ended may take to be free again


def fit(
    jobs: Sequence[Job],
    dataset: Dataset,
    *,
    storage: Path,
    output: Path,
    decoded: Path | None = None,
    on_event: Listener = ignore,
) -> list[Model]:
    """Train the jobs; the model of each is at `output/NAME`, in the order of the jobs, and so are their snapshots'.

    All jobs share one `training.workers`, `cpus_per_worker`, `use_gpu` and `max_failures`. `storage` keeps each job's
    state under its name and fingerprint: jobs and epochs found there are not trained again. `decoded` keeps the splits
    that are mapped into memory, for all trainings that name the same folder; by default it is within `storage`.
    `on_event` is called in this thread; it hears every epoch once, those found in `storage` first, as `resumed`.
    Raises TrainingError where there are too few CPUs, or training failed more often than `max_failures` allows, or
    cannot succeed (a loss that is not a number).
    """
    _check(jobs)
    storage, output = storage.resolve(), output.resolve()
    jobs = [_found_anywhere(job) for job in jobs]
    folders = [folder_of(storage, job, dataset.digest) for job in jobs]
    token = claim(storage)
    tell = _Once(on_event)
    tell.stored(jobs, folders, resumed=True)
    pending = [(job, folder) for job, folder in zip(jobs, folders, strict=True) if not is_finished(folder)]
    if pending:
        _train_through(pending, dataset, storage, (decoded or storage / "decoded").resolve(), token, tell)
    tell.stored(jobs, folders, resumed=False)  # what a dying worker could not send
    models = []
    for job, folder in zip(jobs, folders, strict=True):
        models += [_publish(model_of(folder, name), output / name) for name in job.snapshots]
        if not job.snapshots:
            models.append(_publish(folder / "model", output / job.name))
    return models


def _found_anywhere(job: Job) -> Job:
    """With whole paths: workers live elsewhere."""
    further = job.unlabelled and replace(job.unlabelled, folder=job.unlabelled.folder.resolve())
    return replace(job, teacher=job.teacher and job.teacher.resolve(), unlabelled=further)


def claim(storage: Path) -> str:
    """Take the storage over: what another call's workers still want to write is refused from now on."""
    token = uuid.uuid4().hex
    with writing(storage / "owner") as temporary:
        temporary.write_text(token, encoding="utf-8")
    return token


def _check(jobs: Sequence[Job]) -> None:
    names = [job.name for job in jobs]
    if len(set(names)) != len(names):
        raise ValueError(f"jobs: expected different names, received {', '.join(names)}")
    groups = {
        (j.training.workers, j.training.cpus_per_worker, j.training.use_gpu, j.training.max_failures) for j in jobs
    }
    if len(groups) != 1:
        raise ValueError("jobs: expected the same training.workers, cpus_per_worker, use_gpu and max_failures for all")


def _plan(pending: list[tuple[Job, Path]], dataset: Dataset, storage: Path, decoded: Path, token: str) -> Plan:
    """Lay the workers over the CPUs that are free; raises TrainingError saying what is short."""
    config = pending[0][0].training
    least, most = config.least_workers, config.most_workers
    total = _ray.cluster_resources()
    cpus = config.cpus_per_worker or max(1, int(total.get("CPU", 0)) // most)
    use_gpu = config.use_gpu == "auto" and total.get("GPU", 0) >= least
    places = sum(int(node["Resources"].get("CPU", 0)) // cpus for node in _ray.nodes() if node["Alive"])
    if places < least:
        raise TrainingError(
            f"training.workers: expected room for {least} workers of {cpus} CPUs, found "
            f"{total.get('CPU', 0):g} CPUs, which is room for {places}; lower training.workers or "
            f"training.cpus_per_worker, or add machines"
        )
    needed, deadline = least * cpus, time.monotonic() + RELEASE_SECONDS
    while (free := _ray.available_resources().get("CPU", 0)) < needed:
        if time.monotonic() > deadline:
            raise TrainingError(
                f"training.workers: {least} workers of {cpus} CPUs need {needed} CPUs, and {free:g} of "
                f"{total['CPU']:g} are free; wait for what else runs on this cluster, or lower training.workers"
            )
        time.sleep(POLL_SECONDS)
    return Plan(
        jobs=tuple(pending),
        dataset=dataset.folder.resolve(),
        digest=dataset.digest,
        storage=storage,
        decoded=decoded,
        token=token,
        workers=(least, most),
        cpus_per_worker=cpus,
        use_gpu=use_gpu,
        max_failures=config.max_failures,
    )


def _train_through(
    pending: list[tuple[Job, Path]], dataset: Dataset, storage: Path, decoded: Path, token: str, tell: _Once
) -> None:
    """Train what is pending, on another Ray where our own has died: as often as a worker may die."""
    failures = 0
    while True:
        start()
        todo = [(job, folder) for job, folder in pending if not is_finished(folder)]
        if not todo:
            return
        try:
            _train(_plan(todo, dataset, storage, decoded, token), tell)
            return
        except RayLostError as error:
            failures += 1
            stop()
            if failures > pending[0][0].training.max_failures:
                raise
            job = todo[0][0]
            tell(Event(job.name, "warning", epochs=job.epochs, message=f"{error}; done: another was started"))


def _train(plan: Plan, tell: _Once) -> None:
    """Have the plan conducted, listening all the while."""
    with _conductor(plan) as conductor:
        training = conductor.run.remote(plan)
        refusal: str | None = None
        done: list[Any] = []
        try:
            while not done and refusal is None:
                time.sleep(POLL_SECONDS)  # not in `ray.wait`: a signal that arrives there surfaces as a SystemError
                check_alive()
                done, _ = ray.wait([training], timeout=0)
                events, refusal = ray.get(conductor.take.remote())
                for event in events:
                    tell(event)
            # A refusal ends it here: workers that wait for the one that refused would wait for long.
            failure: str | None = ray.get(training) if refusal is None else None
        except SystemError as error:
            if isinstance(error.__cause__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            raise
        except RayActorError as error:
            check_alive()
            raise TrainingError(
                f"the process that conducts the training died ({str(error).splitlines()[0].rstrip('.')}); start again "
                f"to go on from the last epoch"
            ) from error
    if refusal is not None:
        raise TrainingError(refusal)
    if failure is not None:
        raise TrainingError(
            f"training failed, and so did {plan.max_failures} attempts to go on (training.max_failures): {failure}\n"
            f"Mend the cause and start again: training goes on from the last epoch."
        )


@contextmanager
def _conductor(plan: Plan) -> Iterator[Any]:
    """A conductor that does not outlive the block."""
    # Beside this process: the loss of any other machine is one that training survives, and Ray's trainer joins it.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    try:
        with conducting(cast(Any, Conductor).options(scheduling_strategy=here).remote()) as conductor:
            yield conductor
    finally:
        shutil.rmtree(plan.storage / "ray" / plan.token, ignore_errors=True)


class _Once:
    """Tells every finished epoch once, however often it is heard of, and all other events as they come."""

    def __init__(self, on_event: Listener) -> None:
        self.on_event = on_event
        self.told: set[tuple[str, int]] = set()

    def __call__(self, event: Event) -> None:
        if event.kind == "epoch":
            if (event.job, event.epoch) in self.told:
                return
            self.told.add((event.job, event.epoch))
        self.on_event(event)

    def stored(self, jobs: Sequence[Job], folders: Sequence[Path], *, resumed: bool) -> None:
        for job, folder in zip(jobs, folders, strict=True):
            for record in checkpoint.history(folder):
                self(Event.from_record(job.name, job.epochs, record, resumed=resumed))


def _publish(model: Path, target: Path) -> Model:
    """Copy the finished model out of the storage, in one move."""
    with replacing(target) as temporary:
        shutil.copytree(model, temporary, dirs_exist_ok=True)
    return Model.load(target)
