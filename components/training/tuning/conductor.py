"""The actor that conducts one study with Ray Tune, and the function that its trials run.

Optuna's TPE suggests (Bergstra et al. 2011), ASHA prunes (Li et al. 2020), and the loop trains. Being an actor of its
own, it takes all trials with it when it is killed. A trial's epochs are stored under the digest of all that decides
them, so the same study, started again, hears of them without training them again, and goes on where it was.
"""

from __future__ import annotations

import math
import os
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray
from filelock import FileLock

from components.artifacts import ArtifactError, Dataset
from components.config import ConfigurationError
from components.data.errors import DataError
from components.training.jobs.job import Event, Job, TrainingError
from components.training.tuning.space import Choices, Domain, Value
from components.training.tuning.study import State, Study, Trial, TrialEvent

EPOCH, OBJECTIVE, METRICS = "epoch", "objective", "metrics"  # what a trial reports

# Read by Ray Tune where the study runs: no logs of its own beside MLflow's, every result at once, no word on stdout.
TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_RESULT_BUFFER_LENGTH": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
LEAST_IMPORTANCES = 4  # finished trials: with fewer, a forest explains nothing


@dataclass(frozen=True)
class StudyPlan:
    """All that the trials need to know."""

    study: Study
    dataset: Path
    digest: str
    storage: Path
    decoded: Path  # keeps the splits that are mapped into memory
    token: str  # name of Ray's own folder
    cpus: int  # of a trial
    use_gpu: bool


