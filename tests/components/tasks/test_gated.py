"""A gate that no version of a task could pass is told before anything starts."""

from __future__ import annotations

import pytest

from components.config.gates import CalibrationGate, CeilingGate, FloorGate, Gate, WorstGroupGate
from components.tasks import gated, registry


@pytest.mark.parametrize(
    ("task", "gate", "says"),
    [
        ("regression", CalibrationGate(gate="calibration", limit=0.1), "has no calibration_error"),
        ("regression", FloorGate(gate="floor", limit=1.0, metric="mae"), "expected `gate: ceiling`"),
        ("regression", CeilingGate(gate="ceiling", limit=0.1, metric="r2"), "expected `gate: floor`"),
        ("regression", WorstGroupGate(gate="worst_group", limit=1.0, by="class"), "has no metric of single classes"),
        ("classification", FloorGate(gate="floor", limit=0.1, metric="log_loss"), "expected `gate: ceiling`"),
    ],
)
def test_it_names_the_key_and_the_way_out(task: str, gate: Gate, says: str) -> None:
    (line,) = gated.problems((gate,), registry.get(task), "line.gates")
    assert line.startswith(f"line.gates.{gate.gate}")
    assert says in line


def test_what_can_be_passed_is_not_touched() -> None:
    gates = (
        FloorGate(gate="floor", limit=3.0),  # of the primary metric, whichever way that counts
        FloorGate(gate="floor", limit=0.5, metric="r2"),
        CeilingGate(gate="ceiling", limit=3.0, metric="rmse_price"),  # which only some data has
    )
    assert gated.problems(gates, registry.get("regression")) == []
    groups = tuple(WorstGroupGate(gate="worst_group", limit=0.5, by=by) for by in (None, "group"))
    assert all(gated.problems((gate,), registry.get("regression")) == [] for gate in groups)
    by_class = (WorstGroupGate(gate="worst_group", limit=0.5, by="class"),)
    for task in ("classification", "segmentation", "multilabel", "tagging", "detection"):
        assert gated.problems(by_class, registry.get(task)) == []
    calibrated = (CalibrationGate(gate="calibration", limit=0.1),)
    assert gated.problems(calibrated, registry.get("segmentation")) == []
