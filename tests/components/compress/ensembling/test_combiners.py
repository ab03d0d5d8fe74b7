"""Every combiner against scikit-learn's, on the answers of imagined members."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.ensemble import AdaBoostClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from components.compress.ensembling.answers import Together
from components.compress.ensembling.combiners import COMBINERS, Given, combiner
from components.export.errors import CompressionError
from components.training.loop.boosting import samme

MEMBERS, SAMPLES, CLASSES = 3, 400, 4


class Imagined(ClassifierMixin, BaseEstimator):
    """A classifier that answers for sample number x what it was made with."""

    def __init__(self, probabilities: Any) -> None:
        self.probabilities = probabilities

    def fit(self, rows: Any, targets: Any) -> Imagined:
        self.classes_ = np.unique(targets)
        return self

    def predict_proba(self, rows: Any) -> Any:
        return self.probabilities[rows[:, 0]]

    def decision_function(self, rows: Any) -> Any:
        return np.log(self.probabilities[rows[:, 0]])

    def predict(self, rows: Any) -> Any:
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]


def imagined(classes: int = CLASSES, seed: int = 0) -> Together:
    """Members of different skill, none of whom is sure of what cannot be."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, classes, SAMPLES)
    logits = random.normal(size=(MEMBERS, SAMPLES, classes))
    logits[:, np.arange(SAMPLES), targets] += np.array([[2.0], [1.5], [0.5]])
    logs = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    likelihoods = np.exp(logs[:, np.arange(SAMPLES), targets])
    return Together(likelihoods[..., None], logs.astype(np.float32), targets)


def fitted(answers: Together) -> list[tuple[str, Imagined]]:
    rows = np.arange(SAMPLES)[:, None]
    probabilities = np.exp(answers.fusible.astype(np.float64))
    return [
        (str(n), Imagined(each / each.sum(1, keepdims=True)).fit(rows, answers.targets))
        for n, each in enumerate(probabilities)
    ]


def combined(name: str, answers: Together, **given: Any) -> Any:
    """What the combiner makes of the answers, as probabilities `(N, C)`."""
    members, _, classes = answers.outputs.shape
    fusion = COMBINERS["probabilities"][name].fit(answers, Given(members, classes, **given))
    return torch.softmax(fusion(answers.outputs), dim=1).double().numpy()


ROWS = np.arange(SAMPLES)[:, None]


def test_soft_voting_is_that_of_scikit_learn() -> None:
    answers = imagined()
    theirs = VotingClassifier(fitted(answers), voting="soft").fit(ROWS, answers.targets)
    np.testing.assert_allclose(combined("soft", answers), theirs.predict_proba(ROWS), atol=1e-6)


def test_hard_voting_is_that_of_scikit_learn_ties_included() -> None:
    answers = imagined()
    theirs = VotingClassifier(fitted(answers), voting="hard").fit(ROWS, answers.targets)
    ours = combined("hard", answers)
    ballots = np.stack([each.predict(ROWS) for _, each in fitted(answers)])
    shares = np.stack([(ballots == number).mean(axis=0) for number in range(CLASSES)], axis=1)
    assert any(len(set(column)) == MEMBERS for column in ballots.T)  # there are ties
    np.testing.assert_allclose(ours, shares, atol=1e-6)
    np.testing.assert_array_equal(ours.argmax(axis=1), theirs.predict(ROWS))


def test_weighted_voting_is_that_of_scikit_learn_under_the_same_weights_and_beats_equal_ones() -> None:
    answers = imagined()
    fusion = COMBINERS["probabilities"]["weighted"].fit(answers, Given(MEMBERS, CLASSES))
    weights = fusion.get_buffer("weights").double().numpy()
    theirs = VotingClassifier(fitted(answers), voting="soft", weights=weights).fit(ROWS, answers.targets)
    ours = combined("weighted", answers)
    np.testing.assert_allclose(ours, theirs.predict_proba(ROWS), atol=1e-6)
    assert weights[0] > weights[1] > weights[2]
    at_truth = np.arange(SAMPLES), answers.targets
    assert -np.log(ours[at_truth]).mean() < -np.log(combined("soft", answers)[at_truth]).mean()


