from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from torch.optim.swa_utils import AveragedModel, update_bn

from components.artifacts import Ancestor, Dataset, Model, write_model
from components.compress.ensembling.combine import combine, read_report
from components.compress.ensembling.picture import draw
from components.compress.ensembling.soup import greedy, mean_weights
from components.compress.ensembling.weights import fit_weights
from components.config import EnsembleConfig, NetworkConfig
from components.data.reading.folds import folds_of
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.export.export import export, parity
from components.models.ensemble import Mirrored
from components.models.network import load_network
from components.models.preprocessing import preprocess
from components.runtimes.execution import answers
from components.tasks import registry as tasks
from components.tasks.network import torch_answerer
from components.training.loop.boosting import samme

TASK = tasks.get("classification")


def probabilities(model: Model, dataset: Dataset, split: str, limit: int | None = None) -> np.ndarray:
    images = load_split(dataset, split, limit=limit).inputs  # type: ignore[arg-type]
    return torch_answerer(TASK, load_network(model))(images)["probabilities"].astype(np.float64)


def copied(model: Model, folder: Path, **changes: object) -> Model:
    """The same network with another card."""
    card = model.card.model_copy(update=changes)
    return write_model(
        folder, card, lambda target: (target / "model.safetensors").write_bytes(model.weights.read_bytes())
    )


