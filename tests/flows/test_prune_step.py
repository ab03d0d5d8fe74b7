"""Pruning on the line, with its real engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.artifacts import Model
from components.compress.allowance import AllowanceError
from components.compress.pruning.report import PruningReport
from components.registry.memory import tracking
from flows.line import Outcome, line

PRUNE = "prune={kind: structured, keep: 0.5, epochs: 1, importance: taylor, allowance: 1.0}"


@pytest.mark.slow
def test_what_is_pruned_goes_down_the_line_like_any_student(outcome: Outcome, project: Path) -> None:
    pruned = line("digits", [PRUNE])
    stages = pruned.assessment.stages
    assert list(stages)[-4:] == ["student", "pruned", "exported", "artifact"]
    assert stages["pruned"].figures["macs"].value <= 0.5 * stages["student"].figures["macs"].value
    assert stages["artifact"].figures["parameters"].value == stages["pruned"].figures["parameters"].value
    store = tracking.connect(project, "digits")
    run = next(done for done in pruned.done if done.step == "prune")
    report = PruningReport.read(store.artifact_folder(run.run_id, "result/pruning.json"))
    assert run.summary == report.says()
    model = Model.load(store.artifact_folder(run.run_id, "result/models/pruned"))
    assert model.card.network.shapes
    if report.after.loss.value > 0.002:
        with pytest.raises(AllowanceError, match=r"prune\.allowance: expected pruned to lose at most"):
            line("digits", [PRUNE.replace("allowance: 1.0", "allowance: 0.001")])
