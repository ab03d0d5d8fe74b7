"""What people call a version of a data set → its name and what DVC calls the version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from components import own_files, texts
from components.config import ConfigurationError, dataset_names, load
from components.data import places
from components.data.errors import check_name

AS_OF = "convoy.as_of"  # tag of a pipeline run: the past moment whose data it worked on
_HEX = re.compile(r"[0-9a-f]{32}")  # an MLflow run's id, or a digest of DVC's without its `.dir`


def named(root: Path, name: str | None, revisions: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The data set that the revisions are of, and each of them as `components.data.versions` takes it.

    A run says both. Raises ConfigurationError where runs, or a run and `name`, speak of different data sets.
    """
    if name is not None and not _is_known(root, name, known := dataset_names(root)):
        raise ConfigurationError(
            f"--name: expected one of {', '.join(known) or 'the entries of `datasets:`, and there is none'}, received "
            f"{texts.exact(name)}"
        )
    runs = {revision: found for revision in revisions if (found := _of_run(root, revision)) is not None}
    spoken = {revision: data for revision, (data, _) in runs.items()} | ({"--name": name} if name else {})
    if len(set(spoken.values())) > 1:
        said = ", ".join(f"{revision} of {data}" for revision, data in spoken.items())
        raise ConfigurationError(f"--name: expected versions of one data set, received {said}")
    chosen = next(iter(spoken.values()), None) or load(root).line.dataset
    return chosen, tuple(runs[revision][1] if revision in runs else revision for revision in revisions)


def _is_known(root: Path, name: str, listed: Sequence[str]) -> bool:
    """Whether there is, or was, such a data set: one whose entry was taken out still has its versions."""
    if name in listed or places.prepared(root, check_name(name)).exists():
        return True
    return f"@{name}:" in (own_files.text(root / "dvc.lock") or "")


def as_of(root: Path, name: str, model: str, moment: datetime) -> str:
    """The digest of the data set as it was at a moment: what was last committed, or what a line last worked on.

    Raises ConfigurationError where nothing is known of that time.
    """
    from components.data import versions
    from components.registry.memory import tracking

    store = tracking.connect(root, model)
    known = [
        (datetime.fromtimestamp(run.started, UTC), run.tags[tracking.DATA])
        for run in store.search({tracking.DATASET: name})
        if tracking.DATA in run.tags and AS_OF not in run.tags and run.started <= moment.timestamp()
    ]
    commit = versions.committed(root, name, moment)
    if commit is not None:
        known.append(commit)
    if not known:
        raise ConfigurationError(
            f"{moment.isoformat()}: expected a version of {name} from before that moment, received none: no commit of "
            f"dvc.lock has a valid one, and no run of {model} had begun"
        )
    return max(known)[1]


def _of_run(root: Path, revision: str) -> tuple[str, str] | None:
    """Data set and digest of a run; None where it is the id of none, and so a digest itself."""
    if not _HEX.fullmatch(revision):
        return None
    from components.registry.memory import tracking
    from components.registry.memory.store import TrackingError

    store = tracking.connect(root)
    try:
        store.get(revision)
    except TrackingError:
        return None
    return store.data_of(revision)
