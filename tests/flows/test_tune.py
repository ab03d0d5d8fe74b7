"""`convoy tune` and `convoy find` with their real engines, on scikit-learn's digits."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from components.config import ConfigurationError, load
from components.registry.memory import tracking
from components.training.tuning.study import Study
from flows import worker
from flows.base.project import Project
from flows.processes import journal
from flows.run.study import checked, overrides_of, recipe_file
from flows.tune import TRIAL, Tuned, tune
from tests.flows.conftest import make_project
from tests.flows.test_cli import convoy

METRIC = "validation_accuracy"
SEARCH = ["training.learning_rate=1e-9,1e-2", "training.batch_size=32,64"]
TRIALS = 5


@pytest.fixture(scope="module")
def tuned(project: Path) -> Tuned:
    overrides = [*overrides_of(SEARCH, trials=TRIALS, seed=1), "members.epochs=3"]
    return tune("digits", overrides, "recipes/found.yaml")


@pytest.fixture(scope="module")
def store(project: Path, tuned: Tuned) -> tracking.Tracking:
    return tracking.connect(project, "digits")


def test_the_options_are_keys_of_the_line(project: Path) -> None:
    overrides = overrides_of(SEARCH, trials=TRIALS, seconds=None)
    found = load(project, "digits", overrides).line.tune
    assert found.search == {"training.learning_rate": "1e-9,1e-2", "training.batch_size": "32,64"}
    assert (found.trials, found.seconds) == (TRIALS, None)


def test_every_trial_is_a_child_run_with_its_own_figures(tuned: Tuned, store: tracking.Tracking) -> None:
    children = store.children(tuned.run_id)
    assert [child.name for child in children] == [f"trial-{number}" for number in range(TRIALS)]
    for trial, child in zip(tuned.findings.trials, children, strict=True):
        assert child.id == tuned.trial_runs[trial.number]
        assert child.tags[TRIAL] == trial.state
        assert child.tags[tracking.KIND] == "trial"
        assert child.status == "FINISHED"
        assert float(child.params["training.learning_rate"]) == trial.values["training.learning_rate"]
        assert int(child.params["training.batch_size"]) == trial.values["training.batch_size"]
        history = store.client.get_metric_history(child.id, METRIC)
        assert [point.step for point in history] == list(range(1, trial.epochs + 1))
        assert history[-1].value == trial.value


def test_what_does_not_learn_is_not_the_best(tuned: Tuned) -> None:
    found = tuned.findings
    assert {trial.values["training.learning_rate"] for trial in found.trials} == {1e-9, 1e-2}
    assert found.best.values["training.learning_rate"] == 1e-2
    assert "pruned" in {trial.state for trial in found.trials}


def test_the_parent_run_has_the_table_the_picture_and_the_recipe(
    tuned: Tuned, store: tracking.Tracking, project: Path
) -> None:
    parent = store.get(tuned.run_id)
    assert parent.status == "FINISHED"
    assert parent.name == "tune · digits"
    assert parent.tags["convoy.best"] == tuned.trial_runs[tuned.findings.best.number]
    assert parent.metrics[METRIC] == tuned.findings.best.value
    assert parent.metrics["trials_finished"] + parent.metrics["trials_pruned"] == TRIALS
    assert store.data_of(tuned.trial_runs[0]) == ("digits", parent.tags[tracking.DATA])
    folder = store.artifact_folder(tuned.run_id, "study")
    assert (folder / "history.png").stat().st_size > 5000
    assert (folder / "found.yaml").read_bytes() == tuned.recipe.read_bytes()
    with (folder / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row[METRIC]) for row in rows] == [trial.value for trial in tuned.findings.trials]
    assert store.search({tracking.KIND: "trial"}, status="RUNNING") == []


def test_the_recipe_is_one_that_the_line_takes(tuned: Tuned, project: Path) -> None:
    line = load(project, "found").line
    best = tuned.findings.best.values
    assert line.training.learning_rate == best["training.learning_rate"]
    assert line.training.batch_size == best["training.batch_size"]
    assert line.members.epochs == 3
    own = load(project, "digits").line
    assert (line.gates, line.student, line.model) == (own.gates, own.student, own.model)


def test_nothing_is_left_of_a_finished_study(tuned: Tuned, project: Path) -> None:
    assert list((project / ".convoy" / "work").glob("tune-*")) == []
    assert list((project / ".convoy" / "work").glob("study-*")) == []


def test_a_recipe_is_not_replaced_unless_that_is_wanted(tuned: Tuned, project: Path) -> None:
    place, overrides = Project(project), overrides_of(SEARCH)
    with pytest.raises(ConfigurationError, match="--force replaces it"):
        checked(place, "digits", overrides, "recipes/found.yaml", force=False)
    assert isinstance(checked(place, "digits", overrides, "recipes/found.yaml", force=True), Study)
    assert recipe_file(place, "digits", None) == project / "recipes" / "digits-tuned.yaml"


def test_every_mistake_of_a_study_is_told_before_anything_starts(project: Path) -> None:
    search = ["training.lerning_rate=1..2", "quantize.method=minmax,entropy", "members.networks.0.name=residual,nobody"]
    options = [word for text in search for word in ("--search", text)]

    done = convoy(project, "tune", "-r", "digits", *options, "--output", "recipes/digits.yaml")

    assert done.returncode == 2
    assert "tune.search.training.lerning_rate" in done.stderr
    assert "tune.search.quantize.method: expected a key below training, augment" in done.stderr
    assert "tune.search.members.networks.0.name" in done.stderr
    assert "nobody" in done.stderr
    assert "recipes/digits.yaml, which is neither and is never replaced" in re.sub(r"\s+", " ", done.stderr)


def test_a_study_of_nothing_says_how_to_name_a_key(project: Path) -> None:
    done = convoy(project, "tune", "-r", "digits")
    assert done.returncode == 2
    assert "--search training.learning_rate=1e-4..1e-1:log" in done.stderr


@pytest.mark.slow
def test_an_interrupted_study_leaves_nothing_running_and_goes_on(tmp_path: Path) -> None:
    root = make_project(tmp_path / "interrupted")
    options = [word for text in SEARCH for word in ("--search", text)]
    command = [sys.executable, "-m", "flows.cli", "tune", "-r", "digits", *options, "--trials", "4"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_"))}
    environment |= {"CONVOY_ROOT": str(root)}
    with (root / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        limit = time.monotonic() + 200
        while not list(root.glob(".convoy/work/tune-*/trial-*/epoch-*")):
            assert process.poll() is None, (root / "output.txt").read_text()
            assert time.monotonic() < limit
            time.sleep(0.05)
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130, (root / "output.txt").read_text()
    assert "the same command goes on from the last finished epoch" in (root / "output.txt").read_text()
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
    store = tracking.connect(root, "digits")
    assert store.search(status="RUNNING") == []
    (parent,) = store.search({tracking.KIND: "tune"})
    assert parent.status == "KILLED"
    assert list(root.glob(".convoy/work/tune-*/trial-*/epoch-*")), "what was done was thrown away"

    again = convoy(root, *command[3:])

    assert again.returncode == 0, again.stdout + again.stderr
    assert load(root, "digits-tuned").line.training.learning_rate == 1e-2


def found(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = convoy(project, "find", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_batch_that_is_found_is_told_as_the_key_to_set(project: Path, tuned: Tuned) -> None:
    before = {path: path.stat().st_mtime_ns for path in (project / "recipes").iterdir()}
    said = found(project, "batch-size", "-r", "digits", "--max-batch-size", "32").stdout
    assert "-S training.batch_size=32" in said
    assert "nothing larger than 32 was to be tried" in said
    assert before == {path: path.stat().st_mtime_ns for path in (project / "recipes").iterdir()}


def test_the_range_test_prints_both_rules_and_keeps_its_curve_in_mlflow(
    project: Path, store: tracking.Tracking
) -> None:
    said = found(project, "learning-rate", "-r", "digits", "--steps", "80").stdout
    assert "steepest descent" in said
    assert "-S training.learning_rate=" in said
    (run,) = store.search({tracking.KIND: "range-test"})
    assert run.status == "FINISHED"
    assert {"steepest", "divergence", "suggested"} <= set(run.metrics)
    assert f"-S training.learning_rate={run.metrics['divergence'] / 10:.2g}" in said
    folder = store.artifact_folder(run.id, "range")
    assert (folder / "range.png").stat().st_size > 5000
    with (folder / "range.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["learning_rate"]) == pytest.approx(1e-6)
    assert float(rows[-1]["loss"]) > min(float(row["loss"]) for row in rows)


def test_a_raised_rate_without_a_warm_up_is_spoken_of_and_nothing_ends(project: Path) -> None:
    linear = ["training.rate_scaling=linear", "training.reference_batch=16", "training.warmup=0.0"]
    asked = {"recipe": "digits", "overrides": [*linear, "training.optimizer=sgd"]}
    said = io.StringIO()
    with Path(os.devnull).open("wb") as nobody:
        reporter = journal.Writer(nobody.fileno())
        worker.Task(Project(project), asked, Console(file=said), Console(file=said, width=300), reporter, False).check()
    expected = "! line.training.warmup: a rate that is raised 4 times for a batch of 64 expects a warm-up"
    assert expected in said.getvalue()
