"""The drift step on a line with a model in production: what it remembers, and how often."""

from __future__ import annotations

from pathlib import Path

from components.data.drift.comparison import History
from components.registry import approvals, decisions, tracking, versions
from flows.line import Outcome, line


def test_a_comparison_is_on_its_run_and_once_in_evidentlys_history(project: Path, outcome: Outcome) -> None:
    store = tracking.connect(project, "digits")
    if versions.aliased(store, "digits", "production") is None:
        line("digits")  # whatever ran before, the staged version is the recipe's own now
        approvals.approve(store, "digits", "a test", "to have a reference")
        decisions.promote(store, "digits", "production", "a test", "to have a reference")

    compared = line("digits")
    again = line("digits")

    run, cached = (next(done for done in each.done if done.step == "drift") for each in (compared, again))
    assert cached.cached
    assert cached.run_id == run.run_id
    # The data is that which the model was trained on, so the rows are the very same.
    assert run.summary == "no drift in pixels, embedding, labels"
    metrics = store.get(run.run_id).metrics
    assert {name: metrics[name] for name in ("drifted_share", "drift_pixels", "drift_embedding", "drift_labels")} == {
        "drifted_share": 0.0, "drift_pixels": 0.0, "drift_embedding": 0.0, "drift_labels": 0.0,
    }  # fmt: skip
    history = History(project / ".convoy" / "evidently", "digits", "", {})
    kept = [file.read_text() for file in (history.workspace / str(history.project) / "snapshots").iterdir()]
    assert sum(run.run_id in text for text in kept) == 1
    assert len(kept) == len(executed_comparisons(store))


def executed_comparisons(store: tracking.Tracking) -> set[str]:
    """The keys of the drift steps that have compared something."""
    found = store.client.search_runs(
        [store.experiment_id], "tags.`convoy.step` = 'drift' and attributes.status = 'FINISHED'"
    )
    return {each.data.tags[tracking.KEY] for each in found if "drifted_share" in each.data.metrics}
