from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from components.artifacts import DatasetCard, ImageSpec
from components.compress.ensembling import choosing
from components.compress.ensembling.answers import LEAST_LIKELIHOOD, Together, said_of
from components.compress.ensembling.combiners import COMBINERS, Given
from components.compress.ensembling.diversity import diversity
from components.tasks import registry as tasks

CLASSES = 10


@pytest.fixture
def card() -> DatasetCard:
    spec = ImageSpec(height=8, width=8, channels=1, mean=(0.5,), std=(0.2,))
    names = tuple("0123456789")
    return DatasetCard(
        name="n", task="classification", classes=names, groups=(), input=spec, splits={}, fingerprint="f"
    )


def noise(samples: int) -> Together:
    """Five members that know nothing about labels that mean nothing: whatever is fitted on them is chance."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(5, samples, CLASSES))
    logs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    targets = np.arange(samples) % CLASSES
    likelihoods = np.exp(logs[:, np.arange(samples), targets])[..., None]
    return Together(likelihoods, logs.astype(np.float32), targets)


def test_every_sample_is_judged_once_and_never_fitted_on_by_what_judges_it() -> None:
    pairs = list(choosing.cross_fits(53))
    assert len(pairs) == 5
    assert sorted(np.concatenate([judging for _, judging in pairs]).tolist()) == list(range(53))
    for fitting, judging in pairs:
        assert not set(fitting.tolist()) & set(judging.tolist())
        assert len(fitting) + len(judging) == 53


def test_what_was_learnt_by_heart_is_not_believed(card: DatasetCard) -> None:
    """500 parameters on 200 samples of noise: in-sample stacking looks best, and cross-fitted it is worst."""
    answers, given, task = noise(200), Given(5, CLASSES), tasks.get("classification")
    in_sample = COMBINERS["probabilities"]["stacking"].fit(answers, given)(answers.outputs)
    flattering = -in_sample[np.arange(200), answers.targets].numpy().mean()
    found = {
        name: choosing.judged(COMBINERS["probabilities"][name], answers, given, task, card).losses
        for name in ("soft", "stacking")
    }
    assert flattering < found["soft"].mean() < found["stacking"].mean()
    assert choosing.choose(found)[0] == "soft"


def test_the_best_temperature_is_that_of_an_independent_search_and_undoes_any_other() -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, CLASSES, 300)
    logs = log_softmax(2 * np.eye(CLASSES)[targets] + random.normal(size=(300, CLASSES)), axis=1)
    found = choosing.at_best_temperature(logs, targets)
    grid = [-log_softmax(logs / t, axis=1)[np.arange(300), targets].mean() for t in np.linspace(0.2, 5.0, 2_000)]
    assert found.mean() == pytest.approx(min(grid), abs=1e-5)
    for temperature in (0.3, 4.0):
        tempered = choosing.at_best_temperature(log_softmax(logs / temperature, axis=1), targets)
        assert tempered == pytest.approx(found, abs=1e-3)


def test_who_is_only_better_calibrated_is_not_taken(card: DatasetCard) -> None:
    """Members that are far too unsure of themselves, and right: stacking has the lower log loss, and nothing else."""
    random, task = np.random.default_rng(0), tasks.get("classification")
    targets = random.integers(0, CLASSES, 400)
    scores = 1.5 * np.eye(CLASSES)[targets] + random.normal(size=(3, 400, CLASSES))
    logs = log_softmax(0.2 * scores, axis=2).astype(np.float32)
    likelihoods = np.exp(logs[:, np.arange(400), targets])[..., None].astype(np.float64)
    answers = Together(likelihoods, logs, targets)
    found = {
        n: choosing.judged(COMBINERS["probabilities"][n], answers, Given(3, CLASSES), task, card)
        for n in ("soft", "stacking")
    }
    assert found["stacking"].losses.mean() < 0.8 * found["soft"].losses.mean()
    assert choosing.choose({name: each.compared for name, each in found.items()})[0] == "soft"


def test_the_simplest_is_taken_that_is_not_surely_worse() -> None:
    random = np.random.default_rng(0)
    base = random.exponential(size=400)
    a_little = base - 0.001 + random.normal(scale=0.1, size=400)
    surely = base - 0.1 + random.normal(scale=0.1, size=400)
    name, reason = choosing.choose({"soft": base, "weighted": a_little})
    assert name == "soft"
    assert "less than the standard error" in reason or "least log loss" in reason
    assert choosing.choose({"soft": base, "weighted": surely})[0] == "weighted"
    assert choosing.choose({"soft": base, "weighted": base.copy()})[0] == "soft"  # a tie
    assert choosing.choose({"soft": np.array([2.0]), "weighted": np.array([1.0])})[0] == "weighted"


def test_differences_have_the_standard_error_of_paired_samples() -> None:
    random = np.random.default_rng(1)
    one, other = random.random(50), random.random(50)
    mean, error = choosing.difference(one, other)
    assert mean == pytest.approx((one - other).mean())
    assert error == pytest.approx(np.sqrt(np.var(one - other, ddof=1) / 50))


def test_pairs_are_described_as_numpy_would(card: DatasetCard) -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, CLASSES, 300)
    task, said = tasks.get("classification"), []
    answered = [np.where(random.random(300) < skill, targets, random.integers(0, CLASSES, 300)) for skill in (0.9, 0.5)]
    answered.append(targets)  # never wrong
    for prediction in answered:
        probabilities = np.full((300, CLASSES), 0.01)
        probabilities[np.arange(300), prediction] = 0.91
        said.append(said_of(task, {"probabilities": probabilities, "prediction": prediction}, targets, card))
    found = diversity(said, targets)
    first, second, right = answered
    assert found.disagreement[0, 1] == pytest.approx((first != second).mean())
    assert found.error_correlation[0, 1] == pytest.approx(np.corrcoef(first != targets, second != targets)[0, 1])
    assert found.error_correlation[1, 1] == pytest.approx(1.0)
    assert np.isnan(found.error_correlation[0, 2])
    assert np.isnan(found.mean_error_correlation)
    pairs = [(first != second).mean(), (first != right).mean(), (second != right).mean()]
    assert found.mean_disagreement == pytest.approx(np.mean(pairs))


def test_a_truth_that_was_called_impossible_has_a_finite_price(card: DatasetCard) -> None:
    probabilities = np.eye(CLASSES)[[3]]
    answer = {"probabilities": probabilities, "prediction": np.array([3])}
    said = said_of(tasks.get("classification"), answer, np.array([5]), card)
    assert said.losses().tolist() == [pytest.approx(-np.log(LEAST_LIKELIHOOD))]
