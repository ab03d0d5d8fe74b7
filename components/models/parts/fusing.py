"""Weighted box fusion: what several detectors say of one object becomes one box, and none of them is thrown away.

Suppression keeps the surest box of those that overlap; here all of them have their part in the one that remains.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.models.parts.boxes import overlaps

OVERLAP = 0.55  # above it, boxes of a class are of one object (Solovyev et al. 2021, their own choice)
NONE = -1  # the label where there is no box


def fused(
    boxes: Tensor, scores: Tensor, labels: Tensor, members: int, most: int, overlap: float = OVERLAP
) -> tuple[Tensor, Tensor, Tensor]:
    """`(N, D, 4)`, `(N, D)`, `(N, D)` of all members → boxes `(N, K, 4)`, scores, labels `(N, K)`; K is `most`.

    Solovyev, Wang and Gabruseva 2021, "Weighted boxes fusion". One after the other by falling score, a box joins the
    fused box of its class that it overlaps most, if by more than `overlap`, or begins one of its own. A fused box is
    the mean of its boxes, weighted by their scores; its score is their mean score, in parts as there are fewer boxes
    than members. Scores descend; where there is no box, the label is -1 and all
    else 0. Loops over boxes, as many as one image has of them.
    """
    samples, count = scores.shape
    scores, order = torch.where(labels >= 0, scores.float(), 0.0).sort(dim=1, descending=True, stable=True)
    labels = labels.gather(1, order)
    boxes = boxes.float().gather(1, order.unsqueeze(2).expand(-1, -1, 4))
    there = (labels >= 0) & (scores > 0)
    slots = max(count, most)
    sums = scores.new_zeros(samples, slots, 5)  # of each fused box: scores times sides, scores
    sizes, kinds = scores.new_zeros(samples, slots), labels.new_full((samples, slots), NONE)
    means = scores.new_zeros(samples, slots, 4)
    begun = labels.new_zeros(samples)
    rows = torch.arange(samples, device=scores.device)
    for turn in range(int(there.sum(dim=1).max()) if samples and count else 0):
        own, label, here = boxes[:, turn], labels[:, turn], there[:, turn]
        alike = torch.where(kinds == label.unsqueeze(1), overlaps(own.unsqueeze(1), means), 0.0)
        largest, nearest = alike.max(dim=1)
        joins = largest > overlap
        row, place = rows[here], torch.where(joins, nearest, begun)[here]
        score = scores[here, turn].unsqueeze(1)
        sums[row, place] += torch.cat([own[here] * score, score], dim=1)
        sizes[row, place] += 1
        kinds[row, place] = label[here]
        means[row, place] = sums[row, place, :4] / sums[row, place, 4:]
        begun += (here & ~joins).to(begun.dtype)
    mean = sums[..., 4] / sizes.clamp_min(1.0) * sizes.clamp_max(members) / members
    best, order = mean.topk(most, dim=1)
    kept = best > 0
    return (
        torch.where(kept.unsqueeze(2), means.gather(1, order.unsqueeze(2).expand(-1, -1, 4)), 0.0),
        best,
        torch.where(kept, kinds.gather(1, order), NONE),
    )
