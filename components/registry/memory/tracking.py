"""What the pipeline remembers: runs, their figures and files, in MLflow.

A plain interface for flows, which never import MLflow: text, numbers and paths go in and come out. Every call names its
run; MLflow's "active run" and its global address are not used, so threads and several stores in one process are safe.
The registry of models (`registration`, `decisions`) is built on the same connection.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Dataset as DatasetEntity
from mlflow.entities import DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag, ViewType
from mlflow.entities import Run as RunEntity
from mlflow.exceptions import MlflowException

from components import machine, offered, texts
from components.artifacts import Evidence
from components.files import digest_values, replacing
from components.registry.memory import addresses, database, place
from components.registry.memory.store import (
    MissingError,
    TrackingError,
    creation_lock,
    explained,
    is_server,
    local_path,
    local_uri,
    probe,
)
from components.secrecy import scrub

KEY = "convoy.key"  # tag: digest of a step's inputs, configuration and code
DATASET, DATA = "convoy.dataset", "convoy.data"  # tags of a pipeline run: the data set's name, and DVC's digest of it
KIND = "kind"  # tag: what a run is: pipeline, step, network, decision, tune, trial, bench or range-test
PIPELINE, EARLIER = "pipeline", "line"  # the kind of a pipeline's run, now and in stores of earlier releases
COMMIT = "mlflow.source.git.commit"
PROCESSOR = "convoy.processor"  # tag: the kind that what was measured was measured on, in words
PARENT = "mlflow.parentRunId"
NOTE = "mlflow.note.content"

MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow's pages open as for chats

DIGEST = 36  # characters of a data set's digest: MLflow keeps no more
UNUSED = "Default"  # the experiment that MLflow makes by itself
LONGEST_KEY = 250  # characters: MLflow's own limit
BATCH = 100  # MLflow's own limit of params and tags a request; metrics may be 1,000

Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Run:
    """One run as it was when it was read."""

    id: str
    name: str
    status: Status
    started: float  # seconds since 1970
    finished: float | None
    params: dict[str, str]
    metrics: dict[str, float]  # last value of each
    tags: dict[str, str]
    artifacts: str = ""  # where its files are, as MLflow says it

    @property
    def parent(self) -> str | None:
        return self.tags.get(PARENT)


def _asked(doing: str) -> Callable[[Callable[Concatenate[Tracking, P], R]], Callable[Concatenate[Tracking, P], R]]:
    """Errors of a Tracking method, explained."""

    def decorate(method: Callable[Concatenate[Tracking, P], R]) -> Callable[Concatenate[Tracking, P], R]:
        @functools.wraps(method)
        def call(self: Tracking, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with explained(self.uri, doing):
                return method(self, *args, **kwargs)

        return call

    return decorate


@dataclass(frozen=True)
class Tracking:
    """A connection to one MLflow store, with the experiment that new runs go to."""

    root: Path
    uri: str
    client: MlflowClient
    experiment: str | None = None  # its name
    experiment_id: str | None = None
    ui: str | None = None  # address of MLflow's pages, where known

    @_asked("opening the experiment")
    def within(self, experiment: str) -> Tracking:
        """The same connection, with its new runs in `experiment`, which is created where there is none."""
        found = self.client.get_experiment_by_name(experiment)
        if found is None:
            # A server that keeps artifacts itself decides where; for a database of our own they lie beside it.
            location = None if is_server(self.uri) else place.artifacts(self.root).as_uri()
            try:
                identifier = self.client.create_experiment(experiment, artifact_location=location, tags=MODEL_TRAINING)
            except MlflowException:
                found = self.client.get_experiment_by_name(experiment)  # another process was faster
                if found is None:
                    raise
        if found is not None:
            if found.lifecycle_stage != "active":
                said = deleted_experiment(self.uri, experiment, found.experiment_id)
                raise TrackingError(f"MLflow at {scrub(self.uri)}: {said}, or give the pipeline another `model:` name")
            identifier = found.experiment_id
        return replace(self, experiment=experiment, experiment_id=identifier)

    @_asked("reading the experiments")
    def experiments(self) -> list[str]:
        """The names of all that were not deleted."""
        return [str(found.name) for found in self.client.search_experiments(view_type=ViewType.ACTIVE_ONLY)]

    @_asked("opening a run's experiment")
    def of_run(self, run_id: str) -> Tracking:
        """The same connection, with its new runs in the experiment that a run belongs to."""
        found = self.client.get_experiment(self.client.get_run(run_id).info.experiment_id)
        return self.within(found.name)

    # -- a run's life

    @_asked("starting a run")
    def start_run(self, name: str, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Open a run, below `parent` where one is given, and return its id. It stays RUNNING until `finish`."""
        labels = dict(tags or {})
        if parent is not None:
            labels[PARENT] = parent
        kept = {key: texts.storable(str(value)) for key, value in labels.items()}
        made = self.client.create_run(self._experiment_id(), tags=kept, run_name=texts.shown(name))
        return str(made.info.run_id)

    @_asked("finishing a run")
    def finish(self, run_id: str, status: Status = "FINISHED") -> None:
        """Close a run."""
        self.client.set_terminated(run_id, status)

    @_asked("opening a run again")
    def reopen(self, run_id: str) -> None:
        """Go on with a run that was closed, for example as KILLED."""
        self.client.update_run(run_id, status="RUNNING")

    # -- what a run says

    @_asked("logging parameters")
    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Record settings. A parameter keeps its first value for ever: what may change belongs into tags."""
        entries = [Param(_key(key), texts.printable(scrub(str(value)))) for key, value in params.items()]
        for start in range(0, len(entries), BATCH):
            self.client.log_batch(run_id, params=entries[start : start + BATCH])

    @_asked("logging metrics")
    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Record figures at one step, in one request. A repeated step overrides: the last value of a step counts."""
        now = int(time.time() * 1000)
        entries = [Metric(_key(key), float(value), now, step) for key, value in metrics.items()]
        for start in range(0, len(entries), BATCH):
            self.client.log_batch(run_id, metrics=entries[start : start + BATCH])

    def log_evidence(self, run_id: str, evidence: Evidence) -> None:
        """Record every figure as `SPLIT.NAME`, its interval as `.low` and `.high`; the groups'; and the processor."""
        self.log_metrics(run_id, evidence_metrics(evidence))
        if evidence.processor:
            self.log_tags(run_id, {PROCESSOR: machine.said(evidence.processor)})

    @_asked("setting tags")
    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set labels; a second value replaces the first."""
        entries = [RunTag(key, texts.storable(scrub(str(value)))) for key, value in tags.items()]
        for start in range(0, len(entries), BATCH):
            self.client.log_batch(run_id, tags=entries[start : start + BATCH])

    def log_note(self, run_id: str, markdown: str) -> None:
        """The description at the top of the run's page."""
        self.log_tags(run_id, {NOTE: markdown})

    @_asked("storing a file")
    def log_artifact(self, run_id: str, file: Path, folder: str | None = None) -> None:
        """Keep a copy of `file` with the run, inside `folder` of its artifacts."""
        self.client.log_artifact(run_id, str(file), folder)

    @_asked("storing files")
    def log_artifacts(self, run_id: str, source: Path, folder: str | None = None) -> None:
        """Keep a copy of everything in `source` with the run, inside `folder` of its artifacts."""
        self.client.log_artifacts(run_id, str(source), folder)

    @_asked("recording the model")
    def log_model_output(self, run_id: str, model_id: str) -> None:
        """Show a logged model (`m-…`) as what the run has made."""
        self.client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])

    @_asked("recording the data set")
    def log_dataset_input(
        self, run_id: str, name: str, digest: str, *, source: str, context: str, profile: str = "{}"
    ) -> None:
        """Show a data set as the run's input. `context` says what for (training, evaluation); `source` where it is."""
        entity = DatasetEntity(
            name=name,
            digest=digest[:DIGEST],  # the whole digest is in the tag
            source_type="local",
            source=source,
            profile=profile,
        )
        tags = [InputTag("mlflow.data.context", context), InputTag("convoy.digest", digest)]
        self.client.log_inputs(run_id, [DatasetInput(entity, tags)])

    # -- what runs said

    @_asked("looking for a finished step")
    def find_finished(self, key: str) -> str | None:
        """The newest FINISHED run of this experiment with that key, or None."""
        runs = self.client.search_runs(
            [self._experiment_id()],
            f"tags.`{KEY}` = '{key}' and attributes.status = 'FINISHED'",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return str(runs[0].info.run_id) if runs else None

    def runs_left_running(self, tags: Mapping[str, str] | None = None) -> list[str]:
        """Runs that nobody finished, with these tags. Decisions are left out: `decisions.settle` closes those."""
        return [run.id for run in self.search(tags, status="RUNNING") if run.tags.get(KIND) != "decision"]

    @_asked("searching runs")
    def search(
        self, tags: Mapping[str, str] | None = None, status: Status | None = None, limit: int | None = None
    ) -> list[Run]:
        """Runs of this experiment with all these tags, newest first."""
        wanted = {key: texts.storable(value) for key, value in (tags or {}).items()}
        quoted = {key: texts.mlflow_filter(value) for key, value in wanted.items()}
        apart = {key: wanted[key] for key, value in quoted.items() if value is None}  # what MLflow cannot be asked for
        conditions = [f"tags.`{key}` = {value}" for key, value in quoted.items() if value is not None]
        if status is not None:
            conditions.append(f"attributes.status = '{status}'")
        found: list[Run] = []
        token: str | None = None
        while limit is None or len(found) < limit:
            page = self.client.search_runs(
                [self._experiment_id()],
                " and ".join(conditions),
                run_view_type=ViewType.ACTIVE_ONLY,
                max_results=min(1000, limit - len(found)) if limit is not None and not apart else 1000,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            found += [run for run in map(run_of, page) if apart.items() <= run.tags.items()]
            token = page.token
            if not token:
                break
        return found[:limit]

    def children(self, run_id: str) -> list[Run]:
        """The runs directly below a run, oldest first."""
        return self.search({PARENT: run_id})[::-1]

    @_asked("reading a run")
    def get(self, run_id: str) -> Run:
        """One run; TrackingError where there is none."""
        return run_of(self.client.get_run(run_id))

    def data_of(self, run_id: str) -> tuple[str, str]:
        """Name and digest of the data set that a line, or a step of one, worked on; TrackingError where none is known.

        Both are tags of the pipeline run; a step's run is below it, however deep.
        """
        run = self.get(run_id)
        while DATA not in run.tags and run.parent is not None:
            run = self.get(run.parent)
        if not {DATASET, DATA} <= run.tags.keys():
            raise TrackingError(
                f"MLflow at {scrub(self.uri)}: expected run {run_id}, or one above it, to have the tags {DATASET!r} "
                f"and {DATA!r}, and {run.id}, the topmost looked at, lacks them; name a run that got as far "
                "as its data"
            )
        return run.tags[DATASET], run.tags[DATA]

    @_asked("reading files")
    def artifact_folder(self, run: str | Run, path: str = "") -> Path:
        """A folder (or file) of a run's artifacts as a local path: in place where the store is local, else downloaded.

        A run is known by its id; one that was read already is not asked for again. To be read only. Raises
        TrackingError where the run has no such artifact.
        """
        known = self.get(run) if isinstance(run, str) else run
        run_id, store = known.id, local_path(known.artifacts)
        if store is not None:
            found = store / path
        else:
            kept = self.fetched(run_id) / digest_values({"path": path})[:12]
            found = kept / (Path(path).name or "artifacts")
            if not (known.status == "FINISHED" and found.exists()):
                with replacing(kept) as temporary:
                    scratch = temporary / ".fetched"
                    scratch.mkdir()
                    fetched = Path(self.client.download_artifacts(run_id, path, str(scratch)))
                    if fetched.exists():
                        fetched.rename(temporary / found.name)
                    shutil.rmtree(scratch, ignore_errors=True)
        if not found.exists():
            raise MissingError(
                f"MLflow at {scrub(self.uri)}: run {run_id} has no artifact {path!r} (looked for {found}); "
                "its files were deleted or moved"
            )
        return found

    def fetched(self, run_id: str) -> Path:
        """Where files of the run are kept that were fetched from a server; removing it has them fetched again."""
        known = run_id if re.fullmatch(r"[\w-]+", run_id) else digest_values({"run": run_id})  # as a tag may say it
        return self.root / ".convoy" / "downloads" / known

    @_asked("looking for a file")
    def has_artifact(self, run_id: str, path: str) -> bool:
        """Whether a run keeps that file."""
        folder = path.rpartition("/")[0]
        return path in {entry.path for entry in self.client.list_artifacts(run_id, folder or None)}

    # -- addresses

    def run_link(self, run_id: str) -> str | None:
        """Where MLflow's pages show a run; None while no address of them is known."""
        return f"{self.ui}/{addresses.run(self._experiment_id(), run_id)}" if self.ui else None

    def inside(self, run_id: str, path: str = "") -> str:
        """The link to a run, or to a file of it, in one of MLflow's own descriptions."""
        experiment = self._experiment_id()
        return addresses.file(experiment, run_id, path) if path else addresses.run(experiment, run_id)

    def environment(self) -> dict[str, str]:
        """What a child process needs in its environment to use the same store (`mlflow models serve …`)."""
        switches = {key: value for key, value in os.environ.items() if key.startswith("MLFLOW_")}
        # `mlflow models serve` starts uvicorn by its name, which is found only where the environment is activated.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {**switches, "PATH": path, "MLFLOW_TRACKING_URI": self.uri}

    def _experiment_id(self) -> str:
        if self.experiment_id is None:
            raise TrackingError("no experiment chosen: use connect(root, experiment) or tracking.within(experiment)")
        return self.experiment_id


@contextmanager
def looking(root: Path) -> Iterator[Tracking]:
    """`connect`, for whoever only reads: where there is no database yet an empty one answers that is gone afterwards.

    Only lines make things: who mistypes a name leaves nothing behind.
    """
    file = database.path(os.environ.get("MLFLOW_TRACKING_URI") or local_uri(root))
    if file is None or file.exists():
        yield connect(root)
        return
    with tempfile.TemporaryDirectory(prefix="convoy-look-") as folder:
        yield connect(Path(folder), uri=local_uri(Path(folder)))


def connect(root: Path, experiment: str | None = None, *, ui: str | None = None, uri: str | None = None) -> Tracking:
    """Open the store that MLFLOW_TRACKING_URI names, or the project's own SQLite database below `root/.convoy`.

    A database is created once, under a file lock: two processes creating the same tables break each other. Where the
    project was moved or copied, its own database is told the new place (`place`), once. A server that does not answer
    raises TrackingError within seconds. `ui` is the address of MLflow's pages, by default
    CONVOY_MLFLOW_UI, or the server itself; `uri` is another store than these.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or local_uri(root)
    pages = ui or os.environ.get("CONVOY_MLFLOW_UI")
    if is_server(uri):
        probe(uri)
        pages = pages or scrub(uri)
    for talker in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(talker).setLevel(logging.WARNING)  # forty lines about tables, at every new project
    if wrong := database.problem(uri):
        raise TrackingError(wrong)
    with creation_lock(root, uri), explained(uri, "connecting"):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)  # creates the tables where there are none
        client.search_experiments(max_results=1)
        place.settle(root, uri)
        tracking = Tracking(root, uri, client, ui=pages.rstrip("/") if pages else None)
        return tracking.within(experiment) if experiment is not None else tracking


def evidence_metrics(evidence: Evidence) -> dict[str, float]:
    """Every figure as `SPLIT.NAME`, its interval as `.low` and `.high`, the groups' as `SPLIT.COLUMN.GROUP.NAME`."""
    metrics: dict[str, float] = {}
    named = {f"{evidence.split}.{name}": figure for name, figure in evidence.figures.items()}
    named |= {
        texts.mlflow_name(evidence.split, row.column, row.group, row.metric): row.figure for row in evidence.groups
    }
    for name, figure in named.items():
        metrics[name] = figure.value
        if figure.low is not None and figure.high is not None:
            metrics |= {f"{name}.low": figure.low, f"{name}.high": figure.high}
    for name, value in evidence.disparity.items():
        column, _, what = name.rpartition(".")
        metrics[texts.mlflow_name(evidence.split, "disparity", column, what)] = value
    return metrics


def deleted_experiment(uri: str, name: str, identifier: str) -> str:
    """What is said of an experiment that was deleted: the command that brings it and its runs back."""
    way = offered.mlflow(uri, "experiments", "restore", "-x", identifier)
    return f"experiment {name!r} was deleted with its runs; restore it: `{way}`"


def _key(name: str) -> str:
    """A whole name of a metric or parameter; those of groups are made of parts (`evidence_metrics`) and fit already."""
    return texts.mlflow_key(name, LONGEST_KEY)


def of_pipeline(run: Run) -> bool:
    """Whether it is a run of the pipeline, the parent of its steps."""
    return run.tags.get(KIND) in (PIPELINE, EARLIER)


def run_of(entity: RunEntity) -> Run:
    """A run of MLflow's, as it is now."""
    info, data = entity.info, entity.data
    return Run(
        id=str(info.run_id),
        name=str(info.run_name),
        status=info.status,
        started=(info.start_time or 0) / 1000.0,  # other people's runs may have none
        finished=info.end_time / 1000.0 if info.end_time else None,
        params=dict(data.params),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
        artifacts=str(info.artifact_uri),
    )
