"""What lines came to, read back from MLflow: which there were, and what is where. Reading only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow.entities.model_registry import ModelVersion

from components import machine, offered, texts
from components.artifacts.decision import gates_action
from components.registry import decisions, listing, versions
from components.registry.gates.cost import LATENCY
from components.registry.memory.store import MissingError, TrackingError
from components.registry.memory.tracking import (
    COMMIT,
    DATA,
    DATASET,
    KIND,
    NOTE,
    Run,
    Tracking,
    deleted_experiment,
    of_pipeline,
)
from components.registry.versions import FILES, RUN, RegistryError

RECIPE, DECISION, VERSION, LOCK = "convoy.recipe", "convoy.decision", "convoy.version", "convoy.lock"
STEP = "convoy.step"  # tag of a step's run: which it is
FLOW_RUN, LEASE = "convoy.prefect_flow_run", "convoy.lease"
STEPS_RENAMED = {"validation": "data-validation"}  # as runs of earlier releases have them
_EARLIER_LEASE = "convoy.line"  # as runs of earlier releases have it
RAN, REUSED, SKIPPED = (
    "convoy.ran.",
    "convoy.reused.",
    "convoy.skipped.",
)  # and the step: its run, or why it had none
SECONDS = "seconds."  # and the part of the pipeline: its wall time
ORIGINS = {"recipe": RECIPE, "data set": DATASET, "data": DATA, "commit": COMMIT, "libraries": LOCK}

_FAILED = re.compile(r"\*\*(failed|killed)\*\*: (?P<why>.*)", re.DOTALL)  # as `opening` and `course` write them
_NOT_PASSED = re.compile(r"^\*\*fail version \d+\*\*: (?P<why>.*)$", re.MULTILINE)
_ID = re.compile(r"^[0-9a-f]{4,32}$")
_VERSION = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)(@(?P<alias>[A-Za-z0-9._-]+)|:(?P<version>[0-9]+))$")


@dataclass(frozen=True)
class Line:
    """One run of the pipeline, as MLflow tells it."""

    id: str
    model: str  # the experiment
    experiment_id: str
    recipe: str
    status: str
    started: float  # seconds since 1970
    seconds: float | None  # None while it runs
    metric: str | None  # the primary one, and its value, of what would be served
    value: float | None
    decision: str | None
    version: int | None
    ran: dict[str, str]  # step → its run
    reused: dict[str, str]
    params: Mapping[str, str]
    origins: dict[str, str]  # recipe, data set, data, commit, libraries
    flow_run: str | None
    lease: str | None = None  # under which it was opened
    problem: str | None = None  # what of the run cannot be made sense of
    why: str | None = None  # why it failed, or failed the gates

    @property
    def steps(self) -> dict[str, str]:
        """Step → the run that did it, in this line or in an earlier one."""
        return {**self.reused, **self.ran}


@dataclass(frozen=True)
class Standing:
    """A version with an alias; what cannot be read of it is None, and `problem` says why and what can be done."""

    model: str
    alias: str
    version: int
    metric: str | None
    value: float | None
    low: float | None
    high: float | None
    line: str | None  # the run that made it
    latency_ms: float | None = None  # the median for one image on one thread
    processor: str | None = None  # the kind that it was timed on, in words
    problem: str | None = None
    ours: bool = True  # False: other people registered it in the same store


def experiments(tracking: Tracking) -> list[Tracking]:
    """The same connection, within each experiment that there is."""
    return listing.places(tracking)


def recent(tracking: Tracking, limit: int, model: str | None = None) -> list[Line]:
    """The newest runs, of one model or of all, newest first; TrackingError where there were none of `model`."""
    places = experiments(tracking) if model is None else [listing.within(tracking, model)]
    return [_line(place, run) for place, run in listing.runs(tracking, places, {}, limit=limit, pipelines=True)]


def running(tracking: Tracking) -> list[Line]:
    """The runs of all models that MLflow has as running, newest first; whether they live is for others to say."""
    places = experiments(tracking)
    return [_line(place, run) for place, run in listing.runs(tracking, places, {}, "RUNNING", pipelines=True)]


def steps_under_way(tracking: Tracking) -> dict[str, str]:
    """Run of the pipeline → the step of it that MLflow has as running, in one request for all."""
    found = listing.runs(tracking, experiments(tracking), {KIND: "step"}, "RUNNING")
    return {
        run.parent: STEPS_RENAMED.get(step, step) for _, run in found if run.parent and (step := run.tags.get(STEP))
    }


def find(tracking: Tracking, text: str) -> Line:
    """The run that `text` names: `last`, the first characters of a run's id, `NAME@alias` or `NAME:version`.

    A run of a step names the line that it belongs to. RegistryError says what there is.
    """
    if text == "last":
        newest = recent(tracking, 1)
        if not newest:
            raise RegistryError(f"there are no runs yet: `{offered.command('convoy', 'run')}` starts one")
        return newest[0]
    by_version = _VERSION.match(text)
    if by_version is not None:
        return _of_version(tracking, by_version["name"], by_version["alias"], by_version["version"])
    if not _ID.match(text):
        known = "`last`, a run's id (4 characters at least), NAME@alias or NAME:version"
        raise RegistryError(f"expected {known}, received {text!r}")
    if len(text) == 32:
        return _above(tracking, text)
    found = [line for line in recent(tracking, 100_000) if line.id.startswith(text)]
    if len(found) != 1:
        known = ", ".join(line.id[:12] for line in found or recent(tracking, 5)) or "none"
        what = "several runs" if found else "no run"
        raise RegistryError(f"{text}: {what} of that id; {'they are' if found else 'the last ones are'}: {known}")
    return found[0]


def standings(tracking: Tracking) -> list[Standing]:
    """Every alias of every registered model: what is in production, what is staged, what would be put back.

    One that cannot be read has its problem beside it. Asks MLflow five times, however many models there are.
    """
    models, known = listing.models(tracking), listing.versions(tracking)
    places, deleted = listing.places(tracking), listing.places(tracking, deleted=True)
    wanted = {(name, version) for name, named in models.items() for version in named.values()}
    runs = listing.runs_by_id(
        tracking,
        [*places, *deleted],
        [known[each].tags[RUN] for each in wanted if each in known and RUN in known[each].tags],
    )
    there = {str(place.experiment) for place in places}
    gone = {str(place.experiment): str(place.experiment_id) for place in deleted if place.experiment not in there}
    ours = {name for name, _ in known} | there | gone.keys()
    found = [
        _standing(tracking, name, alias, version, known.get((name, version)), runs, gone.get(name, ""))
        if name in ours
        else Standing(name, alias, version, None, None, None, None, None, problem="no run registered it", ours=False)
        for name, named in models.items()
        for alias, version in named.items()
    ]
    order = [versions.PRODUCTION, versions.STAGING, versions.CANDIDATE, versions.PREVIOUS]
    return sorted(found, key=lambda each: (each.model, order.index(each.alias) if each.alias in order else len(order)))


def aliases(standings: Sequence[Standing]) -> dict[str, dict[str, int]]:
    """Model → alias → version, of the models that lines have registered."""
    found: dict[str, dict[str, int]] = {}
    for each in standings:
        if each.ours:
            found.setdefault(each.model, {})[each.alias] = each.version
    return found


def _standing(
    tracking: Tracking,
    name: str,
    alias: str,
    version: int,
    entry: ModelVersion | None,
    runs: Mapping[str, Run],
    deleted: str,
) -> Standing:
    """One row. `entry` is None where there is no version of that number; `deleted` is the id of the model's
    experiment where that was deleted."""
    nothing = Standing(name, alias, version, None, None, None, None, None)
    if entry is None:
        lost = "the alias names a version that was deleted, or that no run registered"
        return replace(nothing, problem=f"{lost}{_how(tracking, name, alias)}")
    tags = entry.tags
    run = runs.get(tags.get(RUN, ""))
    if run is None:
        return replace(nothing, problem=f"the run that registered it is gone{_how(tracking, name, alias)}")
    nothing = replace(nothing, line=run.parent)
    try:
        folder = tracking.artifact_folder(run, tags.get(FILES, FILES))
        evidence = versions.evidence_in(folder, tags, f"{name} version {version}")
        figure = evidence.figures[evidence.primary]
        missing = versions.missing_model(tracking, entry)
    except (RegistryError, MissingError) as error:
        return replace(nothing, problem=f"{error}{_how(tracking, name, alias)}")
    except KeyError as error:
        return replace(nothing, problem=f"its evidence has no metric {error}{_how(tracking, name, alias)}")
    wrong = deleted_experiment(tracking.uri, name, deleted) if deleted else None
    wrong = f"{missing}{_how(tracking, name, alias)}" if missing else wrong
    latency = evidence.figures.get(LATENCY)
    return replace(
        nothing,
        metric=evidence.primary,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        latency_ms=latency.value if latency else None,
        processor=machine.said(evidence.processor) if evidence.processor else None,
        problem=wrong,
    )


def _how(tracking: Tracking, name: str, alias: str) -> str:
    """What can be done about a version that cannot be read."""
    if alias == versions.PRODUCTION:
        return f". Put its files back, or: {decisions.way_out(tracking, name)}"
    return f". Put its files back, or run the pipeline of {name} again, which registers a new version"


def _of_version(tracking: Tracking, name: str, alias: str | None, number: str | None) -> Line:
    version = int(number) if number else versions.aliased(tracking, name, str(alias))
    if version is None:
        known = ", ".join(f"{name}@{each}" for each in versions.aliases(tracking, name))
        known = known or ", ".join(versions.names(tracking)) or "no model"
        raise RegistryError(f"{name} has no alias {alias}; there are: {known}")
    run = versions.version_tags(tracking, name, version).get(RUN)
    if run is None:
        raise RegistryError(f"{name} version {version} was registered by no run of the pipeline: it has no tag {RUN}")
    return _above(tracking, run)


def _above(tracking: Tracking, run_id: str) -> Line:
    """The pipeline run that a run belongs to."""
    run = tracking.get(run_id)
    while run.parent is not None:
        run = tracking.get(run.parent)
    if not of_pipeline(run):
        raise TrackingError(
            f"run {run_id} belongs to no run of the pipeline: it is of kind {run.tags.get(KIND, 'unknown')!r}"
        )
    return _line(tracking.of_run(run.id), run)


def _line(place: Tracking, run: Run) -> Line:
    def steps(prefix: str) -> dict[str, str]:
        named = {key.removeprefix(prefix): value for key, value in run.tags.items() if key.startswith(prefix)}
        return {STEPS_RENAMED.get(step, step): value for step, value in named.items()}

    primary = [name for name in run.metrics if not name.startswith(SECONDS)]
    version, problem = run.tags.get(VERSION), None
    if version and not version.isdecimal():
        version, problem = None, f"its tag {VERSION} is {version!r}, expected a number"
    return Line(
        id=run.id,
        model=str(place.experiment),
        experiment_id=str(place.experiment_id),
        recipe=run.tags.get(RECIPE, "?"),
        status=run.status,
        started=run.started,
        seconds=run.finished - run.started if run.finished else None,
        metric=primary[0] if primary else None,
        value=run.metrics[primary[0]] if primary else None,
        decision=gates_action(run.tags[DECISION]) if DECISION in run.tags else None,
        version=int(version) if version else None,
        ran=steps(RAN),
        reused=steps(REUSED),
        params=run.params,
        origins={what: run.tags[tag] for what, tag in ORIGINS.items() if tag in run.tags},
        flow_run=run.tags.get(FLOW_RUN),
        lease=run.tags.get(LEASE) or run.tags.get(_EARLIER_LEASE),
        problem=problem,
        why=_why(run),
    )


def _why(run: Run) -> str | None:
    """Why a run failed, or its version the gates, as its description says it; None where it says neither."""
    found = _FAILED.match(run.tags.get(NOTE, "")) or _NOT_PASSED.search(run.tags.get(NOTE, ""))
    return texts.unmarked(found["why"].strip()) or None if found else None
