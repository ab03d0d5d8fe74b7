"""The arithmetic of combining numbers, held to that of NumPy, SciPy and scikit-learn on imagined members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import Ridge

from components.artifacts import DatasetCard, ImageSpec
from components.compress.ensembling import choosing
from components.compress.ensembling.answers import Together, said_of, squares_of, together
from components.compress.ensembling.combiners import COMBINERS, Given
from components.compress.ensembling.diversity import diversity
from components.compress.ensembling.least_squares import fit_squares
from components.models.ensemble import mean_numbers
from components.tasks import registry as tasks

MEMBERS, SAMPLES = 3, 200
NUMBERS = COMBINERS["numbers"]
MIDDLE, SCALE = np.array([10.0, -3000.0]), np.array([2.0, 500.0])
SKILL = np.array([0.3, 0.5, 2.0])  # deviations by which members are off


def card_of(values: int) -> DatasetCard:
    """Of `values` values, whose units are far apart."""
    scale = {"mean": MIDDLE[:values], "std": SCALE[:values], "low": MIDDLE[:values], "high": MIDDLE[:values]}
    return DatasetCard(
        name="n",
        task="regression",
        classes=(),
        groups=(),
        input=ImageSpec(height=8, width=8, channels=1, mean=(0.5,), std=(0.2,)),
        target={
            "kind": "values",
            "names": ("age", "depth")[:values],
            "units": ("years", "m")[:values],
            **{name: tuple(each.tolist()) for name, each in scale.items()},
        },
        splits={},
        fingerprint="f",
    )


def imagined(values: int = 2, samples: int = SAMPLES, skill: np.ndarray = SKILL, seed: int = 0) -> Together:
    """Members of different skill, whose intervals are of different widths."""
    random = np.random.default_rng(seed)
    scale, middle = SCALE[:values], MIDDLE[:values]
    targets = (middle + scale * random.normal(size=(samples, values))).astype(np.float32)
    said = []
    for off in skill:
        value = (targets + scale * (0.2 + random.normal(scale=off, size=targets.shape))).astype(np.float32)
        ends = {"low": value - scale * off, "high": value + scale * 2 * off}
        answer = {"value": value, **{name: end.astype(np.float32) for name, end in ends.items()}}
        said.append(said_of(tasks.of(card_of(values)), answer, targets, card_of(values)))
    return together(said, targets)


def given(answers: Together, **more: Any) -> Given:
    members, _, outputs = answers.outputs.shape
    return Given(members, outputs, deviations=np.tile(SCALE[: outputs // 3], 3), **more)


def combined(name: str, answers: Together, **more: Any) -> Any:
    """What the combiner makes of the answers, `(N, 3, V)`."""
    fused = NUMBERS[name].fit(answers, given(answers, **more))(answers.outputs)
    return fused.double().numpy().reshape(len(answers), 3, -1)


def values_of(answers: Together) -> np.ndarray:
    """`(K, N, V)`."""
    assert answers.fusible is not None
    return answers.fusible.astype(np.float64).reshape(*answers.fusible.shape[:2], 3, -1)[:, :, 0]


# -- means -----------------------------------------------------------------------------------------------------------


def test_soft_is_the_mean_by_numpy() -> None:
    answers = imagined()
    mean = answers.fusible.astype(np.float64).mean(axis=0).reshape(SAMPLES, 3, 2)
    np.testing.assert_allclose(combined("soft", answers), mean, rtol=1e-6)


def test_weighted_is_the_weighted_mean_by_numpy_of_values_and_intervals() -> None:
    answers = imagined()
    weights = fit_squares(answers.units.reshape(MEMBERS, -1))
    mean = np.average(answers.fusible.astype(np.float64), axis=0, weights=weights).reshape(SAMPLES, 3, 2)
    np.testing.assert_allclose(combined("weighted", answers), mean, rtol=1e-6)


def test_ends_that_a_member_gives_the_wrong_way_round_do_not_narrow_the_mean_interval() -> None:
    right = torch.tensor([[5.0, 4.0, 7.0]])
    swapped = torch.tensor([[6.0, 8.0, 3.0]])
    mean = mean_numbers(torch.stack([right, swapped]), torch.tensor([0.5, 0.5]))
    assert mean.tolist() == [[5.5, 3.5, 7.5]]


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_those_of_an_independent_optimiser(seed: int) -> None:
    errors = imagined(skill=np.array([0.3, 0.35, 0.5, 0.5]), seed=seed).units.reshape(4, -1)
    found = minimize(
        lambda weights: np.square(weights @ errors).mean(),
        np.full(4, 0.25),
        method="SLSQP",
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    weights = fit_squares(errors)
    assert found.success
    np.testing.assert_allclose(weights, found.x, atol=1e-5)
    assert np.square(weights @ errors).mean() <= found.fun + 1e-12


def test_a_bad_member_weighs_next_to_nothing_and_a_perfect_one_all() -> None:
    errors = np.random.default_rng(0).normal(size=(3, 500)) * np.array([[0.3], [0.3], [30.0]])
    weights = fit_squares(errors)
    assert weights[2] < 1e-3
    np.testing.assert_allclose(weights[:2], 0.5, atol=0.1)
    np.testing.assert_allclose(fit_squares(np.concatenate([errors, np.zeros((1, 500))])), [0, 0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("factor", [1e-9, 1e6])
def test_weights_do_not_depend_on_how_large_errors_are(factor: float) -> None:
    errors = imagined().units.reshape(MEMBERS, -1)
    np.testing.assert_allclose(fit_squares(factor * errors), fit_squares(errors), atol=1e-9)


def test_there_are_no_weights_of_nothing() -> None:
    np.testing.assert_array_equal(fit_squares(np.array([[0.5]])), [1.0])
    for shape in ((0, 3), (3, 0)):
        with pytest.raises(ValueError, match="at least one member and one unit, received shape"):
            fit_squares(np.zeros(shape))


# -- stacking --------------------------------------------------------------------------------------------------------


class Imagined(RegressorMixin, BaseEstimator):
    """A regressor that answers for sample number x what it was made with."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def fit(self, rows: Any, targets: Any) -> Imagined:
        self.fitted_ = True
        return self

    def predict(self, rows: Any) -> Any:
        return self.values[rows[:, 0]]


