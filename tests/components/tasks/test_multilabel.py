"""What only multi-label classification claims: scikit-learn's figures, losses as they are published, doubts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, log_loss

from components.artifacts import Predictions
from components.compress.ensembling.answers import Together
from components.compress.ensembling.choosing import labels_at_best_temperature
from components.compress.ensembling.combiners import COMBINERS, Given
from components.config import ImbalanceConfig
from components.metrics import calibration
from components.models.ensemble import mean_labels
from components.tasks.multilabel import TASK
from components.tasks.multilabel_views import class_calibration, crossed
from components.tasks.protocol import Batch

NAMES = ("a", "b", "c", "d")


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def predictions(true: np.ndarray, probabilities: np.ndarray) -> Predictions:
    answer = {"probabilities": probabilities.astype(np.float32), "prediction": probabilities >= 0.5}
    rows = TASK.rows(answer, true.astype(np.float32))
    return Predictions(pa.table(rows), "m", "d", NAMES)


def some(random: np.random.Generator, samples: int = 60) -> tuple[np.ndarray, np.ndarray]:
    true = random.random((samples, 4)) < [0.6, 0.4, 0.2, 0.1]
    scores = np.clip(0.6 * true + random.normal(0.25, 0.25, true.shape), 0.001, 0.999)
    return true, scores.astype(np.float32).astype(np.float64)


def test_figures_are_those_of_scikit_learn_under_any_weights(random: np.random.Generator) -> None:
    true, scores = some(random)
    weights = random.integers(0, 3, (5, len(true))).astype(np.float64)
    found = TASK.measure(predictions(true, scores), weights)
    said = scores >= 0.5
    for number, each in enumerate(weights):
        how: dict[str, Any] = {"sample_weight": each}
        assert found["macro_f1"][number] == pytest.approx(f1_score(true, said, average="macro", **how))
        assert found["map"][number] == pytest.approx(average_precision_score(true, scores, average="macro", **how))
        every = [log_loss(true[:, place], scores[:, place], labels=[False, True], **how) for place in range(4)]
        assert found["log_loss"][number] == pytest.approx(np.mean(every))


def test_calibration_is_how_far_decisions_are_from_how_often_they_are_right(random: np.random.Generator) -> None:
    """Of labels drawn by the probabilities themselves none is left but chance; of surer ones there is."""
    scores = random.random((4000, 4))
    true = random.random(scores.shape) < scores
    once = np.ones((1, len(true)))
    assert TASK.measure(predictions(true, scores), once)["calibration_error"][0] < 0.02
    surer = expit(3.0 * np.log(scores / (1.0 - scores)))
    measured = TASK.measure(predictions(true, surer), once)["calibration_error"][0]
    bins = np.clip(np.ceil(np.maximum(surer, 1 - surer) * calibration.BINS) - 1, 0, None)
    right, sure = (surer >= 0.5) == true, np.maximum(surer, 1 - surer)
    gaps = [abs(sure[bins == each].sum() - right[bins == each].sum()) for each in np.unique(bins)]
    assert measured == pytest.approx(np.sum(gaps) / true.size, rel=1e-4) and measured > 0.05
    assert class_calibration(true[:, 0], scores[:, 0]) < 0.05 < class_calibration(true[:, 0], surer[:, 0])


def test_the_loss_is_the_mean_binary_cross_entropy_with_weights_focus_and_smoothing(
    random: np.random.Generator,
) -> None:
    logits = torch.from_numpy(random.normal(0, 2, (9, 4)).astype(np.float32))
    truth = torch.from_numpy((random.random((9, 4)) < 0.4).astype(np.float32))
    batch, likely = Batch(torch.zeros(9, 1), truth), expit(logits.numpy().astype(np.float64))
    likely = np.where(truth.numpy() > 0, likely, 1 - likely)
    assert TASK.loss(logits, batch)["loss"].item() == pytest.approx(-np.log(likely).mean(), rel=1e-5)
    smooth = TASK.loss(logits, batch, 0.2)["loss"].item()
    assert smooth == pytest.approx((-0.9 * np.log(likely) - 0.1 * np.log(1 - likely)).mean(), rel=1e-5)
    counts = np.array([10, 20, 40, 10])
    focal = TASK.balanced(ImbalanceConfig(loss="focal", focal_gamma=2.0), counts)(logits, batch)["loss"].item()
    assert focal == pytest.approx((-((1 - likely) ** 2) * np.log(likely)).mean(), rel=1e-4)
    weights = (1 / counts) / (1 / counts).mean()
    weighted = TASK.balanced(ImbalanceConfig(loss="weighted"), counts)(logits, batch)["loss"].item()
    assert weighted == pytest.approx((-np.log(likely) * weights).mean(), rel=1e-5)
    assert TASK.counted(truth.numpy(), 4).tolist() == truth.numpy().sum(axis=0).astype(int).tolist()
    with pytest.raises(ValueError, match="loss: expected focal or weighted, received balanced-softmax"):
        TASK.balanced(ImbalanceConfig(loss="balanced-softmax"), counts)


def test_members_are_fused_by_their_probabilities_and_weighted_by_what_they_know(random: np.random.Generator) -> None:
    true, scores = some(random, 400)
    logits = np.log(scores / (1 - scores)).astype(np.float32)
    noise = random.normal(0, 3, logits.shape).astype(np.float32)
    members = torch.from_numpy(np.stack([logits, noise]))
    fused = mean_labels(members, torch.tensor([0.7, 0.3])).sigmoid().numpy()
    np.testing.assert_allclose(fused, 0.7 * expit(logits) + 0.3 * expit(noise), atol=1e-5)
    told = [
        TASK.told({"probabilities": expit(each), "prediction": each >= 0}, true.astype(np.float32))
        for each in (logits, noise)
    ]
    together = Together(np.stack([each.units for each in told]), None, true)
    fusion = COMBINERS["labels"]["weighted"].fit(together, Given(members=2, outputs=4))
    assert fusion.weights[0] > 0.9  # type: ignore[index]


def test_the_best_temperature_is_that_of_a_logistic_regression_without_a_bias(random: np.random.Generator) -> None:
    true, scores = some(random, 500)
    logits = 4.0 * np.log(scores / (1 - scores))
    losses = labels_at_best_temperature(logits, true)
    plain = LogisticRegression(C=np.inf, fit_intercept=False).fit(logits.reshape(-1, 1), true.ravel())
    expected = log_loss(true.ravel(), plain.predict_proba(logits.reshape(-1, 1))[:, 1])
    assert losses.shape == (500,) and losses.mean() == pytest.approx(expected, rel=1e-4)


def test_a_missed_label_is_crossed_with_each_false_one_of_its_sample() -> None:
    true = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=bool)
    said = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
    expected = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    np.testing.assert_array_equal(crossed(true, said), expected)


def test_labels_that_the_answers_contradict_are_doubted_label_by_label() -> None:
    true = np.array([[1, 0, 0, 0]] * 5 + [[0, 1, 0, 0]] * 5, dtype=bool)
    scores = np.where(true, 0.95, 0.05)
    wrong = true.copy()
    wrong[0, 1], wrong[7, 1] = True, False  # one label too many, and one that is missing
    found = TASK.doubts(predictions(wrong, scores))
    assert {(doubt.row, doubt.finding) for doubt in found} == {(0, "label-noise"), (7, "missing-label")}
    assert {doubt.says for doubt in found} == {
        "labelled b, which is 5.0% probable",
        "not labelled b, which is 95.0% probable",
    }
