"""From a box and scores at each place to the boxes that are found: the best ones, without those said twice.

Greedy non-maximum suppression as arithmetic on tensors whose shapes never depend on the data: so the exported graph
holds nothing but operators that every engine has, takes any number of pictures, and finds nothing without falling over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.models.parts.boxes import pairwise

MOST = 100  # boxes a picture that are looked at and answered, as COCO's average precision counts them
OVERLAP = 0.6  # above it, a box says again what a better one of its class has said
BLOCK = 10  # boxes that are settled among themselves, before those behind them are told


def found(boxes: Tensor, logits: Tensor, least: float, most: int = MOST) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`(N, L, 4)`, `(N, L, C)` → boxes `(N, K, 4)`, scores, labels and valid (bool) `(N, K)`; K is at most L.

    Scores, the logits' sigmoids, descend. Not valid is what a better box has said or what scores below `least`: it
    stands last, with box 0, score 0 and label -1.

    Pairs of a place and a class are ranked, not places by their best class: where two classes are close, the second may
    be the true one, and average precision gains by having it said with less confidence.
    """
    count = min(most, logits.shape[1])
    classes = logits.shape[2]
    # By logits rather than by scores: in float32 a sigmoid is 1 from 17 on, and all would be equally good.
    best, pairs = logits.float().flatten(1).topk(count, dim=1)
    places, labels = pairs // classes, pairs % classes
    chosen = boxes.float().gather(1, places.unsqueeze(2).expand(-1, -1, 4))
    scores = torch.sigmoid(best)
    valid = unsuppressed(chosen, labels) & (scores >= least)
    # All valid ones first, each part in its order. The keys are distinct, so that every engine sorts alike.
    rank = torch.arange(count, device=valid.device)
    _, order = (valid.float() * count - rank).topk(count, dim=1)
    valid = valid.gather(1, order)
    return (
        torch.where(valid.unsqueeze(2), chosen.gather(1, order.unsqueeze(2).expand(-1, -1, 4)), 0.0),
        torch.where(valid, scores.gather(1, order), 0.0),
        torch.where(valid, labels.gather(1, order), -1),
        valid,
    )


def unsuppressed(boxes: Tensor, labels: Tensor, overlap: float = OVERLAP) -> Tensor:
    """`(N, K, 4)`, `(N, K)`, the best first → `(N, K)` bool: overlapped by no better one of its class that is kept."""
    alike = labels.unsqueeze(2) == labels.unsqueeze(1)
    better = torch.ones(boxes.shape[1], boxes.shape[1], dtype=torch.bool, device=boxes.device).triu(diagonal=1)
    return _kept((pairwise(boxes, boxes) > overlap) & alike & better) > 0.5


def _kept(over: Tensor) -> Tensor:
    """`(N, K, K)` bool, above the diagonal where the row's box is better and overlaps the column's → `(N, K)` 0 or 1.

    Block by block. `keep = open and not (any better one that is kept overlaps it)`, repeated, settles at least one more
    box each time: the first of a block depends on none, the second on the first alone, and so on. So after as many
    sweeps as a block has boxes, less one, it is what greedy suppression keeps, however long the chain in which one
    frees the next. Sums of whole numbers, and not matrix products, which quantization would round.
    """
    weights = over.float()
    open_ = torch.ones_like(weights[:, 0])
    kept = []
    for start in range(0, weights.shape[1], BLOCK):
        size = min(BLOCK, weights.shape[1] - start)
        rows = weights[:, start : start + size]
        own = rows[:, :, start : start + size]
        begun = keep = open_[:, :size]
        for _ in range(size - 1):
            keep = torch.relu(begun - (keep.unsqueeze(2) * own).sum(dim=1))
        kept.append(keep)
        open_ = torch.relu(open_[:, size:] - (keep.unsqueeze(2) * rows[:, :, start + size :]).sum(dim=1))
    return torch.cat(kept, dim=1)