def test_stacking_is_that_of_scikit_learn() -> None:
    """Of one value, in deviations."""
    answers, rows = imagined(values=1), np.arange(SAMPLES)[:, None]
    targets = answers.targets[:, 0].astype(np.float64) / SCALE[0]
    members = [
        (str(n), Imagined(each[:, 0] / SCALE[0]).fit(rows, targets)) for n, each in enumerate(values_of(answers))
    ]
    theirs = StackingRegressor(members, Ridge(alpha=1.0), cv="prefit").fit(rows, targets)
    found = combined("stacking", answers)[:, 0, 0]
    np.testing.assert_allclose(found, theirs.predict(rows) * SCALE[0], rtol=1e-5)


def test_stacking_of_several_values_solves_the_normal_equations_in_deviations() -> None:
    answers = imagined()
    features = np.concatenate(list(values_of(answers) / SCALE), axis=1)
    targets = answers.targets.astype(np.float64) / SCALE
    middle, end = features.mean(axis=0), targets.mean(axis=0)
    centred = features - middle
    weight = np.linalg.solve(centred.T @ centred + np.eye(6), centred.T @ (targets - end))
    expected = (centred @ weight + end) * SCALE
    np.testing.assert_allclose(combined("stacking", answers)[:, 0], expected, rtol=1e-4)


def test_stacking_puts_right_what_all_members_get_wrong_and_moves_intervals_with_their_values() -> None:
    answers = imagined()
    mean, stacked = combined("soft", answers), combined("stacking", answers)
    off = (mean[:, 0] - answers.targets).mean(axis=0) / SCALE
    assert (off > 0.1).all()
    np.testing.assert_allclose((stacked[:, 0] - answers.targets).mean(axis=0) / SCALE, 0.0, atol=1e-3)
    ends = stacked[:, 1:] - stacked[:, :1]
    np.testing.assert_allclose(ends, mean[:, 1:] - mean[:, :1], rtol=1e-3)


