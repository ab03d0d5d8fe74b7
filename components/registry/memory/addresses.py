"""Where MLflow's pages show things: addresses below that of the pages, so that a link holds on any port.

In MLflow's own descriptions such an address is a link as it stands; everywhere else `Tracking.ui` goes in front of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

VIEW = "workflowType=machine_learning"  # else the pages open as those of chats, without runs and models beside them


def experiment(experiment_id: str) -> str:
    """The runs of an experiment in the order in which they began, so that a run's steps read downwards."""
    return f"#/experiments/{experiment_id}/runs?{VIEW}&orderByKey=attributes.start_time&orderByAsc=true"


def run(experiment_id: str, run_id: str) -> str:
    """One run: description, parameters, figures, data sets."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{VIEW}"


def file(experiment_id: str, run_id: str, path: str) -> str:
    """A file among a run's artifacts, shown."""
    return f"#/experiments/{experiment_id}/runs/{run_id}/artifacts/{quote(path)}?{VIEW}"


def version(name: str, number: int) -> str:
    """A version of a registered model."""
    return f"#/models/{quote(name)}/versions/{number}?{VIEW}"


def comparison(experiment_ids: Sequence[str], run_ids: Sequence[str]) -> str:
    """Runs side by side."""
    runs, experiments = (quote(json.dumps(list(ids))) for ids in (run_ids, dict.fromkeys(experiment_ids)))
    return f"#/compare-runs?runs={runs}&experiments={experiments}&{VIEW}"
