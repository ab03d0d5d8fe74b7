"""Detectors as members: combined in every way, judged, exported, and copied by a student that says other places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from components.artifacts import Dataset, Model
from components.compress.ensembling.asking import asked_of
from components.compress.ensembling.combine import combine, read_report
from components.compress.ensembling.combiners import COMBINERS
from components.compress.ensembling.picture import draw
from components.compress.ensembling.problems import TEACHERS, problems
from components.config import EnsembleConfig, LineConfig, NetworkConfig
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.export.export import export, parity
from components.metrics import detection
from components.models.ensemble import Ensemble, FusedBoxes
from components.models.network import load_network
from components.models.preprocessing import preprocess
from components.tasks import registry as tasks
from components.tasks.asking import ask, primary
from components.tasks.network import network_of, torch_answerer

NAMES = ("soft", "nms", "wbf", "weighted")


@pytest.fixture(scope="module")
def combined(detectors: list[Model], things: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return combine(detectors, things, EnsembleConfig(), tmp_path_factory.mktemp("combined") / "ensemble")


@pytest.fixture(scope="module")
def fused(detectors: list[Model], things: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    config = EnsembleConfig(combiner="wbf")
    return combine(detectors[:2], things, config, tmp_path_factory.mktemp("fused") / "ensemble")


def line(**changes: object) -> LineConfig:
    network = {"name": "detector", "arguments": {"width": 8}}
    student = {"network": network, "epochs": 1}
    settings = {"members": {"count": 2, "networks": [network], "epochs": 1}, "student": student, **changes}
    gates = [{"gate": "floor", "limit": 0.5}]
    return LineConfig.model_validate({"dataset": "things", "model": "things", "gates": gates, **settings})


def judged(model: Model, dataset: Dataset) -> float:
    task = tasks.of(dataset.card)
    answerer = torch_answerer(task, load_network(model))
    return primary(task, ask(task, answerer, load_split(dataset, "validation"), dataset.card))


def test_every_way_is_judged_and_one_that_can_be_exported_is_chosen(combined: Model, things: Dataset) -> None:
    report = read_report(combined)
    assert tuple(each.name for each in report.combiners) == NAMES
    assert report.combiner not in TEACHERS
    assert set(report.left_out) == {"soup"}
    assert report.loss_name == "log_loss" and not report.calibrated
    found = {each.name: each.primary for each in report.combiners}
    best = max(member.primary for member in report.members)
    assert all(0.0 < value <= 1.0 for value in found.values())
    assert max(found.values()) > best - 0.02  # one member knows nothing: fusing it in may cost, and not much
    assert report.members[2].log_loss > report.members[0].log_loss
    assert 0.0 < report.mean_disagreement < 1.0
    assert report.primary == pytest.approx(judged(combined, things))


def test_weights_pass_over_a_member_that_has_learnt_nothing(
    detectors: list[Model], things: Dataset, tmp_path: Path
) -> None:
    model = combine(detectors, things, EnsembleConfig(combiner="weighted"), tmp_path / "ensemble")
    weights = [member.weight for member in read_report(model).members]
    assert sum(weights) == pytest.approx(1.0)
    assert weights[2] < min(weights[:2])


def test_the_report_is_drawn(combined: Model, tmp_path: Path) -> None:
    draw(read_report(combined), tmp_path / "ensemble.png")
    assert (tmp_path / "ensemble.png").stat().st_size > 10_000


def test_likelihoods_are_of_what_is_there_and_of_nothing_else() -> None:
    targets = np.zeros((2, 3, 7), np.float32)
    targets[..., 0] = -1
    targets[0, 0] = (1, 10, 10, 20, 20, 0, 1)
    targets[0, 1] = (0, 40, 40, 60, 60, 1, 1)  # ignored
    boxes = np.zeros((2, 4, 4), np.float32)
    boxes[0] = [[10, 10, 20, 20], [10, 10, 20, 16], [45, 45, 55, 55], [0, 0, 5, 5]]
    boxes[1, 0] = (0, 0, 9, 9)
    scores = np.array([[0.5, 0.9, 0.8, 0.25], [0.5, 0, 0, 0]], np.float32)
    labels = np.array([[1, 1, 0, 1], [2, -1, -1, -1]])
    answer = {"boxes": boxes, "scores": scores, "labels": labels, "valid": labels >= 0}
    found, nothing = detection.likelihoods(answer, targets)
    # The surer box overlaps by .6: it is taken at .5, .55 and .6, the other one from .65 on, and is a second one below.
    assert found[0, 0] == pytest.approx((3 * 0.9 + 7 * 0.5) / 10)
    assert found[1].tolist() == [0.0, 0.0, 0.0]
    assert nothing.tolist() == pytest.approx([(1 - 0.5) * (1 - 0.25), 0.5])


@pytest.mark.parametrize("name", ["soft", "nms"])
def test_what_is_exported_finds_what_the_members_find(
    name: str, detectors: list[Model], things: Dataset, tmp_path: Path
) -> None:
    config = EnsembleConfig.model_validate({"combiner": name})
    model = combine(detectors[:2], things, config, tmp_path / "ensemble")
    graph = export(model, tmp_path / "graph")
    assert parity(graph, load_split(things, "test").inputs) < 1e-3


def test_what_cannot_be_exported_is_refused_before_it_is_trained_and_where_it_would_be(
    fused: Model, tmp_path: Path
) -> None:
    task = tasks.get("detection")
    assert frozenset(name for each in COMBINERS.values() for name, one in each.items() if not one.exported) == TEACHERS
    asked = {"ensemble": {"combiner": "wbf"}}
    assert problems(line(**asked), task) == []
    (said,) = problems(line(**asked, student=None), task)
    assert said.startswith("line.ensemble.combiner: expected one that can be exported where `student: null`")
    with pytest.raises(CompressionError, match="FusedBoxes: expected a fusion that can be exported"):
        export(fused, tmp_path / "graph")


def test_what_detectors_cannot_do_is_said_before_they_are_trained(
    detectors: list[Model], things: Dataset, tmp_path: Path
) -> None:
    task = tasks.get("detection")
    (said,) = problems(line(ensemble={"combiner": "stacking"}), task)
    assert said.startswith("line.ensemble.combiner: expected auto or one of nms, soft, soup, wbf, weighted, which task")
    (said,) = problems(line(ensemble={"tta": "hflip"}), task)
    assert said.startswith("line.ensemble.tta: expected none for boxes")
    with pytest.raises(CompressionError, match=r"ensemble\.tta: expected none for boxes"):
        combine(detectors, things, EnsembleConfig(tta="hflip"), tmp_path / "ensemble")
    one = {"name": "detector", "arguments": {"width": 8}}
    assert problems(line(members={"count": 1, "networks": [one], "epochs": 1}, ensemble={"tta": "hflip"}), task) == []


def test_members_of_other_strides_are_combined_by_their_boxes(
    detectors: list[Model], things: Dataset, train: Callable[..., Model], tmp_path: Path
) -> None:
    fine = NetworkConfig(name="detector", arguments={"width": 8, "stride": 4})
    members = [detectors[0], train(tmp_path / "fine", fine, things, seed=3, steps=30)]
    report = read_report(combine(members, things, EnsembleConfig(), tmp_path / "ensemble"))
    assert [each.name for each in report.combiners] == ["nms", "wbf"]
    assert report.left_out["soft"].startswith("ensemble.combiner: expected nms or wbf")
    with pytest.raises(CompressionError, match="expected nms or wbf"):
        combine(members, things, EnsembleConfig(combiner="soft"), tmp_path / "other")


@pytest.mark.parametrize("places", ["alike", "fused", "finer"])
def test_a_student_copies_whatever_its_teacher_finds(
    places: str, combined: Model, fused: Model, things: Dataset
) -> None:
    """Without any label: what the student finds after it is judged by truths that it has never been told."""
    torch.manual_seed(0)
    task = tasks.of(things.card)
    teacher = load_network(fused if places == "fused" else combined)
    assert isinstance(teacher, Ensemble)
    assert isinstance(teacher.fusion, FusedBoxes) == (places == "fused")
    stride = 4 if places == "finer" else 8
    config = NetworkConfig(name="detector", arguments={"width": 8, "stride": stride})
    student = network_of(task, config, things.card)
    images = preprocess(torch.from_numpy(load_split(things, "train").inputs))
    with torch.no_grad():
        answers = teacher(images)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
    # Copied place by place, what a teacher is not sure of says less than the boxes that it finds.
    for _ in range(160 if places == "alike" else 80):
        chosen = torch.randint(len(images), (32,))
        loss = task.distillation_loss(student(images[chosen]), answers[chosen], 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    samples = load_split(things, "validation")
    taught, master = (
        primary(task, ask(task, torch_answerer(task, each.eval()), samples, things.card)) for each in (student, teacher)
    )
    assert taught > 0.5 * master > 0.1


def test_members_are_asked_again_about_the_samples_that_are_named(detectors: list[Model], things: Dataset) -> None:
    asked = asked_of(detectors[:2], tasks.of(things.card), things, flipped=False)
    combiner = COMBINERS["boxes"]["soft"]
    rows = np.array([4, 9, 20])
    said = asked.again(combiner, combiner.fit(asked.answers, asked.given), rows)
    whole = asked.again(combiner, combiner.fit(asked.answers, asked.given), np.arange(len(asked.validation)))
    np.testing.assert_allclose(said.units, whole.units[rows], atol=1e-6)
    assert said.predictions.table.column("id").to_pylist() == asked.validation.ids[rows].tolist()
