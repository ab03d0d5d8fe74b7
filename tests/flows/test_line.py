"""The whole line, with its real engines, on scikit-learn's digits."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.artifacts import Model
from components.compress.allowance import AllowanceError
from components.data import versions as data_versions
from components.data.drift.comparison import History
from components.data.errors import DataError
from components.registry import approvals, decisions, ledger, names, versions
from components.registry.memory import tracking
from components.training.jobs.job import TrainingError
from flows.line import Outcome, line

STEPS = (
    "data-validation",
    "drift",
    "augmentation",
    "train",
    "ensemble",
    "distil",
    "quantize",
    "evaluate",
    "register",
    "promote",
)


@pytest.fixture(scope="module")
def store(project: Path, outcome: Outcome) -> tracking.Tracking:
    return tracking.connect(project, "digits")


def step_run(outcome: Outcome, step: str) -> str:
    return next(done.run_id for done in outcome.done if done.step == step)


def test_the_line_ends_with_a_staged_int8_or_float_version_of_the_artifact_that_was_measured(
    outcome: Outcome, store: tracking.Tracking
) -> None:
    assert outcome.decision.action == "pass"
    staged = versions.aliased(store, "digits", "staging")
    assert staged == outcome.decision.version == 1
    assert versions.version_model(store, "digits", 1).digest == outcome.assessment.evidence.model
    assert outcome.assessment.evidence.data == outcome.data.digest


def test_the_parent_run_tells_where_everything_came_from(
    outcome: Outcome, store: tracking.Tracking, project: Path
) -> None:
    tags = store.get(outcome.run_id).tags
    lock = yaml.safe_load((project / "dvc.lock").read_text())
    assert tags["convoy.data"] == lock["stages"]["prepare@digits"]["outs"][0]["md5"]
    assert tags["convoy.data"] == data_versions.digest(project, "digits")
    assert tags["convoy.skipped.prune"].startswith("nothing is to be pruned")
    assert "pruned" not in outcome.assessment.stages
    assert {"convoy.lock", "convoy.parameters", "convoy.prefect_flow_run", "mlflow.source.git.commit"} <= set(tags)
    children = store.children(outcome.run_id)
    assert [run.tags["convoy.step"] for run in children] == list(STEPS)
    # The names say the order too; `data`, which DVC remembers, is the first, and `prune`, which is not asked for, has a
    # number as well.
    numbers = [number + (step in STEPS[STEPS.index("quantize") :]) for number, step in enumerate(STEPS, 2)]
    assert [run.name for run in children] == [f"{n:02d} {step}" for n, step in zip(numbers, STEPS, strict=True)]


def test_each_member_has_a_curve_with_a_point_an_epoch(outcome: Outcome, store: tracking.Tracking) -> None:
    members = store.children(step_run(outcome, "train"))
    assert [member.name for member in members] == ["member-0", "member-1", "member-2"]
    for member in members:
        history = store.client.get_metric_history(member.id, "validation_accuracy")
        assert [point.step for point in history] == [1, 2]
        assert member.status == "FINISHED"


def test_every_tag_that_a_line_writes_is_promised_and_it_writes_every_one_that_is(
    outcome: Outcome, store: tracking.Tracking
) -> None:
    always, known = defaultdict(set), defaultdict(set)
    for tag in names.TAGS:
        for kind in tag.every:
            always[kind].add(tag.name)
        for kind in (*tag.every, *tag.some):
            known[kind].add(re.sub(r"\\\.(STEP|NAME)$", r"\\..+", re.escape(tag.name)))

    tagged = [(run.tags["kind"], run.tags) for run in store.search() if run.status == "FINISHED"]
    tagged += [("version", tags) for tags in versions.versions(store, "digits").values()]

    assert {kind for kind, _ in tagged} >= {"pipeline", "step", "network", "decision", "version"}
    for kind, tags in tagged:
        if kind not in ("pipeline", "step", "network", "decision", "version"):
            continue  # other commands' runs
        unknown = [tag for tag in tags if not any(re.fullmatch(pattern, tag) for pattern in known[kind])]
        assert unknown == [], kind
        assert {tag for tag in always[kind] if tag != "metric.NAME"} <= tags.keys(), kind


def test_everything_worth_a_look_is_one_click_away_from_the_lines_run(
    outcome: Outcome, store: tracking.Tracking
) -> None:
    note = store.get(outcome.run_id).tags["mlflow.note.content"]
    links = dict(re.findall(r"\[([^\]]+)\]\(([^)]+)\)", note))
    assert {"version 1", "report", "model card", "accuracy against cost", "data docs", "flow run"} <= links.keys()
    assert f"/runs/{step_run(outcome, 'promote')}/artifacts/report/report.html" in links["report"]
    assert links["flow run"].endswith(store.get(outcome.run_id).tags["convoy.prefect_flow_run"])
    described = store.client.get_model_version("digits", "1").description
    assert described.startswith("A ") and f"/runs/{outcome.run_id}" in described
    assert [found.dataset.name for found in store.client.get_run(step_run(outcome, "train")).inputs.dataset_inputs] == [
        "digits"
    ]


@pytest.mark.parametrize(
    ("step", "artifact"),
    [
        ("data-validation", "data-validation/docs/index.html"),
        ("drift", "drift/drift.json"),
        ("augmentation", "augmentation/augmentation.png"),
        ("evaluate", "chain/chain.json"),
        ("evaluate", "chain/pareto.png"),
        ("promote", "report/report.html"),
        ("register", "result/card.md"),
    ],
)
def test_what_people_look_at_lies_with_its_run(
    outcome: Outcome, store: tracking.Tracking, step: str, artifact: str
) -> None:
    assert store.artifact_folder(step_run(outcome, step), artifact).stat().st_size > 0


def test_the_first_run_says_that_there_is_no_reference_for_drift_yet(outcome: Outcome) -> None:
    assert next(done.summary for done in outcome.done if done.step == "drift").startswith("there is no reference yet")


def test_every_step_leaves_its_story_on_prefects_page(outcome: Outcome, store: tracking.Tracking) -> None:
    stories = read_artifacts(store.get(outcome.run_id).tags["convoy.prefect_flow_run"])
    assert set(STEPS) <= set(stories)
    assert step_run(outcome, "train") in stories["train"]
    assert outcome.run_id in stories["mlflow"]  # the link to the same run in MLflow
    assert step_run(outcome, "promote") in stories["pipeline"]


def test_prefects_graph_shows_the_steps_in_their_order(outcome: Outcome, store: tracking.Tracking) -> None:
    runs = task_runs(store.get(outcome.run_id).tags["convoy.prefect_flow_run"])
    names = {run.id: run.name for run in runs}
    before = {run.name: [names[each.id] for each in run.task_inputs.get("wait_for", [])] for run in runs}
    steps = ["data", *(step.step for step in outcome.done)]
    assert before == {name: steps[place - 1 : place] if place else [] for place, name in enumerate(steps)}


def test_the_chain_is_one_table_from_members_to_what_is_served(outcome: Outcome, store: tracking.Tracking) -> None:
    stages = ["member-0", "member-1", "member-2", "ensemble", "student", "exported", "artifact"]
    assert list(outcome.assessment.stages) == stages
    for evidence in outcome.assessment.stages.values():
        known = {"accuracy", "calibration_error", "worst_group_accuracy", "robustness_accuracy"}
        assert known | {"parameters", "size_bytes", "latency_ms", "throughput_64"} <= evidence.figures.keys()
        assert evidence.runtime in ("pytorch", "onnxruntime", "openvino", "onnxruntime, openvino")
    told = json.loads(store.artifact_folder(outcome.run_id, "chain/chain.json").read_text())
    assert list(told["variants"]) == stages and told["data"] == outcome.data.digest
    assert "| artifact |" in read_artifacts(store.get(outcome.run_id).tags["convoy.prefect_flow_run"])["chain"]


def test_classes_in_slices_are_measured_judged_and_shown(outcome: Outcome, store: tracking.Tracking) -> None:
    evidence = outcome.assessment.evidence
    judged = [cell for cell in evidence.cells if cell.figure is not None]
    assert {cell.metric for cell in judged} == {"recall"} and len(judged) < len(evidence.cells)
    least = min(judged, key=lambda cell: cell.figure.low if cell.figure and cell.figure.low is not None else 0.0)
    assert evidence.figures["worst_group_recall"] == least.figure
    (verdict,) = [each for each in outcome.decision.verdicts if each.gate == "worst_group"]
    assert f"recall of {least.label} in " in verdict.reason and "withheld for fewer than 30 samples" in verdict.reason
    report = store.artifact_folder(step_run(outcome, "promote"), "report/report.html").read_text(encoding="utf-8")
    card = versions.version_card(store, "digits", 1)
    assert all("By class and group" in page and "withheld groups together" in page for page in (report, card))


def test_a_stage_beyond_its_allowance_stops_the_line_with_that_figure(
    outcome: Outcome, store: tracking.Tracking
) -> None:
    exchange = json.loads(store.artifact_folder(step_run(outcome, "distil"), "result/exchange.json").read_text())
    loss = exchange["before"] - exchange["after"]
    # An allowance cannot be negative: the student is judged by one that is just too small, where it lost anything.
    if loss > 0:
        with pytest.raises(AllowanceError, match=r"student\.allowance: expected student to lose at most"):
            line("digits", [f"student.allowance={loss / 2}"])
        newest = store.search({"convoy.recipe": "digits"}, limit=1)[0]
        assert newest.status == "FAILED" and "student.allowance" in newest.tags["mlflow.note.content"]
        assert store.children(newest.id) == []  # nothing was trained again for it
    assert line("digits", [f"student.allowance={max(loss, 0.0) + 0.01}"]).unchanged


def test_a_version_leaves_the_project_with_all_that_is_known_of_it(outcome: Outcome, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from flows.cli import app

    done = CliRunner().invoke(app, ["export", "digits:1", "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert told["artifact"] == outcome.assessment.evidence.model
    assert told["origin"]["pipeline_run"] == outcome.run_id
    quick = ["--threads", "1", "--batch", "1", "--rounds", "1", "--runtime", "onnxruntime", "--json"]
    bench = CliRunner().invoke(app, ["bench", "digits:1", *quick])
    assert bench.exit_code == 0, bench.output
    figures = json.loads(bench.stdout)
    assert figures["artifact"] == outcome.assessment.evidence.model
    assert [pace["runtime"] for pace in figures["pace"]] == ["onnxruntime"]


def test_nothing_new_is_noticed_and_nothing_is_done_twice(outcome: Outcome, store: tracking.Tracking) -> None:
    again = line("digits")

    assert again.unchanged
    assert [done.run_id for done in again.done] == [done.run_id for done in outcome.done]
    assert store.children(again.run_id) == []
    parent = store.get(again.run_id)
    assert parent.tags["convoy.reused.train"] == step_run(outcome, "train")
    assert "Nothing new" in parent.tags["mlflow.note.content"]
    assert task_states(parent.tags["convoy.prefect_flow_run"])["train"] == "Cached"
    assert versions.versions(store, "digits").keys() == {1}


def test_a_changed_section_starts_exactly_the_steps_that_it_touches(outcome: Outcome) -> None:
    changed = line("digits", ["evaluate.bootstrap=201"])

    assert {done.step for done in changed.done if not done.cached} == {"evaluate", "register", "promote"}


def test_a_version_below_the_floor_fails_on_the_record_and_moves_nothing(
    outcome: Outcome, store: tracking.Tracking
) -> None:
    from typer.testing import CliRunner

    from flows.cli import app

    before = versions.aliased(store, "digits", "staging")

    failed = line("digits", ["gates.floor.limit=0.9999"])

    assert failed.decision.action == "fail"
    assert failed.decision.alias is None
    assert [verdict.gate for verdict in failed.decision.verdicts if not verdict.passed] == ["floor"]
    assert versions.aliased(store, "digits", "staging") == before
    assert ledger.history(store, "digits")[-1].action == "fail"
    shown = CliRunner().invoke(app, ["show", failed.run_id, "--json"]).output
    told = json.loads(shown)["decision"]
    assert [each["gate"] for each in told["verdicts"] if not each["passed"]] == ["floor"]
    page = CliRunner().invoke(app, ["show", failed.run_id[:8]], env={"COLUMNS": "100"}).output
    assert "gates.floor" in page and "0.9999" in page


def test_with_a_model_in_production_drift_has_a_reference_and_the_challenger_an_opponent(
    project: Path, outcome: Outcome, store: tracking.Tracking
) -> None:
    line("digits")  # whatever ran before, the staged version is the recipe's own now
    approvals.approve(store, "digits", "a test", "to have a reference")
    decisions.promote(store, "digits", "production", "a test", "to have a reference")

    challenger = line("digits", ["student.epochs=4"])
    again = line("digits", ["student.epochs=4"])

    compared, cached = (next(done for done in each.done if done.step == "drift") for each in (challenger, again))
    # The data is that which the model was trained on, so the rows are the very same.
    assert compared.summary == "no drift in pixels, embedding, labels"
    assert cached.cached
    assert cached.run_id == compared.run_id
    metrics = store.get(compared.run_id).metrics
    assert {name: metrics[name] for name in ("drifted_share", "drift_pixels", "drift_embedding", "drift_labels")} == {
        "drifted_share": 0.0, "drift_pixels": 0.0, "drift_embedding": 0.0, "drift_labels": 0.0,
    }  # fmt: skip
    history = History(project / ".convoy" / "evidently", "digits", "", {})
    kept = [file.read_text() for file in (history.workspace / str(history.project) / "snapshots").iterdir()]
    assert len(kept) == 1
    assert compared.run_id in kept[0]
    verdict = next(verdict for verdict in challenger.decision.verdicts if verdict.gate == "production")
    assert verdict.value is not None
    assert verdict.low is not None
    assert verdict.low <= verdict.value


@pytest.mark.slow
def test_one_member_starts_from_an_earlier_runs_model_and_goes_on_alone(project: Path, outcome: Outcome) -> None:
    store = tracking.connect(project, "digits")
    student = Model.load(store.artifact_folder(step_run(outcome, "distil"), "result/models/student"))
    network = {**student.card.network.model_dump(mode="json"), "pretrained": f"run:{step_run(outcome, 'distil')}"}
    weights = f"members.networks=[{json.dumps(network)}]"
    alone = line("digits", ["members.count=1", "members.epochs=1", "student=null", weights])

    assert [done.step for done in alone.done] == [step for step in STEPS if step not in ("ensemble", "distil")]
    assert list(alone.assessment.stages) == ["member-0", "exported", "artifact"]
    (member,) = store.children(next(done.run_id for done in alone.done if done.step == "train"))
    assert "100% of the features from" in member.tags["convoy.note"]
    # One epoch more of what has been trained.
    before = next(figure.value for name, figure in outcome.assessment.evidence.figures.items() if name == "accuracy")
    assert alone.assessment.evidence.figures["accuracy"].value > before - 0.03


@pytest.mark.slow
def test_segmentation_goes_down_the_same_line(project: Path, outcome: Outcome) -> None:
    scenes = line("digits-segment")

    assert [done.step for done in scenes.done] == list(STEPS)
    assert scenes.assessment.evidence.primary == "mean_iou"
    assert scenes.decision.action == "pass"


def test_damaged_results_are_made_again_rather_than_believed(outcome: Outcome, store: tracking.Tracking) -> None:
    folder = store.artifact_folder(step_run(outcome, "ensemble"), "result/models/ensemble")
    weights = Model.load(folder).weights
    content = weights.read_bytes()
    weights.unlink()
    try:
        again = line("digits")
    finally:
        weights.write_bytes(content)
    assert not next(done.cached for done in again.done if done.step == "ensemble")


def test_more_workers_than_cpus_is_an_error_that_says_what_is_short(outcome: Outcome) -> None:
    with pytest.raises(TrainingError, match="64"):
        line("digits", ["training.workers=64", "training.cpus_per_worker=1"])


@pytest.fixture
def pictures(project: Path) -> Path:
    """A catalogue entry of pictures in folders, exported from the digits."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder = project / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    for number, (image, label) in enumerate(zip(digits.images[:400], digits.target[:400], strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype(np.uint8)).save(place / f"{number}.png")
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["datasets"]["pictures"] = {
        "task": "classification",
        "source": {"kind": "folder", "path": str(folder)},
        "image": {"height": 8, "width": 8, "channels": 1},
    }
    path.write_text(yaml.safe_dump(params))
    return folder


def test_a_corrupt_image_stops_the_line_before_anything_is_trained(pictures: Path, project: Path) -> None:
    (pictures / "3" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")

    with pytest.raises(DataError, match=r"decode[\s\S]*broken"):
        line("digits", ["dataset=pictures", "model=pictures"])

    store = tracking.connect(project, "pictures")
    parent = store.search({"convoy.recipe": "digits"})[0]
    assert parent.status == "FAILED"
    assert store.children(parent.id) == []
    assert versions.versions(store, "pictures") == {}


def read_artifacts(flow_run: str) -> dict[str, str]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run]))
        )
    return {str(artifact.key): str(artifact.data) for artifact in found}


def task_states(flow_run: str) -> dict[str, Any]:
    return {run.name: run.state_name for run in task_runs(flow_run)}


def task_runs(flow_run: str) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    with get_client(sync_client=True) as client:
        return client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
