"""Members that measure, combined, written, exported and made integer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from onnxruntime import InferenceSession
from safetensors.torch import load_file
from sklearn.linear_model import Ridge

from components.artifacts import Dataset, Model, write_model
from components.compress import allowance
from components.compress.ensembling.combine import combine, read_report
from components.compress.ensembling.least_squares import fit_squares
from components.compress.ensembling.picture import draw
from components.compress.ensembling.report import Judged
from components.compress.quantization.rewriting.static import prepare, to_int8
from components.compress.quantize import quantize
from components.config import EnsembleConfig, NetworkConfig, QuantizeConfig
from components.data.reading.folds import folds_of
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.export.export import export, parity
from components.models.network import load_network
from components.runtimes.execution import answers
from components.tasks import registry as tasks
from components.tasks.network import torch_answerer

NAMES = ("value", "low", "high")


@pytest.fixture(scope="module")
def measurers(inked: Dataset, train: Callable[..., Model], tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    """Two that have learnt to measure and one that knows nothing but the mean, of different widths."""
    folder = tmp_path_factory.mktemp("measurers")
    return [
        train(
            folder / f"member-{seed}",
            NetworkConfig(name="residual", arguments={"width": width}),
            inked,
            seed=seed,
            steps=steps,
        )
        for seed, (width, steps) in enumerate(((8, 50), (12, 40), (8, 0)))
    ]


@pytest.fixture(scope="module")
def fitted(measurers: list[Model], inked: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return combine(measurers, inked, EnsembleConfig(), tmp_path_factory.mktemp("fitted") / "ensemble")


@pytest.fixture(scope="module")
def stacked(measurers: list[Model], inked: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Of the first two."""
    config = EnsembleConfig(combiner="stacking")
    return combine(measurers[:2], inked, config, tmp_path_factory.mktemp("stacked") / "ensemble")


