"""On which runs something stands, and on which nothing does: what may be cleared out of the project's own store.

Never cleared: the run that made a registered version with its steps and what is below them, whatever alias the
version has or had; every decision; every run; the steps of runs that came to a version that still exists, and of each
recipe's last run, since the next run finds them done. Files are `flows.cleaning`'s to remove; here runs are only
asked for, and deleted or restored in MLflow.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities.model_registry import ModelVersion

from components.registry.lines import RAN, RECIPE, REUSED, VERSION, experiments
from components.registry.memory.store import explained, local_uri
from components.registry.memory.tracking import EARLIER, KIND, PARENT, PIPELINE, Run, Tracking, of_pipeline
from components.registry.record import now
from components.registry.versions import RUN

CLEANED = "convoy.cleaned"  # tag of a run: when its files were cleared away
STEP = "convoy.step"  # tag: which step a run is
ENDED = {"FINISHED", "FAILED", "KILLED"}
RECORDS = ("decision", PIPELINE, EARLIER)  # kinds of runs that are never cleared
PAGE = 1000  # versions that MLflow lists at a time


Known = dict[str, tuple[str, Run]]  # a run's id → its model (experiment), and the run


@dataclass(frozen=True)
class Standing:
    """What must stay: runs by their ids, and packages (logged models) by theirs."""

    runs: frozenset[str]
    models: frozenset[str]


@dataclass(frozen=True)
class Idle:
    """A step that ended, and that nothing stands on."""

    run: str
    below: tuple[str, ...]  # the runs of its networks
    step: str
    model: str  # the experiment
    status: str
    ended: float  # seconds since 1970
    seconds: float  # how long doing it took; 0 where it did not finish


def is_own(root: Path) -> bool:
    """Whether the store is the project's own database, whose files lie in the project, and not somebody's server."""
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return (not named or named == local_uri(root)) and (root / ".convoy" / "mlflow.db").is_file()


def standing(tracking: Tracking) -> Standing:
    """Everything that must stay."""
    return _standing(tracking, _everything(tracking))


def idle(tracking: Tracking, before: float) -> list[Idle]:
    """Steps that ended before a moment (seconds since 1970) and that nothing stands on, oldest first."""
    known = _everything(tracking)
    stays, below = _standing(tracking, known), _below(known)
    found = []
    for model, run in known.values():
        ended = run.finished or run.started
        if run.tags.get(KIND) != "step" or run.status not in ENDED or run.id in stays.runs or ended >= before:
            continue
        children = tuple(below.get(run.id, ()))
        if any(known[child][1].status not in ENDED for child in children):
            continue  # the next start closes it
        took = run.metrics.get("seconds", 0.0) if run.status == "FINISHED" else 0.0
        found.append(Idle(run.id, children, run.tags.get(STEP, run.name), model, run.status, ended, took))
    return sorted(found, key=lambda each: each.ended)


def deleted_runs(tracking: Tracking, before: float) -> list[str]:
    """Runs that were deleted in MLflow before a moment, or by `retire` at any time, and that nothing stands on.

    MLflow's own `gc` would not ask what stands on them.
    """
    with explained(tracking.uri, "looking for deleted runs"):
        store = tracking.client._tracking_client.store  # what `mlflow gc` asks; there is no public call with the time
        gone = set(store._get_deleted_runs(max(0, int((time.time() - before) * 1000))))
        ours = {each for each in store._get_deleted_runs() if CLEANED in tracking.client.get_run(each).data.tags}
        stays = standing(tracking).runs
        return sorted(each for each in (gone | ours) - stays if not _is_record(tracking, each))


def deleted_models(tracking: Tracking, before: float) -> list[str]:
    """Packages that were deleted in MLflow (a registration that failed leaves one), and that are no version's."""
    with explained(tracking.uri, "looking for deleted models"):
        store = tracking.client._tracking_client.store  # as in `deleted_runs`
        gone = set(store._get_deleted_logged_models(max(0, int((time.time() - before) * 1000))))
    return sorted(gone - standing(tracking).models)