@pytest.mark.parametrize("classes", [2, CLASSES])
def test_stacking_is_that_of_scikit_learn(classes: int) -> None:
    answers = imagined(classes)
    layer = LogisticRegression(C=1.0, max_iter=5000, tol=1e-8)
    # Of two classes scikit-learn's decision function is one figure, not two log-probabilities.
    if classes == 2:
        features = np.concatenate(list(answers.fusible.astype(np.float64)), axis=1)
        expected = layer.fit(features, answers.targets).predict_proba(features)
    else:
        theirs = StackingClassifier(fitted(answers), layer, cv="prefit", stack_method="decision_function")
        expected = theirs.fit(ROWS, answers.targets).predict_proba(ROWS)
    np.testing.assert_allclose(combined("stacking", answers), expected, atol=1e-3)


def test_stacking_out_of_fold_leaves_the_other_answers_alone() -> None:
    """Two learners of two members each: the layer is fitted on two answers a sample, and takes the mean of four."""
    strangers = imagined(seed=1)
    strangers = Together(strangers.units[:2], strangers.fusible[:2], strangers.targets)
    others = imagined(seed=2)
    four = Together(
        np.concatenate([others.units, others.units[:1]]),
        np.concatenate([others.fusible, others.fusible[:1]]),
        others.targets,
    )
    layer = LogisticRegression(C=1.0, max_iter=5000, tol=1e-8)
    layer.fit(np.concatenate(list(strangers.fusible.astype(np.float64)), axis=1), strangers.targets)
    means = [np.log(np.exp(four.fusible[pair].astype(np.float64)).mean(axis=0)) for pair in ([0, 1], [2, 3])]
    expected = layer.predict_proba(np.concatenate(means, axis=1))
    np.testing.assert_allclose(combined("stacking", four, out_of_fold=strangers), expected, atol=1e-3)


def test_a_class_that_stacking_would_never_answer_is_named() -> None:
    answers = imagined()
    with pytest.raises(CompressionError, match="samples of every class to fit it on, found none of class 2"):
        COMBINERS["probabilities"]["stacking"].fit(
            answers.take(np.flatnonzero(answers.targets != 2)), Given(MEMBERS, CLASSES)
        )


def test_boosting_is_that_of_scikit_learn() -> None:
    """Weights, errors, the members' say and the vote, of trees on digits."""
    images, targets = load_digits(return_X_y=True)
    theirs = AdaBoostClassifier(DecisionTreeClassifier(max_depth=4), n_estimators=6, random_state=0).fit(
        images, targets
    )
    answered = np.stack([tree.predict(images) for tree in theirs.estimators_])
    ours = samme(answered != targets, classes=10)
    np.testing.assert_allclose(ours.errors, theirs.estimator_errors_, rtol=1e-9)
    np.testing.assert_allclose(ours.say, theirs.estimator_weights_, rtol=1e-9)
    np.testing.assert_allclose(ours.weights.mean(axis=1), 1.0)
    logs = np.log(np.where(answered[..., None] == np.arange(10), 0.9, 0.1 / 9)).astype(np.float32)
    answers = Together(np.ones((6, len(targets), 1)), logs, targets)
    vote = combined("boosted", answers, say=ours.say)
    np.testing.assert_array_equal(vote.argmax(axis=1), theirs.predict(images))


def test_a_single_boosted_member_is_as_sure_as_it_was_right() -> None:
    wrong = np.zeros((1, 1000), dtype=bool)
    wrong[0, :150] = True
    say = samme(wrong, classes=10).say
    logs = np.log(np.array([[[0.91] + [0.01] * 9]], dtype=np.float32))
    assert combined("boosted", Together(np.ones((1, 1, 1)), logs, np.zeros(1, int)), say=say)[0, 0] == pytest.approx(
        0.85
    )


def test_members_that_know_everything_or_nothing_leave_the_weights_as_they_are() -> None:
    wrong = np.zeros((3, 50), dtype=bool)
    wrong[1] = np.arange(50) % 10 < 9  # as good as a guess
    wrong[2, 7] = True
    found = samme(wrong, classes=10)
    assert np.isfinite(found.say).all()
    assert found.say[0] > found.say[2] > 0
    assert found.say[1] == 0
    np.testing.assert_array_equal(found.weights[:3], np.ones((3, 50)))
    assert found.weights[3, 7] == found.weights[3].max() > 40  # nine tenths of all: 1 − 1/C


def test_a_combiner_has_a_name_of_its_own() -> None:
    with pytest.raises(ValueError, match="combiner soft: expected a name of its own"):
        combiner("soft", "mean_probability", fitted=False)(COMBINERS["probabilities"]["soft"].fit)
