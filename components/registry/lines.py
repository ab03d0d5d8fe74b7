"""What lines came to, read back from MLflow: which there were, how two differ, what is where. Reading only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from components.registry import versions
from components.registry.store import TrackingError
from components.registry.tracking import COMMIT, DATA, DATASET, KIND, Run, Tracking
from components.registry.versions import RUN, RegistryError

RECIPE, DECISION, VERSION, LOCK = "convoy.recipe", "convoy.decision", "convoy.version", "convoy.lock"
FLOW_RUN = "convoy.prefect_flow_run"
RAN, REUSED, SKIPPED = (
    "convoy.ran.",
    "convoy.reused.",
    "convoy.skipped.",
)  # and the step: its run, or why it had none
SECONDS = "seconds."  # and the part of the line: its wall time
ORIGINS = {"recipe": RECIPE, "data set": DATASET, "data": DATA, "commit": COMMIT, "libraries": LOCK}

_ID = re.compile(r"^[0-9a-f]{4,32}$")
_VERSION = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)(@(?P<alias>[A-Za-z0-9._-]+)|:(?P<version>[0-9]+))$")


@dataclass(frozen=True)
class Line:
    """One run of the line, as MLflow tells it."""

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

    @property
    def steps(self) -> dict[str, str]:
        """Step → the run that did it, in this line or in an earlier one."""
        return {**self.reused, **self.ran}


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same in two lines; None where one of them has none."""

    what: str
    one: str | None
    other: str | None


@dataclass(frozen=True)
class Compared:
    """Two figures, with their intervals where they were measured."""

    what: str
    one: tuple[float, float | None, float | None]
    other: tuple[float, float | None, float | None]


@dataclass(frozen=True)
class Comparison:
    """What differs between two lines, and nothing else."""

    one: Line
    other: Line
    origins: list[Difference]
    params: list[Difference]
    steps: list[Difference]  # done by different runs
    figures: list[Compared]


@dataclass(frozen=True)
class Standing:
    """A version with an alias."""

    model: str
    alias: str
    version: int
    metric: str
    value: float
    low: float | None
    high: float | None
    line: str | None  # the run that made it


def experiments(tracking: Tracking) -> list[Tracking]:
    """The same connection, within each experiment that there is."""
    return [tracking.within(name) for name in tracking.experiments()]


def recent(tracking: Tracking, limit: int, model: str | None = None) -> list[Line]:
    """The newest lines, of one model or of all, newest first."""
    places = [place for place in experiments(tracking) if model in (None, place.experiment)]
    found = [_line(place, run) for place in places for run in place.search({KIND: "line"}, limit=limit)]
    return sorted(found, key=lambda line: line.started, reverse=True)[:limit]


def find(tracking: Tracking, text: str) -> Line:
    """The line that `text` names: `last`, the first characters of a run's id, `NAME@alias` or `NAME:version`.

    A run of a step names the line that it belongs to. RegistryError says what there is.
    """
    if text == "last":
        newest = recent(tracking, 1)
        if not newest:
            raise RegistryError("no line has been run yet: `convoy run` does it")
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
        what = "several lines" if found else "no line"
        raise RegistryError(f"{text}: {what} of that id; {'they are' if found else 'the last ones are'}: {known}")
    return found[0]


def compare(tracking: Tracking, one: Line, other: Line) -> Comparison:
    """What is not the same: origin, parameters, the runs that did the steps, figures of what is served."""
    figures = [figures_of(tracking, line) for line in (one, other)]
    return Comparison(
        one,
        other,
        origins=_differences(one.origins, other.origins),
        params=_differences(one.params, other.params),
        steps=_differences(one.steps, other.steps),
        figures=[
            Compared(name, value, figures[1][name])
            for name, value in figures[0].items()
            if name in figures[1] and value != figures[1][name]
        ],
    )


def figures_of(tracking: Tracking, line: Line) -> dict[str, tuple[float, float | None, float | None]]:
    """Name → value and interval of everything measured on what would be served; groups' figures are left out."""
    if "evaluate" not in line.steps:
        return {}
    metrics = tracking.get(line.steps["evaluate"]).metrics
    whole = [name for name in metrics if re.fullmatch(r"[^.]+\.[^.]+", name)]
    return {name: (metrics[name], metrics.get(f"{name}.low"), metrics.get(f"{name}.high")) for name in sorted(whole)}


def standings(tracking: Tracking) -> list[Standing]:
    """Every alias of every registered model: what is in production, what is staged, what would be put back."""
    found = []
    for name in versions.names(tracking):
        for alias, version in sorted(versions.aliases(tracking, name).items()):
            evidence = versions.version_evidence(tracking, name, version)
            figure = evidence.figures[evidence.primary]
            step = versions.version_tags(tracking, name, version).get(RUN)
            made = tracking.get(step).parent if step else None
            found.append(Standing(name, alias, version, evidence.primary, figure.value, figure.low, figure.high, made))
    order = [versions.PRODUCTION, versions.STAGING, versions.CANDIDATE, versions.PREVIOUS]
    return sorted(found, key=lambda each: (each.model, order.index(each.alias) if each.alias in order else len(order)))


def _of_version(tracking: Tracking, name: str, alias: str | None, number: str | None) -> Line:
    version = int(number) if number else versions.aliased(tracking, name, str(alias))
    if version is None:
        known = ", ".join(f"{name}@{each}" for each in versions.aliases(tracking, name))
        known = known or ", ".join(versions.names(tracking)) or "no model"
        raise RegistryError(f"{name} has no alias {alias}; there are: {known}")
    return _above(tracking, versions.version_tags(tracking, name, version)[RUN])


def _above(tracking: Tracking, run_id: str) -> Line:
    """The line that a run belongs to."""
    run = tracking.get(run_id)
    while run.parent is not None:
        run = tracking.get(run.parent)
    if run.tags.get(KIND) != "line":
        raise TrackingError(f"run {run_id} belongs to no line: it is of kind {run.tags.get(KIND, 'unknown')!r}")
    return _line(tracking.of_run(run.id), run)


def _line(place: Tracking, run: Run) -> Line:
    def steps(prefix: str) -> dict[str, str]:
        return {key.removeprefix(prefix): value for key, value in run.tags.items() if key.startswith(prefix)}

    primary = [name for name in run.metrics if not name.startswith(SECONDS)]
    version = run.tags.get(VERSION)
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
        decision=run.tags.get(DECISION),
        version=int(version) if version else None,
        ran=steps(RAN),
        reused=steps(REUSED),
        params=run.params,
        origins={what: run.tags[tag] for what, tag in ORIGINS.items() if tag in run.tags},
        flow_run=run.tags.get(FLOW_RUN),
    )


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[Difference]:
    keys = dict.fromkeys([*one, *other])
    return [Difference(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)]
