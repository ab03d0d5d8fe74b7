"""Damaged files of a real project: found, named, made again, and nothing kept that was built on them."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from components.artifacts import ArtifactError, Model
from components.registry import approvals, decisions, inspection, ledger, versions
from components.registry.memory import manifest, tracking
from components.registry.versions import RegistryError
from flows.line import Outcome, line
from tests.flows.spoiling import cut, flip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(project: Path, outcome: Outcome) -> tracking.Tracking:
    return tracking.connect(project, "digits")


def result(store: tracking.Tracking, outcome: Outcome, step: str) -> Path:
    return store.artifact_folder(next(done.run_id for done in outcome.done if done.step == step), "result")


def test_what_is_damaged_is_done_again_and_named_and_what_comes_out_the_same_is_not(
    project: Path, outcome: Outcome, store: tracking.Tracking
) -> None:
    weights = result(store, outcome, "train") / "models" / "member-1" / "model.safetensors"
    graph = result(store, outcome, "quantize") / "quantized" / "artifact" / "model.onnx"
    evidence = next(result(store, outcome, "evaluate").glob("stages/*artifact/evidence.json"))
    cut(weights)
    flip(graph)
    evidence.write_text(evidence.read_text().replace('"samples": ', '"samples": 1'))
    damaged = {problem.name for problem in inspection.check_store(store) if problem.kind == "step"}

    again = line("digits")

    assert damaged == {"train of digits", "quantize of digits", "evaluate of digits"}
    done = {each.step: each for each in again.done if not each.cached}
    # Training and quantization come to the same bytes, so what stands on them is still true. Times are measured anew.
    assert {"train", "quantize", "evaluate"} <= done.keys() <= {"train", "quantize", "evaluate", "register", "promote"}
    assert "model.safetensors: expected" in done["train"].because
    assert f"run {next(each.run_id for each in outcome.done if each.step == 'train')}" in done["train"].because
    assert "model.onnx: expected SHA-256" in done["quantize"].because
    # On a busy machine another engine may have come out as the fastest: then it is another artifact that is judged.
    same = again.assessment.evidence.model == outcome.assessment.evidence.model
    assert ("evidence.json: expected" if same else "changed: inputs") in done["evaluate"].because
    assert "done again: the result of run" in done["train"].summary
    assert line("digits").unchanged


def test_a_run_that_finds_nothing_to_do_pays_little_for_the_look_at_its_files(
    project: Path, outcome: Outcome, store: tracking.Tracking
) -> None:
    done = line("digits").done
    began = time.monotonic()
    for each in done:
        assert manifest.damage(store, each.run_id) == []
    assert time.monotonic() - began < 0.3


def test_what_is_damaged_while_the_line_runs_is_named_as_that_and_kept_out_of_what_is_built_on_it(
    project: Path, outcome: Outcome, store: tracking.Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = line("digits")
    folder = result(store, whole, "distil") / "models" / "student"
    weights = Model.load(folder).weights
    content = weights.read_bytes()

    def spoiling(*args: object) -> object:
        flip(weights)
        return quality(*args)

    from components.evaluate import evaluate

    quality = evaluate.quality
    monkeypatch.setattr(evaluate, "quality", spoiling)
    try:
        with pytest.raises(
            ArtifactError, match=r"evaluate: the result of distil.*damaged while the pipeline ran.*model\.saf"
        ):
            line("digits", ["evaluate.bootstrap=203"])
    finally:
        weights.write_bytes(content)
        monkeypatch.undo()
    assert store.search({"convoy.step": "evaluate"}, limit=1)[0].status == "FAILED", "nothing built on it may count"


def test_a_version_whose_files_are_damaged_is_registered_again(
    project: Path, outcome: Outcome, store: tracking.Tracking
) -> None:
    before = line("digits").decision.version
    shutil.rmtree(versions.version_model(store, "digits", before).folder)

    again = line("digits")

    assert again.decision.version > before
    assert versions.problem(store, "digits", again.decision.version) is None
    assert versions.aliased(store, "digits", "staging") == again.decision.version


def test_a_judgement_whose_record_is_lost_is_given_again(
    project: Path, outcome: Outcome, store: tracking.Tracking
) -> None:
    version = line("digits").decision.version
    run = next(run for run in store.search({"kind": "decision", "convoy.version": str(version)}, "FINISHED"))
    store.artifact_folder(run.id, "decision.json").unlink()
    with pytest.raises(RegistryError, match="Run the pipeline of digits again, which judges it anew"):
        approvals.approve(store, "digits", "a test", "it is good")

    again = line("digits")

    assert [each.step for each in again.done if not each.cached] == ["promote"]
    approvals.approve(store, "digits", "a test", "it is good")


def test_a_line_goes_on_where_production_cannot_be_read_and_its_way_out_works(
    project: Path, outcome: Outcome, store: tracking.Tracking
) -> None:
    version = line("digits").decision.version
    approvals.approve(store, "digits", "a test", "to have a rival")
    decisions.promote(store, "digits", "production", "a test", "to have a rival")
    shutil.rmtree(versions.version_model(store, "digits", version).folder.parents[1])

    challenger = line("digits", ["student.epochs=4"])

    drift = next(done.summary for done in challenger.done if done.step == "drift")
    assert drift.startswith("there is no reference that can be read: digits version")
    assert challenger.decision.action == "fail"
    failed = {verdict.gate: verdict.reason for verdict in challenger.decision.verdicts if not verdict.passed}
    assert "production" in failed and "cannot be read" in failed["production"]

    command = re.findall(r"`([^`]+)`", failed["production"])[-1]
    done = subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert versions.aliased(store, "digits", "production") is None
    assert ledger.history(store, "digits")[-1].action == "retire"
    again = line("digits", ["student.epochs=4"])
    assert again.decision.action == "pass"
    assert again.decision.version == challenger.decision.version