@pytest.fixture(scope="module")
def graph(stacked: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return export(stacked, tmp_path_factory.mktemp("graph") / "model")


def said(model: Model, dataset: Dataset, split: str, limit: int | None = None) -> np.ndarray:
    """`(N, 3, V)` float64."""
    images = load_split(dataset, split, limit=limit).inputs  # type: ignore[arg-type]
    answer = torch_answerer(tasks.of(dataset.card), load_network(model))(images)
    return np.stack([answer[name].astype(np.float64) for name in NAMES], axis=1)


def copied(model: Model, folder: Path, **changes: object) -> Model:
    """The same network with another card."""
    card = model.card.model_copy(update=changes)
    return write_model(
        folder, card, lambda target: (target / "model.safetensors").write_bytes(model.weights.read_bytes())
    )


def close(found: np.ndarray, expected: np.ndarray, dataset: Dataset, atol: float = 1e-4) -> None:
    """Within `atol` deviations of each value."""
    std = np.array(dataset.card.target["std"])
    np.testing.assert_allclose(found / std, expected / std, atol=atol)


def test_the_report_has_what_is_true_of_numbers(fitted: Model, measurers: list[Model], inked: Dataset) -> None:
    report, std = read_report(fitted), np.array(inked.card.target["std"])
    truths = load_split(inked, "validation").targets
    each = np.stack([said(member, inked, "validation")[:, 0] for member in measurers])
    errors = (each - truths) / std
    assert (report.metric, report.samples, report.units) == ("rmse", 297, 594)
    assert (report.loss_name, report.loss_title) == ("squared_error", "squared error, σ²")
    assert [row.name for row in report.combiners] == ["soft", "weighted", "stacking"]
    assert [row.fitted for row in report.combiners] == ["nothing", "validation", "validation"]
    assert set(report.left_out) == {"soup"}
    np.testing.assert_allclose([m.loss for m in report.members], np.square(errors).mean(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose([m.primary**2 for m in report.members], [m.loss for m in report.members], rtol=1e-6)
    soft = report.combiners[0]
    assert soft.loss == pytest.approx(np.square(errors.mean(axis=0)).mean(), rel=1e-4)
    assert report.combiner in ("weighted", "stacking")  # a guesser among three is too much for a plain mean
    assert "the least squared error" in report.reason
    assert report.disagreement[0][1] == pytest.approx(np.abs((each[0] - each[1]) / std).mean(), rel=1e-4)
    correlation = np.corrcoef(errors[0].ravel(), errors[1].ravel())[0, 1]
    assert report.error_correlation[0][1] == pytest.approx(correlation, abs=1e-4)
    assert report.chosen.cost.parameters == pytest.approx(3 * report.member_cost.parameters, rel=0.01)
    written = json.loads((fitted.folder / "ensemble.json").read_text())
    for row in (written, *written["members"], *written["combiners"]):
        assert "log_loss" not in row
        assert math.isnan(row["calibration_error"])
    assert not any("log_loss" in name or "calibration" in name for name in report.metrics())
    assert report.metrics()["soft.squared_error"] == soft.loss
    assert all(math.isfinite(value) for value in report.metrics().values())


def test_figures_have_one_loss_and_not_two() -> None:
    for losses in ({}, {"log_loss": 0.1, "squared_error": 0.2}):
        with pytest.raises(ValueError, match="expected one of log_loss and squared_error"):
            Judged(primary=1.0, calibration_error=0.1, **losses)


def test_the_picture_says_nothing_of_log_loss_or_calibration(
    fitted: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    save = Figure.savefig

    def watched(picture: Figure, *where: object, **how: object) -> None:
        drawn.extend(text.get_text() for axes in picture.axes for text in (axes.title, *axes.texts))
        save(picture, *where, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Figure, "savefig", watched)
    draw(read_report(fitted), tmp_path / "ensemble.png")
    assert (tmp_path / "ensemble.png").read_bytes().startswith(b"\x89PNG")
    assert "squared error, σ² · rmse, validation" in drawn
    assert "distance of answers, σ" in drawn
    assert not any(word in text for text in drawn for word in ("log loss", "calibration", "nan", "%"))


def test_the_mean_is_a_model_like_any_other(measurers: list[Model], inked: Dataset, tmp_path: Path) -> None:
    soft = combine(measurers, inked, EnsembleConfig(combiner="soft"), tmp_path / "soft")
    head = measurers[0].card.head
    assert (soft.card.fusion, soft.card.head, soft.card.target) == ("mean_numbers", head, inked.card.target)
    mean = np.mean([said(member, inked, "test", 9) for member in measurers], axis=0)
    close(said(Model.load(soft.folder), inked, "test", 9), mean, inked)


@pytest.mark.slow  # exports a graph
def test_the_mean_is_exported(measurers: list[Model], inked: Dataset, tmp_path: Path) -> None:
    soft = combine(measurers, inked, EnsembleConfig(combiner="soft"), tmp_path / "soft")
    images = load_split(inked, "test", limit=9).inputs
    exported = export(soft, tmp_path / "exported")
    assert parity(exported, images) < 1e-4
    found = answers(exported, images)
    mean = np.mean([said(member, inked, "test", 9) for member in measurers], axis=0)
    close(np.stack([found[name] for name in NAMES], axis=1), mean, inked)
    assert found["embedding"].shape == (9, (8 + 12 + 8) * 4)


def test_weighted_is_written_with_its_weights(measurers: list[Model], inked: Dataset, tmp_path: Path) -> None:
    weighted = combine(measurers, inked, EnsembleConfig(combiner="weighted"), tmp_path / "weighted")
    truths, std = load_split(inked, "validation").targets, np.array(inked.card.target["std"])
    errors = np.stack([(said(member, inked, "validation")[:, 0] - truths) / std for member in measurers])
    weights = [member.weight for member in read_report(weighted).members]
    np.testing.assert_allclose(weights, fit_squares(errors.reshape(3, -1)), atol=1e-4)
    expected = np.average([said(member, inked, "test", 9) for member in measurers], axis=0, weights=weights)
    close(said(weighted, inked, "test", 9), expected, inked)
    exchange = allowance.of_ensemble(weighted, tasks.of(inked.card).spec.primary)
    assert exchange.after < exchange.before  # less is better
    assert exchange.loss < 0


def test_stacking_is_exported_as_fitted(stacked: Model, graph: Model, measurers: list[Model], inked: Dataset) -> None:
    assert set(load_file(stacked.weights)) > {"fusion.weight", "fusion.bias"}
    assert all(member.weight is None for member in read_report(stacked).members)
    truths, std = load_split(inked, "validation").targets, np.array(inked.card.target["std"])

    def features(split: str, limit: int | None = None) -> np.ndarray:
        return np.concatenate([said(member, inked, split, limit)[:, 0] / std for member in measurers[:2]], axis=1)

    value = Ridge(alpha=1.0).fit(features("validation"), truths / std).predict(features("test", 9)) * std
    mean = np.mean([said(member, inked, "test", 9) for member in measurers[:2]], axis=0)
    images = load_split(inked, "test", limit=9).inputs
    assert parity(graph, images) < 1e-4
    found = answers(graph, images)
    expected = mean + (value - mean[:, 0])[:, None]
    close(np.stack([found[name] for name in NAMES], axis=1), expected, inked, atol=1e-3)


def test_stacking_is_fitted_on_the_folds_that_members_have_not_seen(
    measurers: list[Model], inked: Dataset, tmp_path: Path
) -> None:
    """Two networks of one architecture stand for trainings without a fold: who answers for a sample is what counts."""
    alike = (measurers[0], measurers[2])
    stranger = [copied(each, tmp_path / f"fold-{number}", fold=(number, 2)) for number, each in enumerate(alike)]
    stacked = combine(stranger, inked, EnsembleConfig(combiner="stacking"), tmp_path / "stacked")
    assert read_report(stacked).chosen.fitted == "out of fold"
    assert stacked.card.network.arguments == {"learners": 1}
    fold, std = folds_of(inked, 2), np.array(inked.card.target["std"])
    each = np.stack([said(member, inked, "train")[:, 0] / std for member in stranger])
    truths = load_split(inked, "train").targets / std
    layer = Ridge(alpha=1.0).fit(each[fold, np.arange(len(fold))], truths)
    mean = np.mean([said(member, inked, "test", 50)[:, 0] / std for member in stranger], axis=0)
    close(said(stacked, inked, "test", 50)[:, 0], layer.predict(mean) * std, inked, atol=1e-3)


def test_members_that_are_asked_about_the_mirror_image_too_say_the_mean(
    measurers: list[Model], inked: Dataset, tmp_path: Path
) -> None:
    both = combine(measurers[:2], inked, EnsembleConfig(combiner="soft", tta="hflip"), tmp_path / "both")
    images, task = load_split(inked, "test", limit=9).inputs, tasks.of(inked.card)
    shown = (images, np.ascontiguousarray(images[:, :, ::-1]))
    alone = [torch_answerer(task, load_network(member))(each)["value"] for member in measurers[:2] for each in shown]
    assert np.abs(alone[0] - alone[1]).max() > 0.01
    close(torch_answerer(task, load_network(both))(images)["value"], np.mean(alone, axis=0), inked)


def test_a_soup_of_one_training_is_one_network(inked: Dataset, train: Callable[..., Model], tmp_path: Path) -> None:
    config = NetworkConfig(name="residual", arguments={"width": 8})
    snapshots = [
        copied(train(tmp_path / f"{steps}", config, inked, seed=0, steps=steps), tmp_path / f"snapshot-{steps}", seed=0)
        for steps in (20, 40)
    ]
    soup = combine(snapshots, inked, EnsembleConfig(combiner="soup"), tmp_path / "soup")
    assert soup.card.members == ()
    assert soup.card.head == snapshots[0].card.head
    report = read_report(soup)
    assert [row.name for row in report.combiners] == ["soup", "soft", "weighted", "stacking"]
    assert report.primary <= min(member.primary for member in report.members) + 1e-9
    assert torch.isfinite(torch.from_numpy(said(soup, inked, "test", 9))).all()


@pytest.mark.parametrize("combiner", ["hard", "boosted"])
def test_votes_of_numbers_are_refused(combiner: str, measurers: list[Model], inked: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        CompressionError, match="expected auto or one of soft, soup, stacking, weighted, which task regression"
    ):
        combine(measurers, inked, EnsembleConfig(combiner=combiner), tmp_path / "ensemble")  # type: ignore[arg-type]
    assert not (tmp_path / "ensemble").exists()


def test_the_integer_graph_measures_as_the_float_one(graph: Model, inked: Dataset, tmp_path: Path) -> None:
    """Numbers of which one is about 10 and the other about -3000: in integers they would be added as one kind."""
    prepare(graph.onnx, tmp_path / "prepared.onnx")
    assert to_int8(tmp_path / "prepared.onnx", tmp_path / "int8.onnx", load_split(inked, "train", limit=96).inputs) > 0
    images, std = load_split(inked, "test", limit=100).inputs, np.array(inked.card.target["std"])
    floating = answers(graph, images)
    whole = dict(zip(NAMES, InferenceSession(tmp_path / "int8.onnx").run(NAMES, {"image": images}), strict=True))
    for name in NAMES:
        assert np.sqrt(np.square((whole[name] - floating[name]) / std).mean(axis=0)).max() < 0.1
        assert min(len(np.unique(column)) for column in whole[name].T) > 90  # numbers, not 255 levels


@pytest.mark.slow  # measures graphs of several kinds
def test_an_ensemble_of_numbers_is_quantized_like_any_other(stacked: Model, inked: Dataset, tmp_path: Path) -> None:
    made = quantize(stacked, inked, QuantizeConfig(calibration_samples=96, batch=16), tmp_path / "quantized")
    images, std = load_split(inked, "test", limit=100).inputs, np.array(inked.card.target["std"])
    floating, whole = (answers(each, images) for each in (made.float32, made.int8))
    gap = (whole["value"] - floating["value"]) / std
    assert np.sqrt(np.square(gap).mean(axis=0)).max() < 0.1
