"""Studies on a real Ray Tune: rigged so that what must be pruned, fail and win is known before."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.artifacts import Dataset
from components.config import ConfigurationError, LineConfig, merge
from components.metrics.metric import Metric
from components.training.jobs.job import TrainingError
from components.training.loop import checkpoint
from components.training.tuning.conductor import importances
from components.training.tuning.picture import draw
from components.training.tuning.recipe import check_free, tuned, write_recipe
from components.training.tuning.space import Choices, space_of
from components.training.tuning.study import Findings, Study, Trial, TrialEvent
from components.training.tuning.tune import optimise

EPOCHS = 3
TRIALS = 6
METRIC = "validation_accuracy"
RATE = "training.learning_rate"
NOTHING, GOOD, RUINOUS = 1e-9, 1e-2, 1e30  # with the last, the loss is no number after a step

pytestmark = pytest.mark.usefixtures("ray_cluster")


def study(**tune: Any) -> Study:
    network = {"name": "residual", "arguments": {"width": 8}}
    settings = {"batch_size": 64, "learning_rate": GOOD, "precision": "float32", "cpus_per_worker": 1}
    line = LineConfig.model_validate(
        {
            "dataset": "digits",
            "model": "digits",
            "training": settings,
            "augment": {"crop": 1},
            "members": {"networks": [network], "epochs": EPOCHS},
            "student": {"network": network, "epochs": 1},
            "gates": [{"gate": "floor", "limit": 0.5}],
            "tune": {
                "search": {RATE: [NOTHING, GOOD, RUINOUS], "augment.rotation": "0..10"},
                "trials": TRIALS,
                "seed": 9,
                **tune,
            },
        }
    )
    return Study(line, space_of(line), "classification", Metric(METRIC))


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, storage: Path, ray_cluster: None) -> tuple[Findings, list[TrialEvent]]:
    events: list[TrialEvent] = []
    found = optimise(study(), dataset, storage=storage, decoded=storage / "decoded", on_event=events.append)
    return found, events


def plain(findings: Findings) -> list[tuple[Any, ...]]:
    """All that must be the same whenever the study is made."""
    return [(t.number, dict(t.values), t.state, t.epochs, t.value) for t in findings.trials]


def test_what_cannot_learn_is_pruned_what_ruins_fails_and_what_learns_wins(
    undisturbed: tuple[Findings, list[TrialEvent]],
) -> None:
    found, _ = undisturbed
    assert [trial.number for trial in found.trials] == list(range(TRIALS))
    by_rate: dict[Any, list[Trial]] = defaultdict(list)
    for trial in found.trials:
        by_rate[trial.values[RATE]].append(trial)
    assert set(by_rate) == {NOTHING, GOOD, RUINOUS}, "the seed must be one with which all three are tried"
    assert {trial.state for trial in by_rate[RUINOUS]} == {"failed"}
    assert all("the loss is not finite" in trial.message for trial in by_rate[RUINOUS])
    # ASHA: the first trial sets the mark after an epoch, and who does not learn falls below it.
    assert {(trial.state, trial.epochs) for trial in by_rate[NOTHING]} == {("pruned", 1)}
    assert found.best in by_rate[GOOD]
    assert found.best.epochs == EPOCHS
    assert found.best.value == max(t.value for t in found.trials if t.state == "finished" and t.value is not None)


def test_the_lines_own_values_come_first(undisturbed: tuple[Findings, list[TrialEvent]]) -> None:
    assert undisturbed[0].trials[0].values == {RATE: GOOD, "augment.rotation": 0.0}


def test_every_event_is_told_in_its_order(undisturbed: tuple[Findings, list[TrialEvent]]) -> None:
    found, events = undisturbed
    for trial in found.trials:
        own = [event for event in events if event.number == trial.number]
        assert [event.kind for event in own] == ["started", *["epoch"] * trial.epochs, "ended"]
        assert [event.epoch for event in own if event.kind == "epoch"] == list(range(1, trial.epochs + 1))
        assert own[-1].state == trial.state
        if trial.value is not None:
            assert own[-2].metrics[METRIC] == trial.value


def test_figures_are_those_of_the_loop_itself(
    undisturbed: tuple[Findings, list[TrialEvent]], dataset: Dataset, tmp_path: Path
) -> None:
    from components.data.reading.loading import load_split
    from components.training.loop.loop import train
    from components.training.loop.surroundings import Data

    best = undisturbed[0].best
    data = Data(dataset.card, dataset.digest, load_split(dataset, "train"), load_split(dataset, "validation"))
    seen: list[float] = []

    train(study().job(best.values), data, tmp_path, on_event=lambda e: seen.append(e.metrics.get(METRIC, -1.0)))

    assert seen[-1] == best.value


@pytest.mark.slow
def test_an_interrupted_study_goes_on_where_it_was_and_comes_to_the_same(
    undisturbed: tuple[Findings, list[TrialEvent]], dataset: Dataset, storage: Path, tmp_path: Path
) -> None:
    def interrupt(event: TrialEvent) -> None:
        if event.number == 1 and event.kind == "ended":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimise(study(), dataset, storage=tmp_path, decoded=storage / "decoded", on_event=interrupt)
    left = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trial-*/epoch-*")}
    assert left
    events: list[TrialEvent] = []

    again = optimise(study(), dataset, storage=tmp_path, decoded=storage / "decoded", on_event=events.append)

    assert plain(again) == plain(undisturbed[0])
    # What was stored was heard of again, not trained again: even the seconds are those of the first time.
    first = [event.metrics for event in events if event.number == 0 and event.kind == "epoch"]
    folder = tmp_path / f"trial-{study().job(again.trials[0].values).fingerprint(dataset.digest)[:16]}"
    assert [metrics["epoch_seconds"] for metrics in first] == [
        record["seconds"] for record in checkpoint.history(folder)
    ]
    assert {at for path, at in left.items() if path.parent == folder} == {
        path.stat().st_mtime_ns for path in folder.glob("epoch-*")
    }
    assert not (tmp_path / "ray").exists() or not list((tmp_path / "ray").iterdir())


def test_the_recipe_has_the_best_values_and_says_where_they_come_from(
    undisturbed: tuple[Findings, list[TrialEvent]], tmp_path: Path
) -> None:
    found, asked = undisturbed[0], study()
    path = tmp_path / "tuned.yaml"

    write_recipe(asked, found, path, {"of": "recipe digits"})

    text = path.read_text(encoding="utf-8")
    best = yaml.safe_load(text)["line"]
    assert best["training"]["learning_rate"] == GOOD
    assert best["augment"]["rotation"] == found.best.values["augment.rotation"]
    assert "tune" not in best
    assert LineConfig.model_validate(merge(asked.line.model_dump(mode="json", exclude={"tune"}), best)) == tuned(
        asked, found
    )
    header = [line for line in text.splitlines() if line.startswith("#")]
    assert any(f"{METRIC} {found.best.value:.4f}" in line for line in header)
    assert any("training.learning_rate=1e-09,0.01,1e+30 → 0.01" in line for line in header)
    assert any(f"trials: {TRIALS} (" in line for line in header)


def test_there_is_a_picture_of_the_history(undisturbed: tuple[Findings, list[TrialEvent]], tmp_path: Path) -> None:
    files = draw(study(), undisturbed[0], tmp_path)
    assert "history" in files
    assert all(file.stat().st_size > 5000 for file in files.values())


def test_importances_find_the_key_that_decides(tmp_path: Path) -> None:
    space = {"a": Choices((0, 1)), "b": Choices((0, 1, 2))}
    trials = tuple(
        Trial(4 * a + b, {"a": a, "b": b}, "finished", 1, float(a) + 0.01 * b) for a in (0, 1) for b in (0, 1, 2)
    )
    found = importances(trials, space, seed=0)
    assert found is not None
    assert found["a"] > 0.9
    assert sum(found.values()) == pytest.approx(1.0)
    assert importances(trials[:3], space, seed=0) is None
    assert draw(study(), Findings(trials, trials[-1], found), tmp_path)["importances"].stat().st_size > 3000


def test_where_nobody_finishes_the_reason_is_given(dataset: Dataset, storage: Path, tmp_path: Path) -> None:
    ruined = study(search={RATE: [RUINOUS, 1e31]}, trials=1)
    with pytest.raises(
        TrainingError, match="1 of 1 trials failed and none was trained to its end; the first: trial: the"
    ):
        optimise(ruined, dataset, storage=tmp_path, decoded=storage / "decoded")


def test_more_trials_side_by_side_than_there_is_room_for_say_what_is_short(
    dataset: Dataset, storage: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"tune\.concurrent: expected room for 500 trials of 1 CPUs"):
        optimise(study(concurrent=500), dataset, storage=tmp_path, decoded=storage / "decoded")


def test_only_a_recipe_that_a_study_wrote_is_replaced(
    undisturbed: tuple[Findings, list[TrialEvent]], tmp_path: Path
) -> None:
    written, mine = tmp_path / "tuned.yaml", tmp_path / "mine.yaml"
    write_recipe(study(), undisturbed[0], written, {})
    mine.write_text("line: {model: mine}\n", encoding="utf-8")
    check_free(written, force=True)
    check_free(tmp_path / "new.yaml", force=False)
    with pytest.raises(ConfigurationError, match="--force replaces it"):
        check_free(written, force=False)
    for force in (False, True):
        with pytest.raises(ConfigurationError, match=r"mine\.yaml, which is neither and is never replaced"):
            check_free(mine, force=force)