def test_stacking_out_of_fold_leaves_the_other_answers_alone() -> None:
    """Two learners of two members each: the layer is fitted on two answers a sample, and takes the mean of four."""
    strangers, four = imagined(skill=SKILL[:2], seed=1), imagined(skill=np.array([0.3, 0.4, 0.5, 0.6]), seed=2)
    features = np.concatenate(list(values_of(strangers) / SCALE), axis=1)
    layer = Ridge(alpha=1.0).fit(features, strangers.targets / SCALE)
    values = values_of(four) / SCALE
    means = np.concatenate([values[:2].mean(axis=0), values[2:].mean(axis=0)], axis=1)
    found = combined("stacking", four, out_of_fold=strangers)[:, 0]
    np.testing.assert_allclose(found, layer.predict(means) * SCALE, rtol=1e-4)


# -- judging ---------------------------------------------------------------------------------------------------------


def test_no_combiner_of_probabilities_is_one_of_numbers() -> None:
    assert list(NUMBERS) == ["soft", "weighted", "stacking"]  # from the simplest on
    assert all(each.of == kind for kind, combiners in COMBINERS.items() for each in combiners.values())


def test_what_is_fitted_is_judged_on_samples_that_it_has_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    card, answers, seen = card_of(2), imagined(), []
    fit = NUMBERS["weighted"].fit

    def watched(part: Together, about: Given) -> Any:
        seen.append({tuple(row) for row in part.targets.tolist()})
        return fit(part, about)

    combiner = choosing.Combiner("weighted", "mean_numbers", watched, True)
    found = choosing.judged(combiner, answers, given(answers), tasks.of(card), card)
    pairs = list(choosing.cross_fits(SAMPLES))
    expected = np.empty(SAMPLES)
    for (fitting, judging), fitted_on in zip(pairs, seen, strict=True):
        assert fitted_on == {tuple(row) for row in answers.targets[fitting].tolist()}
        weights = fit_squares(answers.units[:, fitting].reshape(MEMBERS, -1))
        expected[judging] = squares_of(np.tensordot(weights, answers.units[:, judging], axes=1))
    np.testing.assert_allclose(found.losses, expected, rtol=1e-3)
    np.testing.assert_array_equal(found.compared, found.losses)


def test_what_was_learnt_by_heart_is_not_believed() -> None:
    """82 parameters on 60 samples of noise: in-sample stacking looks best, and cross-fitted it is worst."""
    card = card_of(2)
    answers = imagined(samples=60, skill=np.full(20, 3.0))
    in_sample = (combined("stacking", answers)[:, 0] - answers.targets) / SCALE
    found = {
        name: choosing.judged(NUMBERS[name], answers, given(answers), tasks.of(card), card).losses
        for name in ("soft", "stacking")
    }
    assert squares_of(in_sample).mean() < 0.5 * found["soft"].mean()
    assert found["soft"].mean() < found["stacking"].mean()
    name, reason = choosing.choose(found, "numbers")
    assert name == "soft"
    assert "soft has the least squared error, " in reason


def test_pairs_are_described_as_numpy_would() -> None:
    task, card, random = tasks.of(card_of(2)), card_of(2), np.random.default_rng(0)
    targets = (MIDDLE + SCALE * random.normal(size=(SAMPLES, 2))).astype(np.float32)
    off = [random.normal(size=(SAMPLES, 2)), random.normal(size=(SAMPLES, 2)), np.full((SAMPLES, 2), 0.5)]
    off[1] += off[0]
    said = []
    for each in off:
        value = (targets + SCALE * each).astype(np.float64)
        said.append(said_of(task, {"value": value, "low": value, "high": value}, targets, card))
    said[2] = choosing.Said(said[2].predictions, said[2].fuses, np.full((SAMPLES, 2), 0.5), said[2].answered, None)
    found = diversity(said, targets)
    assert found.disagreement[0, 1] == pytest.approx(np.abs(off[0] - off[1]).mean())
    assert found.error_correlation[0, 1] == pytest.approx(np.corrcoef(off[0].ravel(), off[1].ravel())[0, 1])
    assert found.error_correlation[1, 1] == pytest.approx(1.0)
    assert np.isnan(found.error_correlation[0, 2])
    pairs = [np.abs(off[one] - off[other]).mean() for one, other in ((0, 1), (0, 2), (1, 2))]
    assert found.mean_disagreement == pytest.approx(np.mean(pairs))
