"""The losses' arithmetic, written out with numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.compress.ensembling.combiners import COMBINERS, SOUP
from components.models.ensemble import FUSIONS, mean_probability
from components.tasks.classification import Classification
from components.tasks.protocol import Batch
from components.tasks.segmentation import Segmentation
from components.tasks.softmax import Softmax, cross_entropy, soft_target_divergence


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture
def masks() -> tuple[np.ndarray, np.ndarray]:
    """Outputs (2, 3, 4, 5) and targets (2, 4, 5) in which class 2 does not occur."""
    random = np.random.default_rng(0)
    return random.normal(size=(2, 3, 4, 5)), random.integers(0, 2, (2, 4, 5))


def loss(outputs: np.ndarray, targets: np.ndarray, smoothing: float = 0.0) -> dict[str, float]:
    batch = Batch(torch.zeros(len(targets), 1, *targets.shape[1:]), torch.from_numpy(targets))
    return {key: part.item() for key, part in Segmentation().loss(torch.from_numpy(outputs), batch, smoothing).items()}


def test_a_segmenters_loss_is_cross_entropy_and_dice_of_the_classes_that_are_there(
    masks: tuple[np.ndarray, np.ndarray],
) -> None:
    outputs, targets = masks
    probabilities = softmax(outputs)
    dice = []
    for label in (0, 1):
        said, true = probabilities[:, label], targets == label
        dice.append((2 * (said * true).sum() + 1) / (said.sum() + true.sum() + 1))
    entropy = -np.log(np.take_along_axis(probabilities, targets[:, None], 1)).mean()
    parts = loss(outputs, targets)
    assert parts["dice_loss"] == pytest.approx(1 - np.mean(dice), rel=1e-5)
    assert parts["cross_entropy"] == pytest.approx(entropy, rel=1e-5)
    assert parts["loss"] == pytest.approx(entropy + 1 - np.mean(dice), rel=1e-5)


def test_a_small_object_that_is_missed_costs_more_than_its_share_of_pixels() -> None:
    """Why there is Dice: by cross-entropy alone, one object of 4 pixels in 400 is all but free to miss."""
    targets = np.zeros((1, 20, 20), np.int64)
    targets[0, :2, :2] = 1
    background = np.zeros((1, 2, 20, 20))
    background[:, 0] = 5.0
    found = np.where(targets[:, None] == np.array([0, 1])[:, None, None], 5.0, 0.0)
    missed, right = loss(background, targets), loss(found, targets)
    assert missed["cross_entropy"] - right["cross_entropy"] < 0.06
    assert missed["dice_loss"] - right["dice_loss"] > 0.15


def test_smoothing_moves_a_share_of_the_label_to_all_classes(masks: tuple[np.ndarray, np.ndarray]) -> None:
    outputs, targets = masks
    logs = np.log(softmax(outputs))
    expected = -(0.8 * np.take_along_axis(logs, targets[:, None], 1).mean() + 0.2 * logs.mean())
    smoothed = cross_entropy(torch.from_numpy(outputs), torch.from_numpy(targets), 0.2).item()
    assert smoothed == pytest.approx(expected, rel=1e-5)


def test_distillation_is_the_mean_divergence_of_the_student_from_the_teacher(
    masks: tuple[np.ndarray, np.ndarray],
) -> None:
    student, teacher = masks[0], masks[0][:, ::-1].copy()
    said, taught = softmax(student / 4), softmax(teacher / 4)
    expected = 16 * (taught * np.log(taught / said)).sum(axis=1).mean()  # from the teacher's side: KL(teacher‖student)
    found = soft_target_divergence(torch.from_numpy(student), torch.from_numpy(teacher), 4.0).item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_losses_are_computed_in_float32_whatever_the_outputs_are() -> None:
    outputs = torch.tensor([[30.0, 0.0]], dtype=torch.bfloat16)
    assert cross_entropy(outputs, torch.tensor([1]), 0.0).dtype == torch.float32
    assert soft_target_divergence(outputs, outputs, 3.0).dtype == torch.float32


@pytest.mark.parametrize("task", [Classification(), Segmentation()])
def test_smoothing_changes_the_loss(task: Softmax) -> None:
    random = torch.Generator().manual_seed(0)
    place = () if isinstance(task, Classification) else (4, 5)
    outputs = torch.randn((6, 3, *place), generator=random)
    batch = Batch(torch.zeros(6, 1, 4, 5), torch.randint(0, 3, (6, *place), generator=random))
    assert task.loss(outputs, batch, 0.2)["loss"].item() != task.loss(outputs, batch)["loss"].item()


def test_a_student_that_differs_by_what_all_classes_share_has_nothing_to_learn() -> None:
    teacher = torch.randn((6, 3), generator=torch.Generator().manual_seed(0))
    assert float(soft_target_divergence(teacher + 5.0, teacher, 3.0)) == pytest.approx(0.0, abs=1e-5)


def test_the_gradient_stays_as_the_temperature_rises() -> None:
    random = torch.Generator().manual_seed(0)
    student, teacher = torch.randn((2, 6, 3, 4, 5), generator=random)
    norms = []
    for temperature in (2.0, 8.0, 32.0):
        leaf = student.clone().requires_grad_()
        soft_target_divergence(leaf, teacher, temperature).backward()
        # d/dz of T²·KL, averaged over units, is T·(softmax(z/T) − softmax(v/T)) (Hinton et al. 2015, section 2.1).
        gap = torch.softmax(student / temperature, 1) - torch.softmax(teacher / temperature, 1)
        by_hand = temperature * gap / (6 * 4 * 5)
        torch.testing.assert_close(leaf.grad, by_hand, rtol=1e-3, atol=1e-6)
        norms.append(float(leaf.grad.norm()))
    assert max(norms) < 2 * min(norms)  # without the factor, the last would be a 256th of the first


# -- several networks ------------------------------------------------------------------------------------------------

BOTH = pytest.mark.parametrize(("task", "place"), [(Classification(), ()), (Segmentation(), (4, 5))])


@BOTH
def test_members_fuse_to_the_mean_of_their_probabilities(task: Softmax, place: tuple[int, ...]) -> None:
    members = np.random.default_rng(0).normal(size=(3, 6, 3, *place))
    weights = [0.5, 0.3, 0.2]
    fused = task.answer(mean_probability(torch.from_numpy(members), torch.tensor(weights)))["probabilities"].numpy()
    np.testing.assert_allclose(fused, np.tensordot(weights, [softmax(each) for each in members], axes=1), atol=1e-6)
    np.testing.assert_allclose(fused.sum(axis=1), 1.0, atol=1e-6)


@BOTH
def test_every_fusion_of_members_gives_probabilities(task: Softmax, place: tuple[int, ...]) -> None:
    members = torch.randn((3, 6, 3, *place), generator=torch.Generator().manual_seed(0))
    for name in task.combiners - {SOUP}:
        fusion = FUSIONS[COMBINERS["probabilities"][name].fusion](3, 3, 3)
        sums = task.answer(fusion(members))["probabilities"].sum(dim=1)
        torch.testing.assert_close(sums, torch.ones_like(sums))


@BOTH
def test_likelihoods_are_of_the_truth(task: Softmax, place: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, (6, *place))
    answer = {
        key: value.numpy() for key, value in task.answer(torch.from_numpy(random.normal(size=(6, 3, *place)))).items()
    }
    by_hand = [answer["probabilities"][(unit[0], targets[unit], *unit[1:])] for unit in np.ndindex(*targets.shape)]
    likelihoods = task.likelihoods(answer, targets)
    np.testing.assert_allclose(likelihoods, by_hand, rtol=1e-6)
    assert likelihoods.dtype == np.float64
    told = task.told(answer, targets)
    np.testing.assert_array_equal(told.units, likelihoods.reshape(6, -1))
    np.testing.assert_array_equal(told.answered, answer["prediction"].reshape(6, -1))
    assert (told.fusible is None) == bool(place)  # of masks there is no room for all probabilities


@BOTH
def test_a_truth_that_is_certain_has_the_likelihood_one(task: Softmax, place: tuple[int, ...]) -> None:
    targets = np.random.default_rng(0).integers(0, 3, (6, *place))
    certain = np.moveaxis(np.eye(3, dtype=np.float32)[targets], -1, 1)
    assert (task.likelihoods({"probabilities": certain, "prediction": targets}, targets) == 1.0).all()
