"""A whole store, looked at file by file: results of steps, versions, decisions, aliases. Reading only.

What becomes of damage is not decided here: steps are done again by the next run that needs them, and a version that
is damaged goes nowhere until another takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from components.registry import decisions, listing, record, versions
from components.registry.memory import manifest
from components.registry.memory.tracking import KIND, Run, Tracking

STEP = "convoy.step"  # tag: which step a run is


@dataclass(frozen=True)
class Problem:
    """One thing of a store that is not as it was written."""

    kind: str  # step, version, decision or alias
    name: str  # for people: `train of digits`, `digits version 3`, `digits@production`
    run_id: str | None  # the run that it belongs to
    problem: str  # which file, what was expected and what was found
    way_out: str


def check_store(
    tracking: Tracking, on_progress: Callable[[str, int, int], None] = lambda what, done, total: None
) -> list[Problem]:
    """Everything that is damaged, every file having been read; none where all is whole.

    `on_progress` hears what is looked at (`steps`, `versions`, `decisions`), how many were and how many there are.
    Results and versions that are older than manifests count as whole where they can be read. TrackingError where
    MLflow cannot be asked.
    """
    places = listing.places(tracking)
    steps = listing.runs(tracking, places, {KIND: "step"}, "FINISHED")
    known, models = listing.versions(tracking), listing.models(tracking)
    said = listing.runs(tracking, places, {KIND: "decision"}, "FINISHED")
    found: list[Problem] = []
    for number, (place, run) in enumerate(steps, 1):
        found += _step(tracking, str(place.experiment), run)
        on_progress("steps", number, len(steps))
    for number, (name, version) in enumerate(known, 1):
        found += _version(tracking, name, version, models.get(name, {}).get(versions.PRODUCTION) == version)
        on_progress("versions", number, len(known))
    for number, (_, run) in enumerate(said, 1):
        found += _decision(tracking, run)
        on_progress("decisions", number, len(said))
    ours = {name for name, _ in known} | {str(place.experiment) for place in places}
    lost = [
        (name, alias, version)
        for name, named in models.items()
        for alias, version in named.items()
        if name in ours and (name, version) not in known
    ]
    return found + [_alias(tracking, *each) for each in lost]


def _step(tracking: Tracking, model: str, run: Run) -> list[Problem]:
    wrong = manifest.damage(tracking, run)
    if not wrong:
        return []
    name = f"{run.tags.get(STEP, run.name)} of {model}"
    return [Problem("step", name, run.id, manifest.said(wrong), "the next run that needs it does it again")]


def _version(tracking: Tracking, name: str, version: int, in_production: bool) -> list[Problem]:
    wrong = versions.problem(tracking, name, version)
    if wrong is None:
        return []
    way = decisions.way_out(tracking, name) if in_production else f"the next run of {name} registers a new version"
    run = versions.version_tags(tracking, name, version).get(versions.RUN)
    return [Problem("version", f"{name} version {version}", run, wrong, f"put its files back; or: {way}")]


def _decision(tracking: Tracking, run: Run) -> list[Problem]:
    _, wrong = record.told(tracking, run)
    if wrong is None:
        return []
    name = f"{run.tags.get(record.ACTION, '?')} {run.tags.get(record.MODEL, '?')} v{run.tags.get(record.VERSION, '?')}"
    way = "put its file back; the ledger tells it by its run's tags, and the next run judges a version anew"
    return [Problem("decision", name, run.id, wrong, way)]


def _alias(tracking: Tracking, name: str, alias: str, version: int) -> Problem:
    in_production = alias == versions.PRODUCTION
    way = decisions.way_out(tracking, name) if in_production else f"the next run of {name} moves it"
    return Problem("alias", f"{name}@{alias}", None, f"it names version {version}, which is not there", way)