def retire(tracking: Tracking, runs: Sequence[str]) -> None:
    """Delete runs in MLflow: from now on no run finds them done. Their figures stay, and so does a way back."""
    with explained(tracking.uri, "deleting runs"):
        for run in runs:
            tracking.client.set_tag(run, CLEANED, now())
            tracking.client.delete_run(run)


def take_back(tracking: Tracking, runs: Sequence[str]) -> None:
    """Undo `retire`, as long as the files are there."""
    with explained(tracking.uri, "restoring runs"):
        for run in runs:
            tracking.client.restore_run(run)
            tracking.client.delete_tag(run, CLEANED)


def _standing(tracking: Tracking, known: Known) -> Standing:
    below, entries = _below(known), _versions(tracking)
    kept = {run.id for _, run in known.values() if run.tags.get(KIND) in RECORDS}
    for entry in entries:
        kept |= _made_by(tracking, known, str(entry.tags.get(RUN) or entry.run_id or ""))
    for line in _lines_that_count(known, {(str(entry.name), str(entry.version)) for entry in entries}):
        kept |= _steps(line.tags)
    waiting = list(kept)
    while waiting:  # what lies below a step that stays, stays
        run = waiting.pop()
        if run in known and known[run][1].tags.get(KIND) in RECORDS:
            continue  # not all that was begun below a line: what it came to is in its tags
        for child in set(below.get(run, ())) - kept:
            kept.add(child)
            waiting.append(child)
    return Standing(frozenset(kept), frozenset(filter(None, map(_package, entries))))


def _everything(tracking: Tracking) -> Known:
    """Every run that is not deleted, of all experiments that are not."""
    return {run.id: (str(place.experiment), run) for place in experiments(tracking) for run in place.search()}


def _below(known: Known) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for _, run in known.values():
        if run.parent is not None:
            found.setdefault(run.parent, []).append(run.id)
    return found


def _versions(tracking: Tracking) -> list[ModelVersion]:
    """Every version of every registered model."""
    found: list[ModelVersion] = []
    token: str | None = None
    with explained(tracking.uri, "reading the registered versions"):
        while True:
            page = tracking.client.search_model_versions(max_results=PAGE, page_token=token)
            found += page
            token = page.token
            if not token:
                return found


def _made_by(tracking: Tracking, known: Known, run: str) -> set[str]:
    """The run that registered a version, those above it, and the steps of their line: deleted ones, too."""
    kept: set[str] = set()
    while run and run not in kept:
        kept.add(run)
        tags = known[run][1].tags if run in known else _tags_of(tracking, run)
        kept |= _steps(tags)
        run = tags.get(PARENT, "")
    return kept


def _tags_of(tracking: Tracking, run: str) -> dict[str, str]:
    """The tags of a run that may have been deleted; none where MLflow does not know it any more."""
    from mlflow.exceptions import MlflowException

    try:
        return dict(tracking.client.get_run(run).data.tags)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def _lines_that_count(known: Known, alive: set[tuple[str, str]]) -> list[Run]:
    """Finished runs that came to a version that is still there, and the last finished one of each recipe."""
    found: list[Run] = []
    last: dict[tuple[str, str], Run] = {}
    for model, run in sorted(known.values(), key=lambda entry: entry[1].started):
        if not of_pipeline(run) or run.status != "FINISHED":
            continue
        last[model, run.tags.get(RECIPE, "")] = run
        if (model, run.tags.get(VERSION, "")) in alive:
            found.append(run)
    return [*found, *last.values()]


def _steps(tags: Mapping[str, str]) -> set[str]:
    return {value for key, value in tags.items() if key.startswith((RAN, REUSED))}


def _package(entry: ModelVersion) -> str | None:
    """The id of a version's package: MLflow says it, or the package's place does."""
    within = re.search(r"(m-[0-9a-f]+)", str(entry.source))
    return str(entry.model_id) if entry.model_id else within[1] if within else None


def _is_record(tracking: Tracking, run: str) -> bool:
    """Whether a run is of a kind whose files stay, also where somebody has deleted it."""
    return _tags_of(tracking, run).get(KIND) in RECORDS
