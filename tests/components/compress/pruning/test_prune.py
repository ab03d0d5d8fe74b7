from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from components.artifacts import Dataset, Model, write_model
from components.compress.allowance import exchange
from components.compress.pruning.finetuning import fine_tuning
from components.compress.pruning.prune import NAME, Pruned, problems, prune
from components.config import AugmentConfig, LineConfig, NetworkConfig, PruneConfig, TrainingConfig
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.export.export import export, parity, read_metadata
from components.models.network import load_network, save_weights, untrained
from components.training.jobs.job import Job
from components.training.loop.loop import train as run_loop
from components.training.loop.surroundings import Data


def config(**values: Any) -> PruneConfig:
    found: PruneConfig = TypeAdapter(PruneConfig).validate_python({"epochs": 1, **values})
    return found


def job_of(model: Model) -> Job:
    training = TrainingConfig(batch_size=64, learning_rate=0.005, precision="float32", cpus_per_worker=1)
    return Job("student", model.card.task, model.card.network, 0, 20, training, AugmentConfig())


def pruned_in_process(student: Model, dataset: Dataset, asked: PruneConfig, folder: Path) -> Pruned:
    data = Data(dataset.card, dataset.digest, load_split(dataset, "train"), load_split(dataset, "validation"))

    def fine_tune(start: Model) -> Model:
        job = fine_tuning(job_of(student), start, asked)
        network = run_loop(job, data, folder / "storage" / job.name)
        card = start.card.model_copy(update={"network": job.network})
        return write_model(folder / job.name, card, lambda target: save_weights(network, target))

    return prune(student, dataset, asked, folder / "pruned", work=folder / "cuts", fine_tune=fine_tune)


