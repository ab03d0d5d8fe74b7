"""What is ignored is neither learnt nor judged: against PyTorch and scikit-learn, on what is left without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics
from torch import Tensor

from components.artifacts import Predictions
from components.compress.ensembling.answers import losses_of, said_of, together
from components.compress.ensembling.choosing import judged
from components.compress.ensembling.combiners import COMBINERS, Given
from components.compress.ensembling.diversity import diversity
from components.compress.ensembling.weights import fit_weights
from components.metrics import calibration
from components.tasks.asking import Asked, gathered, rows_of
from components.tasks.protocol import Batch
from components.tasks.segmentation import Segmentation
from tests.components.tasks.test_contract import sample

IGNORE, CLASSES = 255, 3
TASK, PLAIN = Segmentation(IGNORE), Segmentation()


def scenes(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits `(8, 3, 6, 7)` and masks of three classes, of which a third of the pixels is ignored, unequally."""
    random = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(8, CLASSES, 6, 7, generator=random)
    masks = torch.randint(0, CLASSES, (8, 6, 7), generator=random)
    share = torch.linspace(0.0, 0.9, 8)[:, None, None]
    masks[torch.rand(8, 6, 7, generator=random) < share] = IGNORE
    return logits, masks


def left(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """`(1, 3, 1, M)` and `(1, 1, M)`: the pixels that are not ignored, in a row."""
    kept = masks != IGNORE
    return logits.permute(1, 0, 2, 3)[:, kept][None, :, None], masks[kept][None, None]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_pixels_that_are_left(smoothing: float) -> None:
    logits, masks = scenes()
    logits.requires_grad_()
    found = TASK.loss(logits, Batch(logits, masks), smoothing)
    theirs = F.cross_entropy(logits, masks, ignore_index=IGNORE, label_smoothing=smoothing)
    assert float(found["cross_entropy"]) == pytest.approx(float(theirs.detach()), rel=1e-6)
    row, truth = left(logits, masks)
    alone = PLAIN.loss(row, Batch(row, truth), smoothing)
    for name, value in alone.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-5), name
    found["loss"].backward()
    gradient = logits.grad
    assert gradient is not None
    still = (gradient == 0).all(dim=1)
    assert torch.equal(still, masks == IGNORE)


def test_a_batch_of_nothing_else_teaches_nothing() -> None:
    logits = torch.randn(2, CLASSES, 4, 4, requires_grad=True)
    found = TASK.loss(logits, Batch(logits, torch.full((2, 4, 4), IGNORE)))
    found["loss"].backward()
    assert {name: float(value) for name, value in found.items()} == dict.fromkeys(found, 0.0)
    assert logits.grad is not None and not logits.grad.any()


def predictions(task: Segmentation, logits: Tensor, masks: Tensor) -> Predictions:
    card = sample("segmentation").card
    answer = {name: value.numpy() for name, value in task.answer(logits).items()}
    return gathered(task, rows_of(task, [Asked(np.arange(len(masks)), answer, masks.numpy())]), card, None)


@pytest.mark.parametrize("weights", [np.ones(8), np.array([0.0, 3, 1, 0, 2, 5, 0, 1])], ids=["once", "resampled"])
def test_every_figure_is_that_of_the_pixels_that_are_left(weights: np.ndarray) -> None:
    logits, masks = scenes()
    found = TASK.measure(predictions(TASK, logits, masks), weights[None])
    probabilities = torch.softmax(logits, dim=1).numpy()
    kept = masks.numpy() != IGNORE
    truth, said = masks.numpy()[kept], probabilities.argmax(axis=1)[kept]
    each = np.repeat(weights, kept.reshape(8, -1).sum(axis=1))
    about = {"y_true": truth, "y_pred": said, "sample_weight": each}
    overlap = metrics.jaccard_score(**about, average=None, labels=range(CLASSES))
    assert found["mean_iou"][0] == pytest.approx(overlap.mean())
    assert found["worst_class_iou"][0] == pytest.approx(overlap.min())
    assert found["pixel_accuracy"][0] == pytest.approx(metrics.accuracy_score(**about))
    assert found["mean_dice"][0] == pytest.approx(metrics.f1_score(**about, average="macro"))
    bins = calibration.bin_sums(probabilities.max(axis=1)[kept][:, None], (truth == said)[:, None])
    assert found["calibration_error"][0] == pytest.approx(
        calibration.expected_calibration_error(bins, each[None])[0], rel=1e-6
    )


def test_the_confusion_is_scikit_learns_and_reliability_counts_as_many_pixels() -> None:
    logits, masks = scenes()
    table = predictions(TASK, logits, masks)
    kept = masks.numpy() != IGNORE
    said = logits.argmax(dim=1).numpy()
    expected = metrics.confusion_matrix(masks.numpy()[kept], said[kept])
    np.testing.assert_array_equal(TASK.confusion(table), expected)
    units = TASK.reliability(table)[: calibration.BINS]
    assert units.sum() == kept.sum()
    with pytest.raises(ValueError, match="expected classes 0 to 2, received 0 to 255"):
        predictions(PLAIN, logits, masks)  # where nothing is ignored, 255 is a mistake


def test_ensembles_are_fitted_and_compared_on_the_pixels_that_are_left() -> None:
    card = sample("segmentation").card
    _, masks = scenes()
    kept = masks.numpy() != IGNORE
    noise = [scenes(seed)[0] for seed in (1, 2, 3)]
    right = F.one_hot(masks.where(torch.from_numpy(kept), 0), CLASSES).permute(0, 3, 1, 2)
    logits = [each + strength * right for each, strength in zip(noise, (3.0, 2.0, 0.0), strict=True)]
    answers = [{name: value.numpy() for name, value in TASK.answer(each).items()} for each in logits]
    said = [said_of(TASK, answer, masks.numpy(), card) for answer in answers]
    likelihoods = np.stack(
        [np.take_along_axis(answer["probabilities"], np.where(kept, masks, 0)[:, None], 1)[:, 0] for answer in answers]
    )[:, kept].astype(np.float64)
    # each member's loss is the mean over the pixels that are left
    for one, expected in zip(said, likelihoods, strict=True):
        assert one.losses().mean() == pytest.approx(-np.log(expected).mean())
    # weights are those of greatest likelihood on them
    answered, given = together(said, masks.numpy()), Given(members=3, outputs=CLASSES)
    np.testing.assert_array_equal(answered.scored, likelihoods)
    fusion = COMBINERS["probabilities"]["weighted"].fit(answered, given)
    fitted = fit_weights(likelihoods).weights
    np.testing.assert_allclose(fusion.weights.numpy(), fitted, atol=1e-6)
    assert fitted[0] > fitted[2]
    # and a combiner that is not fitted is judged by their mean
    soft = judged(COMBINERS["probabilities"]["soft"], answered, given, TASK, card)
    assert soft.losses.mean() == pytest.approx(losses_of(likelihoods.mean(axis=0)[:, None]).mean())
    # as are the members' mistakes in common
    wrong = np.stack([answer["prediction"][kept] != masks.numpy()[kept] for answer in answers])
    pairs = diversity(said, masks.numpy())
    np.testing.assert_allclose(pairs.error_correlation, np.corrcoef(wrong), atol=1e-9)
    differ = (answers[0]["prediction"][kept] != answers[1]["prediction"][kept]).mean()
    assert pairs.disagreement[0, 1] == pytest.approx(differ)
