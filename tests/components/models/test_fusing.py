"""Weighted box fusion beside the published algorithm, written down box by box; and what the fusions give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from components.models.ensemble import AllBoxes, FusedBoxes, MeanBoxes
from components.models.forms import LEAST_SCORE
from components.models.parts.boxes import pairwise
from components.models.parts.fusing import OVERLAP, fused
from components.models.parts.suppression import found

CLASSES, PLACES = 3, 144


def said(members: int, samples: int, seed: int) -> Tensor:
    """`(K, N, L, 8 + C)`: boxes about the places of a grid of 12×12, of which a few are sure of a class."""
    random = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(12) + 0.5, torch.arange(12) + 0.5, indexing="ij")
    centres = torch.stack([x.flatten(), y.flatten()], dim=1) * 8
    priors = torch.cat([centres, torch.full_like(centres, 8.0)], dim=1).expand(members, samples, -1, -1)
    sides = 6 + 14 * torch.rand(members, samples, PLACES, 4, generator=random)
    boxes = torch.cat([priors[..., :2] - sides[..., :2], priors[..., :2] + sides[..., 2:]], dim=3)
    logits = 2.5 * torch.randn(members, samples, PLACES, CLASSES, generator=random) - 3
    return torch.cat([priors, boxes, logits], dim=3)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    shared = np.prod(np.maximum(0.0, np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])))
    return float(shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared))


def published(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, members: int) -> list[tuple[float, ...]]:
    """Solovyev, Wang and Gabruseva 2021, section 3, steps 1 to 7, for one picture: (score, label, sides) by score."""
    clusters: list[list[int]] = []
    means: list[np.ndarray] = []
    for box in sorted(np.flatnonzero(labels >= 0), key=lambda each: -scores[each]):
        matching = [
            (iou(mean, boxes[box]), number)
            for number, mean in enumerate(means)
            if labels[clusters[number][0]] == labels[box]
        ]
        overlap, number = max(matching, key=lambda each: each[0], default=(0.0, -1))
        if overlap > OVERLAP:
            clusters[number].append(box)
            own = clusters[number]
            means[number] = (boxes[own] * scores[own, None]).sum(axis=0) / scores[own].sum()
        else:
            clusters.append([box])
            means.append(boxes[box])
    fused_ = [
        (scores[own].mean() * min(len(own), members) / members, float(labels[own[0]]), *mean)
        for own, mean in zip(clusters, means, strict=True)
    ]
    return sorted(fused_, key=lambda each: -each[0])


def test_fused_boxes_are_the_published_algorithms() -> None:
    answers = [found(each[..., 4:8], each[..., 8:], LEAST_SCORE) for each in said(3, 12, seed=0)]
    boxes, scores, labels, valid = (torch.cat(parts, dim=1) for parts in zip(*answers, strict=True))
    assert 20 < valid.sum(dim=1).float().mean() < 300
    ours = [each.numpy() for each in fused(boxes, scores, labels, 3, most=300)]
    joined = 0
    for picture in range(len(boxes)):
        own = (each[picture].double().numpy() for each in (boxes, scores))
        expected = published(*own, labels[picture].numpy(), 3)
        count = int((ours[2][picture] >= 0).sum())
        assert count == len(expected)
        joined += int(valid[picture].sum()) - count
        rows = np.column_stack([ours[1][picture], ours[2][picture], ours[0][picture]])[:count]
        # Where two score alike but for rounding, their order is nobody's business.
        np.testing.assert_allclose(sorted(map(tuple, rows)), sorted(expected), rtol=1e-4, atol=1e-4)
    assert joined > 100  # or nothing was fused


@pytest.mark.parametrize("samples", [0, 1, 3])
def test_nothing_is_fused_of_nothing(samples: int) -> None:
    nothing = torch.zeros(samples, 6, 4), torch.zeros(samples, 6), torch.full((samples, 6), -1)
    boxes, scores, labels = fused(*nothing, 2, most=10)
    assert (boxes.shape, scores.shape, labels.shape) == ((samples, 10, 4), (samples, 10), (samples, 10))
    assert not boxes.any() and not scores.any() and (labels == -1).all()


def test_a_mean_is_nearer_to_the_member_that_is_sure() -> None:
    outputs = said(2, 1, seed=1)
    outputs[..., 8:] = -6.0
    outputs[0, 0, 7, 8], outputs[1, 0, 7, 8] = 3.0, -3.0
    (mean,) = MeanBoxes(2, CLASSES, 2)(outputs)
    scores = torch.sigmoid(outputs[:, 0, 7, 8])
    torch.testing.assert_close(torch.sigmoid(mean[7, 8]), scores.mean())
    expected = (outputs[:, 0, 7, 4:8] * (scores / scores.sum()).unsqueeze(1)).sum(dim=0)
    torch.testing.assert_close(mean[7, 4:8], expected)
    torch.testing.assert_close(mean[:, :4], outputs[0, 0, :, :4])


def test_weights_of_nothing_and_all_leave_the_one_member() -> None:
    fusion, outputs = MeanBoxes(2, CLASSES, 2), said(2, 3, seed=2)
    fusion.weights.copy_(torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(fusion(outputs), outputs[1], rtol=1e-4, atol=1e-4)


def test_of_all_boxes_those_are_found_that_all_members_together_say() -> None:
    outputs = said(3, 8, seed=3)
    kept = AllBoxes(3, CLASSES, 3)(outputs)
    assert kept.shape == outputs[0].shape
    every = torch.cat(list(outputs), dim=1)
    for own, other in zip(
        found(kept[..., 4:8], kept[..., 8:], LEAST_SCORE),
        found(every[..., 4:8], every[..., 8:], LEAST_SCORE),
        strict=True,
    ):
        torch.testing.assert_close(own, other)


def test_members_of_other_places_are_fused_by_their_boxes() -> None:
    """One detector says 144 boxes, the other the same ones at fewer places: nothing is found that neither says."""
    one = said(1, 4, seed=4)[0]
    few = one[:, ::2]
    for fusion in (AllBoxes(2, CLASSES, 2), FusedBoxes(2, CLASSES, 2)):
        told = fusion([one, few])
        boxes, _, _, valid = found(told[..., 4:8], told[..., 8:], LEAST_SCORE)
        assert valid.any(dim=1).all()
        nearest = pairwise(boxes, one[..., 4:8]).amax(dim=2)
        assert nearest[valid].min() > 0.5