@pytest.fixture(scope="module")
def halved(student: Model, digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Pruned:
    """Half of the MACs, in two rounds, by Taylor's importance."""
    asked = config(kind="structured", target="macs", keep=0.5, rounds=2, epochs=2, importance="taylor", samples=256)
    return pruned_in_process(student, digits, asked, tmp_path_factory.mktemp("halved"))


def test_rounds_go_down_to_the_target_by_equal_shares(halved: Pruned, student: Model) -> None:
    before, middle, after = halved.report.rounds
    assert 0.6 < middle.macs / before.macs <= 0.5**0.5
    assert 0.4 < after.macs / before.macs <= 0.5
    assert after.parameters == after.nonzero < middle.parameters < before.parameters
    assert before.loss.value == 0.0 and before.untrained is None and before.speedup == 1.0
    assert after.untrained is not None and after.metric.value > after.untrained  # training after the cut helps
    assert after.loss.value < 0.1
    assert {one.batch for one in after.latency} == {1, 64}
    assert "× the MACs" in halved.report.says()


@pytest.mark.parametrize(
    "asked",
    [
        {"kind": "structured", "target": "macs", "keep": 0.6, "samples": 64, "importance": "taylor", "epochs": 5},
        pytest.param({"kind": "2:4", "epochs": 10}, marks=pytest.mark.slow),  # whose graph is the unpruned one's
    ],
)
def test_a_detector_is_pruned_trained_on_and_exported(
    asked: dict[str, Any], detectors: list[Model], things: Dataset, tmp_path: Path
) -> None:
    found = pruned_in_process(detectors[1], things, config(**asked), tmp_path)
    before, after = found.report.rounds
    assert (after.macs <= 0.6 * before.macs) == (asked["kind"] == "structured")
    assert after.nonzero < 0.8 * before.nonzero
    assert after.metric.value > 0.5 * before.metric.value > 0.1
    assert parity(export(found.model, tmp_path / "exported"), load_split(things, "test").inputs) < 1e-3


def test_the_pruned_student_is_a_model_like_any_other(
    halved: Pruned, student: Model, digits: Dataset, tmp_path: Path
) -> None:
    model = halved.model
    assert model.card.name == NAME
    assert model.card.network.name == student.card.network.name and model.card.network.shapes
    assert model.card.network.pretrained == student.card.network.pretrained
    assert [parent.digest for parent in model.card.parents if parent.role == "unpruned"] == [student.digest]
    exported = export(model, tmp_path / "exported")
    assert parity(exported, load_split(digits, "validation").inputs) < 1e-4
    assert json.loads(read_metadata(exported.onnx)["network"])["shapes"]
    assert exchange(student, model, digits).after == pytest.approx(halved.report.after.metric.value)
    assert exported.onnx.stat().st_size < 0.8 * export(student, tmp_path / "whole").onnx.stat().st_size


def test_a_network_that_is_pruned_again_is_measured_against_itself(
    halved: Pruned, digits: Dataset, tmp_path: Path
) -> None:
    again = pruned_in_process(
        halved.model, digits, config(kind="structured", target="parameters", keep=0.8), tmp_path / "again"
    )
    assert again.report.after.parameters <= 0.8 * halved.report.after.parameters
    assert [parent.role for parent in again.model.card.parents] == ["unpruned", "unpruned"]


@pytest.mark.parametrize("kind", ["unstructured", "2:4"])
def test_masks_hold_through_training_and_buy_no_speed(
    kind: str, student: Model, digits: Dataset, tmp_path: Path
) -> None:
    keep = {"keep": 0.4} if kind == "unstructured" else {}
    pruned = pruned_in_process(student, digits, config(kind=kind, **keep), tmp_path)
    before, after = pruned.report.rounds
    cut = load_network(Model.load(tmp_path / "cuts" / "pruned-1")).state_dict()
    trained = load_network(pruned.model).state_dict()
    moved = 0.0
    for name, value in cut.items():
        if value.ndim > 1 and name != "head.weight" and name.endswith("convolution.weight"):
            assert bool((trained[name][value == 0] == 0).all()), name
            moved += float((trained[name] - value).abs().sum())
    assert moved > 0
    assert after.parameters == before.parameters and after.macs == before.macs
    assert 0.3 < after.nonzero / after.parameters < 0.7
    assert after.compressed_bytes < 0.8 * before.compressed_bytes
    assert pruned.model.card.network.shapes == {}
    said = pruned.report.says()
    assert "no speed-up is to be had: ONNX Runtime multiplies by zeros as by anything else" in said
    assert f"{after.speedup:.2f}× as fast at 1" in said


def test_a_second_try_goes_on_from_the_same_cut(student: Model, digits: Dataset, tmp_path: Path) -> None:
    asked = config(kind="structured", importance="random", keep=0.6)
    seen: list[str] = []

    def dies(start: Model) -> Model:
        seen.append(start.digest)
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            prune(student, digits, asked, tmp_path / "pruned", work=tmp_path / "cuts", fine_tune=dies)
    assert seen[0] == seen[1]
    assert not (tmp_path / "pruned").exists()


@pytest.mark.slow  # it is about timing: a busy machine answers otherwise
def test_a_latency_is_reached_by_measuring(student: Model, digits: Dataset, tmp_path: Path) -> None:
    # So wide that the time goes into its layers, and not into calling them.
    wide = NetworkConfig(name="residual", arguments={"width": 32})
    card = student.card.model_copy(update={"network": wide})
    student = write_model(tmp_path / "wide", card, lambda folder: save_weights(untrained(card), folder))
    cut: list[Model] = []

    def keep(start: Model) -> Model:
        cut.append(start)
        return start

    asked = config(kind="structured", target="latency", keep=0.7)
    report = prune(student, digits, asked, tmp_path / "pruned", work=tmp_path / "cuts", fine_tune=keep).report
    assert report.after.macs < report.before.macs
    assert report.after.speedup > 1.0


def test_an_ensemble_is_refused(student: Model, digits: Dataset, tmp_path: Path) -> None:
    card = student.card.model_copy(update={"members": (student.card.network,) * 2, "fusion": "mean_probability"})
    with pytest.raises(CompressionError, match="expected one network to prune, received an ensemble of 2"):
        pruned_in_process(replace(student, card=card), digits, config(kind="2:4"), tmp_path)


def line(**values: Any) -> LineConfig:
    network = NetworkConfig(name="residual").model_dump()
    base = {
        "dataset": "digits",
        "model": "digits",
        "members": {"networks": [network], "epochs": 1},
        "student": None,
        "gates": [{"gate": "floor", "limit": 0.5}],
        "prune": {"kind": "structured", "epochs": 1},
    }
    return LineConfig.model_validate({**base, **values})


def test_an_ensemble_that_goes_on_itself_is_refused_before_anything_starts() -> None:
    assert problems(line()) == [
        "line.prune: expected null where an ensemble of 3 goes on itself; have a student, one member, or "
        "ensemble.combiner: soup"
    ]
    assert problems(line(prune=None)) == []
    assert problems(line(ensemble={"combiner": "soup"})) == []
    assert problems(line(members={"networks": [{"name": "residual"}], "epochs": 1, "count": 1})) == []
    assert problems(line(student={"network": {"name": "residual"}, "epochs": 1})) == []


def test_fine_tuning_goes_on_as_the_network_was_trained_unless_told_otherwise(student: Model) -> None:
    job = job_of(student)
    again = fine_tuning(job, student, config(kind="2:4", epochs=3))
    assert again.keep_zeros and again.epochs == 3
    assert (again.training.learning_rate, again.training.schedule) == (0.005, job.training.schedule)
    low = fine_tuning(job, student, config(kind="2:4", learning_rate=1e-4))
    assert (low.training.learning_rate, low.training.schedule) == (1e-4, "cosine")
    assert str(again.network.pretrained).startswith(f"model:{student.folder}#sha256=")