@ray.remote(num_cpus=0, concurrency_groups={"study": 1, "events": 1})  # type: ignore[call-overload]
class StudyConductor:
    """One study. Two threads: one waits for Ray Tune, the other gives events, in order."""

    def __init__(self) -> None:
        self.events: deque[TrialEvent] = deque()  # not a queue: Ray Tune pickles its callbacks

    @ray.method(concurrency_group="events")
    def take(self) -> list[TrialEvent]:
        """The events since the last call."""
        return [self.events.popleft() for _ in range(len(self.events))]

    @ray.method(concurrency_group="study")
    def run(self, plan: StudyPlan) -> str | None:
        """Do all trials; returns what went wrong with the study as a whole."""
        os.environ.update(TUNE_ENVIRONMENT)
        import optuna
        from ray import tune

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study, settings = plan.study, plan.study.line.tune
        scheduler = _scheduler(study)
        trainable = tune.with_resources(
            cast(Any, tune.with_parameters(work, plan=plan)),
            {"cpu": float(plan.cpus), **({"gpu": 1.0} if plan.use_gpu else {})},
        )
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=_searcher(study),
                scheduler=scheduler,
                num_samples=settings.trials,
                max_concurrent_trials=settings.concurrent,
                time_budget_s=settings.seconds,
                reuse_actors=True,  # or every trial would import PyTorch again
            ),
            run_config=tune.RunConfig(
                name=plan.token,
                storage_path=str(plan.storage / "ray"),
                callbacks=[_listener(self.events, scheduler)],
                failure_config=tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except tune.TuneError as error:
            return str(error)
        return None


def distribution(domain: Domain) -> Any:
    """Optuna's word for a domain."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choices):
        return CategoricalDistribution(domain.values)
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return IntDistribution(domain.low, domain.high, log=domain.log)
    return FloatDistribution(float(domain.low), float(domain.high), log=domain.log)


def importances(trials: tuple[Trial, ...], space: Mapping[str, Domain], seed: int) -> dict[str, float] | None:
    """Share of the finished trials' variance that each key explains (fANOVA, Hutter et al. 2014), largest first.

    None where fewer than four finished, or all alike.
    """
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    finished = [trial for trial in trials if trial.state == "finished" and trial.value is not None]
    if len(finished) < LEAST_IMPORTANCES or len({trial.value for trial in finished}) == 1:
        return None
    distributions = {key: distribution(domain) for key, domain in space.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for trial in finished:
        study.add_trial(
            optuna.trial.create_trial(params=dict(trial.values), distributions=distributions, value=trial.value)
        )
    return dict(get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=seed)))


def _searcher(study: Study) -> Any:
    from optuna.samplers import TPESampler
    from ray.tune.search.optuna import OptunaSearch

    own = study.own_values
    return OptunaSearch(
        space={key: distribution(domain) for key, domain in study.space.items()},
        metric=OBJECTIVE,
        mode="max" if study.watched.more else "min",
        points_to_evaluate=None if own is None else [own],  # so that the best is no worse than what there is
        sampler=TPESampler(seed=study.line.tune.seed),
    )


def _scheduler(study: Study) -> Any:
    from ray.tune.schedulers import ASHAScheduler, TrialScheduler

    class Pruning(ASHAScheduler):
        """ASHA, which remembers whom it stopped before the end: to Tune, all that ended are alike."""

        def __init__(self) -> None:
            super().__init__(
                time_attr=EPOCH,
                metric=OBJECTIVE,
                mode="max" if study.watched.more else "min",
                max_t=study.most_epochs,
                grace_period=study.line.tune.grace,
                reduction_factor=study.line.tune.reduction,
            )
            self.pruned: set[str] = set()

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            decision = str(super().on_trial_result(tune_controller, trial, result))
            if decision == TrialScheduler.STOP and result[EPOCH] < result["epochs"]:
                self.pruned.add(trial.trial_id)
            return decision

    return Pruning()


def _listener(events: deque[TrialEvent], scheduler: Any) -> Any:
    from ray.tune import Callback

    class Listener(Callback):
        """Tells what happens to the trials, and numbers them."""

        def __init__(self) -> None:
            self.numbers: dict[str, int] = {}

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self._tell(trial, "started")

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            self._tell(trial, "epoch", epoch=int(result[EPOCH]), metrics=dict(result[METRICS]))

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            state: State = "pruned" if trial.trial_id in scheduler.pruned else "finished"
            self._tell(trial, "ended", state=state)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            self._tell(trial, "ended", state="failed", message=_reason(trial.error_file))

        def _tell(self, trial: Any, kind: Any, **what: Any) -> None:
            number = self.numbers.setdefault(trial.trial_id, len(self.numbers))
            events.append(TrialEvent(number, kind, dict(trial.config), **what))

    return Listener()


def _reason(file: str | None) -> str:
    """The last line of a trial's traceback, without the error's class: Ray Tune has it in no other form yet."""
    if file is None or not Path(file).is_file():
        return "the trial's process died"
    said = Path(file).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return re.sub(r"^[\w.]+: ", "", said[-1]) if said else "the trial's process died"


# -- a trial --------------------------------------------------------------------------------------------------------


def work(config: dict[str, Value], plan: StudyPlan) -> None:
    """What Ray Tune runs as a trial."""
    try:
        _train(config, plan)
    except (TrainingError, ConfigurationError, ArtifactError, DataError) as error:
        # Its words alone: an exception whose constructor wants more than them does not survive the journey.
        raise TrainingError(" ".join(str(error).splitlines())) from None


def _train(config: dict[str, Value], plan: StudyPlan) -> None:
    """Train the trial's network, and report the validation split's figures after every epoch."""
    import torch
    from ray import tune

    from components.data.reading.decoded import map_split
    from components.training.loop import checkpoint
    from components.training.loop.loop import train
    from components.training.loop.surroundings import Data
    from components.training.processes.workers import Workers
    from components.training.reading.stream import Stream, way

    torch.set_num_threads(plan.cpus)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic cuBLAS
    workers = Workers(device=torch.device("cuda" if plan.use_gpu else "cpu"))
    job = plan.study.job(config)
    dataset = Dataset.load(plan.dataset, plan.digest)
    folder = plan.storage / f"trial-{job.fingerprint(plan.digest)[:16]}"
    seen: list[float] = []

    def report(event: Event) -> None:
        if event.kind != "epoch":
            return
        seen.append(_figure(event, plan.study))
        tune.report(
            {
                EPOCH: event.epoch,
                "epochs": job.epochs,
                OBJECTIVE: _objective(seen, job, plan.study),
                METRICS: {
                    **event.metrics,
                    "images_per_second": event.images_per_second,
                    "epoch_seconds": event.seconds,
                },
            }
        )

    # Two trials may be suggested the same values: the second hears what the first one stored.
    with FileLock(f"{folder}.lock"):
        for record in checkpoint.history(folder):
            report(Event.from_record(job.name, job.epochs, record, resumed=True))
        streamed = way(job.training, dataset, workers) == "streamed"
        data = Data(
            card=dataset.card,
            digest=dataset.digest,
            train=Stream(dataset) if streamed else map_split(dataset, "train", plan.decoded),
            validation=map_split(dataset, "validation", plan.decoded),
        )
        train(job, data, folder, workers=workers, on_event=report)


def _figure(event: Event, study: Study) -> float:
    value = event.metrics.get(study.metric)
    if value is None or not math.isfinite(value):
        raise TrainingError(f"{study.metric}: expected a number after epoch {event.epoch}, received {value}")
    return value


def _objective(seen: list[float], job: Job, study: Study) -> float:
    """The figure of the weights that a training would hand back now: with `patience`, those of its best epoch."""
    if job.training.patience is None:
        return seen[-1]
    return study.watched.best(seen, float)
