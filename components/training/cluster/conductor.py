"""The actor that conducts one training on the cluster, and the function that its workers run.

It runs Ray's trainer and holds the events that the first worker sends until the driver asks for them. Being an actor
of its own, it takes the whole training with it when it is killed, and leaves the driver free to listen.
What is trained, and how to go on after a crash, the loop and its checkpoints know.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import ray

from components.artifacts import ArtifactError
from components.config import ConfigurationError
from components.data.errors import DataError
from components.training.jobs.job import Event, Job, Listener, TrainingError

# glibc hands large blocks back to the system at once and fetches them again at every step; with these it keeps them,
# which was worth 10 % of the images a second of a small network on two cores. Other C libraries ignore the variables.
MEMORY_KEPT = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**26),
}

# Read by Ray Train where the trainer runs. Health checks every 0.2 s instead of 2 s start and end a training sooner;
# the preemption watcher and the metrics are actors and work that a training of ours has no use for; workers stay in
# the directory they were started in.
TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}


@dataclass(frozen=True)
class Plan:
    """All that the workers need to know."""

    jobs: tuple[tuple[Job, Path], ...]  # with the folder that keeps each one's state
    dataset: Path
    digest: str
    storage: Path
    decoded: Path  # keeps the splits that are mapped into memory
    token: str  # whose turn it is: see `cluster.claim`
    workers: tuple[int, int]  # least and most
    cpus_per_worker: int
    use_gpu: bool
    max_failures: int


@ray.remote(num_cpus=0, concurrency_groups={"training": 1, "events": 1})  # type: ignore[call-overload]
class Conductor:
    """One training. Two threads: one waits for the trainer, the other takes and gives events, in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refusal: str | None = None
        self.attempts = 0

    @ray.method(concurrency_group="events")
    def begin(self) -> int:
        """Called by the first worker of each group; returns which group it is, counted from 1."""
        self.attempts += 1
        return self.attempts

    @ray.method(concurrency_group="events")
    def tell(self, event: Event) -> None:
        """Called by the first worker."""
        if event.kind == "progress" and self.events and self.events[-1].kind == "progress":
            self.events.pop()  # nobody has asked since: the newer one says more
        self.events.append(event)

    @ray.method(concurrency_group="events")
    def refuse(self, message: str) -> None:
        """A worker says that training cannot go on and that trying again would not help."""
        self.refusal = message

    @ray.method(concurrency_group="events")
    def take(self) -> tuple[list[Event], str | None]:
        """The events since the last call, and a refusal."""
        events, self.events = self.events, []
        return events, self.refusal

    @ray.method(concurrency_group="training")
    def run(self, plan: Plan) -> str | None:
        """Train to the end; returns what went wrong, after `max_failures` attempts to go on."""
        os.environ.update(TRAIN_ENVIRONMENT)
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

        least, most = plan.workers
        resources = {"CPU": float(plan.cpus_per_worker), **({"GPU": 1.0} if plan.use_gpu else {})}
        trainer = DataParallelTrainer(  # not TorchTrainer: see `rendezvous`
            work,
            train_loop_config={"plan": plan, "conductor": ray.get_runtime_context().current_actor},
            scaling_config=ScalingConfig(
                num_workers=cast(Any, least if least == most else plan.workers),
                use_gpu=plan.use_gpu,
                resources_per_worker=resources,
            ),
            # A new name each time: Ray must not resume what our own checkpoints resume.
            run_config=RunConfig(
                name=plan.token,
                storage_path=str(plan.storage / "ray"),
                worker_runtime_env={"env_vars": MEMORY_KEPT},  # type: ignore[call-arg]  # the type is the older one
                failure_config=FailureConfig(max_failures=plan.max_failures),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            return str(error)
        return None


def work(config: dict[str, Any]) -> None:
    """What every worker does: train the jobs in turn; the first one writes each finished model into its folder."""
    plan, conductor = config["plan"], config["conductor"]
    try:
        _train_all(plan, conductor)
    except (TrainingError, ConfigurationError, ArtifactError, DataError) as error:
        # Raising would make Ray try again, and again fail alike.
        ray.get(conductor.refuse.remote(str(error)))


def _train_all(plan: Plan, conductor: Any) -> None:
    import ray.train.collective
    import torch

    from components.training.processes.rendezvous import process_group
    from components.training.processes.workers import Workers

    # Ray sets OMP_NUM_THREADS by its own idea of CPUs; what the configuration says counts.
    torch.set_num_threads(plan.cpus_per_worker)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS
    context = ray.train.get_context()
    device = _gpu() if plan.use_gpu else torch.device("cpu")
    workers = Workers(context.get_world_rank(), context.get_world_size(), device)
    host: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    with process_group(workers, host, ray.train.collective.broadcast_from_rank_zero):
        _train_as(workers, plan, conductor)


def _gpu() -> Any:
    """The one that Ray has given to this worker."""
    from ray.train.torch import get_device

    return get_device()


def _train_as(workers: Any, plan: Plan, conductor: Any) -> None:
    from components.artifacts import Dataset
    from components.training.loop.loop import train

    finished = workers.from_first([is_finished(folder) for _, folder in plan.jobs])
    dataset = Dataset.load(plan.dataset, plan.digest)

    def tell(event: Event) -> None:
        sent = conductor.tell.remote(event)
        if event.kind != "progress":  # those may get lost with a worker, the others must have arrived
            ray.get(sent)

    if workers.first and not all(finished) and (attempt := ray.get(conductor.begin.remote())) > 1:
        died = f"a worker died; attempt {attempt} of {plan.max_failures + 1} goes on from the last stored epoch"
        tell(Event(plan.jobs[finished.index(False)][0].name, "warning", message=died))
    for (job, folder), done in zip(plan.jobs, finished, strict=True):
        if done:
            continue
        warn = partial(_warn, job, tell)
        network = train(
            job,
            data_of(plan, job, dataset, workers, warn),
            folder,
            workers=workers,
            on_event=tell,
            before_saving=lambda: check_turn(plan.storage, plan.token),
        )
        if workers.first:
            keep(plan, job, dataset, network, folder)


def _warn(job: Job, tell: Listener, message: str) -> None:
    tell(Event(job.name, "warning", epochs=job.epochs, message=message))


def data_of(plan: Plan, job: Job, dataset: Any, workers: Any, warn: Callable[[str], None]) -> Any:
    """The job's data: what is not streamed is in memory maps, which all workers of a machine share."""
    import numpy as np

    from components.data.reading.decoded import map_split, place
    from components.data.reading.folds import folds_of
    from components.training.loop import boosting
    from components.training.loop.surroundings import Data
    from components.training.reading.stream import Stream, way
    from components.training.reading.unlabelled import unseen

    streamed = way(job.training, dataset, workers) == "streamed"
    if streamed and (job.fold is not None or job.boosts is not None or job.average or job.unlabelled is not None):
        raise ConfigurationError(
            f"{job.name}: expected neither folds, boosting nor an average of the weights (members), nor unlabelled "
            f"images (student), for data that is streamed; set training.reading: mapped where the disk has room for "
            f"the decoded split"
        )
    if streamed and workers.first and job.training.reading == "auto":
        warn("the decoded training split would fill more than half of the memory: it is streamed (training.reading)")
    train = Stream(dataset, through_ray=True) if streamed else map_split(dataset, "train", plan.decoded, warn)
    rows = weights = None
    if job.fold is not None:
        rows = np.flatnonzero(folds_of(dataset, job.fold[1]) != job.fold[0])
    if job.boosts is not None:
        before = [folder_of(plan.storage, earlier, plan.digest) for earlier in job.boosts]
        weights = boosting.weights_after(before, cast(Any, train), len(dataset.card.classes), workers)
    others = others_rows = None
    if job.unlabelled is not None:
        others, others_rows = map_split(job.unlabelled, "train", plan.decoded, warn), unseen(job.unlabelled, dataset)
        known = len(others) - len(others_rows)
        if known and workers.first:
            warn(f"{known} images of {job.unlabelled.card.name} are left out: {dataset.card.name} is judged on them")
    return Data(
        card=dataset.card,
        digest=dataset.digest,
        train=train,
        validation=map_split(dataset, "validation", plan.decoded, warn),
        answers=place(dataset, plan.decoded) / "answers",
        rows=rows,
        weights=weights,
        unlabelled=others,
        unlabelled_rows=others_rows,
    )


def keep(plan: Plan, job: Job, data: Any, network: Any, folder: Path) -> None:
    """Write the finished model; where there are snapshots, those first, for it says that all is done."""
    from components.artifacts import Ancestor, Model, ModelCard, write_model
    from components.models.network import save_weights
    from components.tasks import registry as tasks
    from components.training.loop import snapshots

    earlier = [folder_of(plan.storage, each, plan.digest) / "model" for each in job.boosts or ()]
    boosted = tuple(Ancestor(role="boosted", digest=Model.load(place).digest) for place in earlier)
    card = ModelCard(
        name=job.name,
        task=job.task,
        network=job.network,
        classes=data.card.classes,
        input=data.card.input,
        target=data.card.target,
        head=tasks.of(data.card).head(data.card).said(len(data.card.classes)),
        data=data.digest,
        seed=job.seed,
        fold=job.fold,
        parents=(*job.parents, *boosted),
    )
    for name in job.snapshots:
        weights = snapshots.place(folder, name)
        named = card.model_copy(update={"name": name})
        write_model(model_of(folder, name), named, partial(_copy_weights, weights))
    write_model(folder / "model", card, lambda target: save_weights(network, target))


def _copy_weights(weights: Path, target: Path) -> None:
    shutil.copyfile(weights, target / "model.safetensors")


def folder_of(storage: Path, job: Job, data: str) -> Path:
    """Where a job's state is kept, and its model when it is finished; `data` is the data set's digest."""
    return storage / f"{job.name}-{job.fingerprint(data)[:12]}"


def model_of(folder: Path, snapshot: str) -> Path:
    """The model of a finished job's snapshot."""
    return folder / "snapshots" / snapshot


def is_finished(folder: Path) -> bool:
    """Whether the job's model is there; it is written in one move."""
    return (folder / "model" / "model.json").is_file()


def check_turn(storage: Path, token: str) -> None:
    """Raise TrainingError where a later call has taken the storage over: two must not write one training."""
    holder = (storage / "owner").read_text(encoding="utf-8")
    if holder != token:
        raise TrainingError(f"{storage}: another call has taken this training over; this one stops")