@pytest.fixture(scope="module")
def fitted(members: list[Model], digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Chosen by itself: one of the members knows nothing."""
    return combine(members, digits, EnsembleConfig(), tmp_path_factory.mktemp("fitted") / "ensemble")


def test_the_weights_are_fitted_on_the_validation_split_and_reported(
    fitted: Model, members: list[Model], digits: Dataset
) -> None:
    report = read_report(fitted)
    targets = load_split(digits, "validation").targets
    each = np.stack([probabilities(member, digits, "validation") for member in members])
    likelihoods = each[:, np.arange(297), targets]
    assert report.samples == report.units == 297
    assert set(report.left_out) == {"soup", "boosted"}
    assert [row.name for row in report.combiners] == ["soft", "hard", "weighted", "stacking"]
    np.testing.assert_allclose([m.log_loss for m in report.members], -np.log(likelihoods).mean(axis=1), atol=1e-5)
    soft = next(row for row in report.combiners if row.name == "soft")
    assert soft.log_loss == pytest.approx(-np.log(likelihoods.mean(axis=0)).mean(), abs=1e-5)
    assert soft.primary == pytest.approx((each.mean(axis=0).argmax(axis=1) == targets).mean())
    assert soft.fitted == "nothing"
    assert report.asked == "auto"
    assert report.combiner in ("weighted", "stacking")  # a guesser among three is too much for a plain mean
    assert report.members[2].primary < 0.3
    assert report.primary > 0.8
    disagreement = (each[0].argmax(axis=1) != each[1].argmax(axis=1)).mean()
    assert report.disagreement[0][1] == report.disagreement[1][0] == pytest.approx(disagreement)
    metrics = report.metrics()
    assert metrics["soft.log_loss"] == soft.log_loss
    assert metrics["member-0.accuracy"] == report.members[0].primary


def test_what_an_ensemble_costs_is_what_its_members_cost(fitted: Model, members: list[Model]) -> None:
    report = read_report(fitted)
    networks = [load_network(member) for member in members]
    parameters = [sum(p.numel() for p in network.parameters()) for network in networks]
    assert report.member_cost.parameters == round(np.mean(parameters))
    assert report.chosen.cost.parameters == sum(parameters)
    assert report.metrics()["macs_of_members"] == pytest.approx(3, rel=0.02)
    width = members[0].card.network.arguments["width"]
    stem = next(module for module in networks[0].modules() if isinstance(module, torch.nn.Conv2d))
    assert report.member_cost.macs > stem.weight.numel() * 8 * 8  # the first layer alone, at full size
    assert stem.weight.shape[0] == width


def test_the_picture_shows_pairs_and_combiners(fitted: Model, tmp_path: Path) -> None:
    draw(read_report(fitted), tmp_path / "ensemble.png")
    assert (tmp_path / "ensemble.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "ensemble.png").stat().st_size > 10_000


def test_weighted_is_the_weighted_mean_of_its_members_probabilities(
    members: list[Model], digits: Dataset, tmp_path: Path
) -> None:
    ensemble = combine(members, digits, EnsembleConfig(combiner="weighted"), tmp_path / "ensemble")
    report = read_report(ensemble)
    validation = load_split(digits, "validation")
    likelihoods = np.stack(
        [probabilities(m, digits, "validation")[np.arange(297), validation.targets] for m in members]
    )
    weights = np.array([member.weight for member in report.members])
    np.testing.assert_allclose(weights, fit_weights(likelihoods).weights, atol=1e-4)
    expected = np.tensordot(weights, [probabilities(m, digits, "test", 50) for m in members], axes=1)
    np.testing.assert_allclose(probabilities(Model.load(ensemble.folder), digits, "test", 50), expected, atol=1e-6)
    assert report.reason == "it was asked for"


def test_the_ensemble_is_a_model_like_any_other(members: list[Model], digits: Dataset, tmp_path: Path) -> None:
    soft = combine(members, digits, EnsembleConfig(combiner="soft"), tmp_path / "soft")
    assert [parent.digest for parent in soft.card.parents] == [member.digest for member in members]
    assert {parent.role for parent in soft.card.parents} == {"member"}
    assert soft.card.network.name == "ensemble"
    assert [network.arguments["width"] for network in soft.card.members] == [8, 12, 8]
    assert not any(p.requires_grad for p in load_network(soft).fusion.buffers())  # type: ignore[union-attr]
    images = load_split(digits, "test", limit=9).inputs
    exported = export(soft, tmp_path / "exported")
    assert parity(exported, images) < 1e-5
    assert answers(exported, images)["embedding"].shape == (9, (8 + 12 + 8) * 4)
    mean = np.mean([probabilities(member, digits, "test", 9) for member in members], axis=0)
    np.testing.assert_allclose(answers(exported, images)["probabilities"], mean, atol=1e-5)


def test_members_that_are_asked_about_the_mirror_image_too_say_the_mean_and_are_exported_so(
    members: list[Model], digits: Dataset, tmp_path: Path
) -> None:
    config = EnsembleConfig(combiner="soft", tta="hflip")
    both = combine(members[:2], digits, config, tmp_path / "both")
    images = load_split(digits, "test", limit=9).inputs
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    said = [
        torch_answerer(TASK, load_network(member))(shown)["probabilities"]
        for member in members[:2]
        for shown in (images, mirrored)
    ]
    assert np.abs(said[0] - said[1]).max() > 0.01
    found = answers(export(both, tmp_path / "exported"), images)["probabilities"]
    np.testing.assert_allclose(found, np.mean(said, axis=0), atol=1e-5)
    report = read_report(both)
    assert "tta" in report.left_out["soup"]
    assert report.chosen.cost.macs == pytest.approx(2 * report.member_cost.macs * 2, rel=0.02)
    assert report.chosen.cost.parameters == 2 * report.member_cost.parameters


def test_the_mirror_images_mask_is_mirrored_back() -> None:
    images = torch.rand(2, 3, 4, 5)
    pixel_by_pixel = torch.nn.Conv2d(3, 4, 1)
    expected = torch.softmax(pixel_by_pixel(images), dim=1)
    torch.testing.assert_close(torch.softmax(Mirrored(pixel_by_pixel)(images), dim=1), expected)


@pytest.mark.slow  # exports a graph
def test_a_hard_vote_is_exported_with_its_votes(members: list[Model], digits: Dataset, tmp_path: Path) -> None:
    hard = combine(members[:2], digits, EnsembleConfig(combiner="hard"), tmp_path / "hard")
    images = load_split(digits, "test", limit=100).inputs
    found = answers(export(hard, tmp_path / "exported"), images)
    ballots = np.stack([probabilities(member, digits, "test", 100).argmax(axis=1) for member in members[:2]])
    shares = np.stack([(ballots == number).mean(axis=0) for number in range(10)], axis=1)
    np.testing.assert_allclose(found["probabilities"], shares, atol=1e-6)
    assert {0.5, 1.0} == set(np.round(found["probabilities"].max(axis=1), 6).tolist())


def test_stacking_is_fitted_on_the_folds_that_members_have_not_seen_and_exported(
    members: list[Model], digits: Dataset, tmp_path: Path
) -> None:
    """Two networks of one architecture stand for trainings without a fold: who answers for a sample is what counts."""
    alike = (members[0], members[2])
    stranger = [copied(each, tmp_path / f"fold-{number}", fold=(number, 2)) for number, each in enumerate(alike)]
    stacked = combine(stranger, digits, EnsembleConfig(combiner="stacking"), tmp_path / "stacked")
    report = read_report(stacked)
    assert next(row for row in report.combiners if row.name == "stacking").fitted == "out of fold"
    assert stacked.card.network.arguments == {"learners": 1}
    fold, training = folds_of(digits, 2), load_split(digits, "train")
    each = np.stack([probabilities(member, digits, "train") for member in stranger])
    features = np.log(np.maximum(each[fold, np.arange(len(fold))], 1e-7))
    layer = LogisticRegression(C=1.0, max_iter=5000, tol=1e-8).fit(features, training.targets)
    images = load_split(digits, "test", limit=100).inputs
    mean = np.mean([probabilities(member, digits, "test", 100) for member in stranger], axis=0)
    expected = layer.predict_proba(np.log(np.maximum(mean, 1e-7)))
    found = answers(export(stacked, tmp_path / "exported"), images)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.slow  # exports a graph
def test_a_boosted_vote_goes_by_the_mistakes_on_the_training_split_and_is_exported(
    members: list[Model], digits: Dataset, tmp_path: Path
) -> None:
    first = members[0]
    second = copied(members[1], tmp_path / "second", parents=(Ancestor(role="boosted", digest=first.digest),))
    boosted = combine([first, second], digits, EnsembleConfig(combiner="boosted"), tmp_path / "boosted")
    training = load_split(digits, "train")
    wrong = np.stack([probabilities(m, digits, "train").argmax(axis=1) != training.targets for m in (first, second)])
    say = samme(wrong, 10).say
    assert [m.weight for m in read_report(boosted).members] == pytest.approx((say / say.sum()).tolist(), rel=1e-4)
    ballots = np.stack([probabilities(member, digits, "test", 100).argmax(axis=1) for member in (first, second)])
    sums = np.stack([say @ (ballots == number) for number in range(10)], axis=1)
    images = load_split(digits, "test", limit=100).inputs
    found = answers(export(boosted, tmp_path / "exported"), images)["probabilities"]
    np.testing.assert_allclose(found, np.exp(sums) / np.exp(sums).sum(axis=1, keepdims=True), atol=1e-5)


def test_a_soup_of_one_training_is_one_network(digits: Dataset, train: Callable[..., Model], tmp_path: Path) -> None:
    config = NetworkConfig(name="residual", arguments={"width": 8})
    snapshots = [
        copied(
            train(tmp_path / f"{steps}", config, digits, seed=0, steps=steps), tmp_path / f"snapshot-{steps}", seed=0
        )
        for steps in (30, 60)
    ]
    soup = combine(snapshots, digits, EnsembleConfig(combiner="soup"), tmp_path / "soup")
    assert soup.card.members == ()
    assert soup.card.network == config
    assert soup.card.name == "ensemble"
    assert [parent.role for parent in soup.card.parents] == ["member", "member"]
    report = read_report(soup)
    assert report.metrics()["macs_of_members"] == 1.0
    assert {row.name for row in report.combiners} >= {"soup", "soft"}
    assert max(member.weight or 0.0 for member in report.members) in (0.5, 1.0)
    assert report.primary >= max(member.primary for member in report.members) - 1e-9


def test_the_mean_of_weights_is_torchs_with_statistics_taken_anew(members: list[Model], digits: Dataset) -> None:
    networks = [load_network(members[0]), load_network(members[2])]
    images = load_split(digits, "train", limit=500).inputs
    averaged = AveragedModel(networks[0])
    averaged.update_parameters(networks[0])
    averaged.update_parameters(networks[1])
    batches = [preprocess(torch.from_numpy(images[start : start + 256])) for start in (0, 256)]
    update_bn(batches, averaged)
    ours, theirs = mean_weights(networks, images).state_dict(), averaged.module.state_dict()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)


def test_a_greedy_soup_takes_in_what_does_not_harm() -> None:
    worth = {(0,): 0.9, (0, 2): 0.91, (0, 1, 2): 0.85, (0, 2, 3): 0.91}
    asked = []

    def score(chosen: tuple[int, ...]) -> float:
        asked.append(chosen)
        return worth[chosen]

    assert greedy([0, 2, 1, 3], score) == (0, 2, 3)
    assert asked == [(0,), (0, 2), (0, 1, 2), (0, 2, 3)]


def test_segmenters_are_combined_pixel_by_pixel(
    segmenter: Model, scenes: Dataset, train: Callable[..., Model], tmp_path: Path
) -> None:
    other = train(tmp_path / "other", NetworkConfig(name="unet", arguments={"width": 8}), scenes, seed=1, steps=15)
    ensemble = combine([segmenter, other], scenes, EnsembleConfig(combiner="weighted"), tmp_path / "ensemble")
    report = read_report(ensemble)
    assert report.units == 30 * 16 * 16
    assert report.metric == "mean_iou"
    assert [row.name for row in report.combiners] == ["soft", "weighted"]
    images = load_split(scenes, "test", limit=4).inputs
    task = tasks.get("segmentation")
    alone = [torch_answerer(task, load_network(model))(images)["probabilities"] for model in (segmenter, other)]
    weights = [member.weight for member in report.members]
    expected = weights[0] * alone[0] + weights[1] * alone[1]
    together = torch_answerer(task, load_network(ensemble))(images)["probabilities"]
    np.testing.assert_allclose(together, expected, atol=1e-6)
    with pytest.raises(CompressionError, match="expected auto or one of soft, soup, weighted, which task segmentation"):
        combine([segmenter, other], scenes, EnsembleConfig(combiner="stacking"), tmp_path / "stacked")


def test_members_of_other_data_are_refused_because_they_may_know_the_validation_split(
    members: list[Model], scenes: Dataset, digits: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(CompressionError, match="expected a model trained on scenes"):
        combine(members, scenes, EnsembleConfig(), tmp_path / "ensemble")
    with pytest.raises(CompressionError, match="at least one, received none"):
        combine([], digits, EnsembleConfig(), tmp_path / "ensemble")
    for combiner, reason in (("soup", "did not start from the same weights"), ("boosted", "were not boosted")):
        with pytest.raises(CompressionError, match=reason):
            combine(members[:2], digits, EnsembleConfig(combiner=combiner), tmp_path / "ensemble")  # type: ignore[arg-type]
    assert not (tmp_path / "ensemble").exists()


def test_weights_on_disk_are_members_and_fusion_and_nothing_else(fitted: Model, members: list[Model]) -> None:
    state = load_file(fitted.weights)
    for number, member in enumerate(members):
        for name, value in load_file(member.weights).items():
            assert torch.equal(state.pop(f"members.{number}.{name}"), value)
    assert set(state) <= {"fusion.weights", "fusion.weight", "fusion.bias"}
