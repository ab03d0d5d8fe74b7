from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from components.artifacts import Dataset, Model
from components.compress.ensemble import combine, fit_weights, log_loss, read_report
from components.compress.errors import CompressionError
from components.compress.export import export, parity
from components.compress.judge import torch_answerer
from components.compress.runtime import answers
from components.config import EnsembleConfig, NetworkConfig
from components.data.reading.loading import load_split
from components.models.network import load_network
from components.tasks import registry as tasks


def imagined(members: int, units: int, seed: int) -> np.ndarray:
    """Likelihoods of members of different skill that are right on different units."""
    random = np.random.default_rng(seed)
    skill = random.uniform(0.3, 3.0, (members, 1))
    return random.beta(skill, 1.0, (members, units))


@pytest.mark.parametrize("seed", range(4))
def test_fitted_weights_are_those_an_independent_optimizer_finds(seed: int) -> None:
    likelihoods = imagined(4, 400, seed)
    found = fit_weights(likelihoods, gap=1e-9, steps=100_000)
    reference = minimize(
        lambda weights: log_loss(weights, likelihoods),
        np.full(4, 0.25),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * 4,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1.0},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    assert found.log_losses[-1] == pytest.approx(reference.fun, abs=1e-7)
    np.testing.assert_allclose(found.weights, reference.x, atol=2e-3)
    assert found.weights.sum() == pytest.approx(1.0)


def test_fitting_never_takes_a_step_back_and_keeps_its_promise_about_the_gap() -> None:
    likelihoods = imagined(3, 300, 7)
    rough, exact = fit_weights(likelihoods, gap=1e-3), fit_weights(likelihoods, gap=1e-10, steps=100_000)
    assert len(exact.log_losses) > len(rough.log_losses) > 2
    assert np.all(np.diff(exact.log_losses) <= 1e-12)
    assert 0 <= rough.log_losses[-1] - exact.log_losses[-1] <= rough.gap <= 1e-3


def test_a_member_that_guesses_gets_no_weight() -> None:
    random = np.random.default_rng(0)
    good = random.beta(4.0, 1.0, (2, 2000))
    weights = fit_weights(np.stack([*good, np.full(2000, 0.1)])).weights
    assert weights[2] < 0.01
    assert weights[:2].min() > 0.3


def test_a_truth_that_every_member_calls_impossible_does_not_end_in_infinity() -> None:
    likelihoods = imagined(3, 50, 0)
    likelihoods[:, 4] = 0.0
    fit = fit_weights(likelihoods)
    assert np.isfinite(fit.weights).all()
    assert np.isfinite(fit.log_losses).all()


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one member and one unit, received shape \(3, 0\)"):
        fit_weights(np.empty((3, 0)))


@pytest.fixture(scope="module")
def fitted(members: list[Model], digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return combine(members, digits, EnsembleConfig(), tmp_path_factory.mktemp("fitted") / "ensemble")


def test_the_ensemble_is_the_weighted_mean_of_its_members_probabilities(
    fitted: Model, members: list[Model], digits: Dataset
) -> None:
    images = load_split(digits, "test", limit=50).images
    task = tasks.get("classification")
    weights = [figures.weight for figures in read_report(fitted).members]
    alone = [torch_answerer(task, load_network(member))(images)["probabilities"] for member in members]
    expected = sum(weight * probabilities for weight, probabilities in zip(weights, alone, strict=True))
    together = torch_answerer(task, load_network(Model.load(fitted.folder)))(images)
    np.testing.assert_allclose(together["probabilities"], expected, atol=1e-6)
    np.testing.assert_array_equal(together["prediction"], np.argmax(expected, axis=1))


def test_the_weights_are_fitted_on_the_validation_split_and_reported(
    fitted: Model, members: list[Model], digits: Dataset
) -> None:
    report = read_report(fitted)
    validation = load_split(digits, "validation")
    task = tasks.get("classification")
    rows = np.arange(len(validation))
    likelihoods = np.stack(
        [
            torch_answerer(task, load_network(member))(validation.images)["probabilities"][rows, validation.targets]
            for member in members
        ]
    ).astype(np.float64)
    assert report.units == 297
    np.testing.assert_allclose([m.weight for m in report.members], fit_weights(likelihoods).weights, atol=1e-4)
    np.testing.assert_allclose([m.log_loss for m in report.members], -np.log(likelihoods).mean(axis=1), atol=1e-5)
    assert report.log_loss_equal == pytest.approx(-np.log(likelihoods.mean(axis=0)).mean(), abs=1e-5)
    assert report.log_loss < report.log_loss_equal
    assert report.log_loss <= min(member.log_loss for member in report.members) + report.gap
    assert report.gap <= 1e-6
    untrained = report.members[2]
    assert untrained.weight < 0.01
    assert untrained.primary < 0.3
    assert report.primary > 0.8


def test_the_ensemble_is_a_model_like_any_other(
    fitted: Model, members: list[Model], digits: Dataset, tmp_path: Path
) -> None:
    assert [parent.digest for parent in fitted.card.parents] == [member.digest for member in members]
    assert {parent.role for parent in fitted.card.parents} == {"member"}
    assert fitted.card.network.name == "ensemble"
    assert [network.arguments["width"] for network in fitted.card.members] == [8, 12, 8]
    images = load_split(digits, "test", limit=9).images
    exported = export(fitted, tmp_path / "exported")
    assert parity(exported, images) < 1e-5
    assert answers(exported, images)["embedding"].shape == (9, (8 + 12 + 8) * 4)


def test_equal_weights_are_equal(members: list[Model], digits: Dataset, tmp_path: Path) -> None:
    ensemble = combine(members, digits, EnsembleConfig(weights="equal"), tmp_path / "ensemble")
    report = read_report(ensemble)
    assert [member.weight for member in report.members] == pytest.approx([1 / 3] * 3)
    assert report.log_loss == report.log_loss_equal
    assert load_network(ensemble).weights.tolist() == pytest.approx([1 / 3] * 3)


def test_segmenters_are_combined_pixel_by_pixel(
    segmenter: Model, scenes: Dataset, train: Callable[..., Model], tmp_path: Path
) -> None:
    other = train(tmp_path / "other", NetworkConfig(name="unet", arguments={"width": 8}), scenes, seed=1, steps=15)
    ensemble = combine([segmenter, other], scenes, EnsembleConfig(), tmp_path / "ensemble")
    report = read_report(ensemble)
    assert report.units == 30 * 16 * 16
    assert report.metric == "mean_iou"
    assert report.log_loss <= report.log_loss_equal
    images = load_split(scenes, "test", limit=4).images
    task = tasks.get("segmentation")
    alone = [torch_answerer(task, load_network(model))(images)["probabilities"] for model in (segmenter, other)]
    weights = [member.weight for member in report.members]
    expected = weights[0] * alone[0] + weights[1] * alone[1]
    together = torch_answerer(task, load_network(ensemble))(images)["probabilities"]
    np.testing.assert_allclose(together, expected, atol=1e-6)


def test_members_of_other_data_are_refused_because_they_may_know_the_validation_split(
    members: list[Model], scenes: Dataset, digits: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(CompressionError, match="expected a model trained on scenes"):
        combine(members, scenes, EnsembleConfig(), tmp_path / "ensemble")
    with pytest.raises(CompressionError, match="at least one, received none"):
        combine([], digits, EnsembleConfig(), tmp_path / "ensemble")
    assert not (tmp_path / "ensemble").exists()


def test_combining_leaves_no_gradient_behind(fitted: Model) -> None:
    assert not load_network(fitted).weights.requires_grad
    assert torch.is_floating_point(load_network(fitted).weights)
