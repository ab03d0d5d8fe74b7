"""Which place of a detector learns which object, and what that costs.

Places are assigned by how well they do already (task-aligned assignment, Feng et al. 2021): of the places inside an
object those whose class score and box are both good learn it, so that what scores best is what lies best.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from components.models.parts.boxes import generalized_overlaps, pairwise
from components.tasks.boxes import Truths, truths_of

PLACES = 9  # of an object, at most, that learn it
SCORE, OVERLAP = 0.5, 6.0  # exponents: an alignment is score^0.5 · overlap^6
FOCUS = 2.0  # exponent of a score by which it counts where there is nothing to learn
SUM = 12.0  # of qualities, in parts of which an image's losses are told: about what three objects come to
BOX_WEIGHT = 4.0  # of the boxes' loss beside the classes'


@dataclass(frozen=True)
class Said:
    """A network's raw outputs `(N, L, 8 + C)`, in float32."""

    priors: Tensor  # (N, L, 4) centre, width, height
    boxes: Tensor  # (N, L, 4) left, top, right, bottom
    logits: Tensor  # (N, L, C)


@dataclass(frozen=True)
class Assigned:
    """What each place is to learn."""

    boxes: Tensor  # (N, L, 4) of a place that learns an object, the object's
    quality: Tensor  # (N, L, C) the score that each class is to have: above 0 for the object's own alone
    counted: Tensor  # (N, L) bool: not the places inside of what is neither learnt nor judged, that learn nothing else


def said(outputs: Tensor) -> Said:
    """The parts of raw outputs."""
    return Said(*torch.split(outputs.float(), [4, 4, outputs.shape[2] - 8], dim=2))


@torch.no_grad()
def assign(told: Said, truths: Truths) -> Assigned:
    """What the places learn of the truths.

    A place learns one object at most: of those that choose it, the one that it overlaps most, as far as that is sure.
    Its quality is its alignment in parts of the object's best, times the object's best overlap: the best place is to
    score as well as it lies. An object without a place inside is learnt by the nearest one.
    """
    inside = _inside(told.priors, truths.boxes)  # (N, M, L)
    candidates = (inside | _nearest(told.priors, truths.boxes, inside)) & truths.learnt.unsqueeze(2)
    overlap = pairwise(truths.boxes, told.boxes)
    labels = truths.labels.unsqueeze(2).expand(-1, -1, inside.shape[2])
    score = torch.sigmoid(told.logits).transpose(1, 2).gather(1, labels)
    alignment = score**SCORE * overlap**OVERLAP * candidates
    chosen = candidates & _among_best(alignment)
    rival, owner = torch.where(chosen, overlap * truths.sure.unsqueeze(2), -1.0).max(dim=1, keepdim=True)  # (N, 1, L)
    chosen &= torch.arange(inside.shape[1], device=owner.device).view(1, -1, 1) == owner
    best, most = (torch.where(chosen, each, 0.0).amax(dim=2, keepdim=True) for each in (alignment, overlap))
    worth = torch.where(chosen, alignment / best.clamp_min(torch.finfo(best.dtype).tiny) * most, 0.0)
    worth = worth * truths.sure.unsqueeze(2)
    place = worth.gather(1, owner).transpose(1, 2)  # (N, L, 1)
    classes = torch.arange(told.logits.shape[2], device=owner.device)
    own = labels.gather(1, owner).transpose(1, 2) == classes
    ignored = (inside & truths.ignored.unsqueeze(2)).any(dim=1)
    return Assigned(
        boxes=truths.boxes.gather(1, owner.transpose(1, 2).expand(-1, -1, 4)),
        quality=place * own,
        counted=~ignored | (rival.squeeze(1) >= 0.0),
    )


def losses(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Raw outputs and targets → the classes' and the boxes' loss of each image, `(N,)` float32 each.

    Cross-entropy of the scores with the qualities, 1 - generalized overlap for the boxes of places that learn an object
    as far as their quality goes. Both are divided by the same number for every image (`SUM`): an object costs the same
    whatever else its image shows, and an image whatever shares a batch, a piece of it or a worker with it, so a batch's
    loss is the mean of its images'. In parts of an image's own qualities, an object among six would count for a sixth
    of one that is alone: mean average precision .58 in place of .55 (the scenes of `scenes-detect`, 12 epochs, one
    seed), and .62 with boxes that weigh twice as much as then.

    Focal (Lin et al. 2017) only where nothing is learnt: such places are many, and drown the others otherwise. Where an
    object is learnt all classes count in full, since what a focal loss takes away there is what tells them apart.
    Average precision at .5 with quality focal loss (Li et al. 2020), plain cross-entropy and this, one seed each: after
    300 steps on scenes of two shapes .69, .99 and .99, after 400 on crowded ones of four .31, .18 and .54.
    """
    told = said(outputs)
    return _costs(told, assign(told, truths_of(targets, told.logits.shape[2])))


def copied(outputs: Tensor, boxes: Tensor, scores: Tensor, labels: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The same losses for what another detector finds, `(N, K, 4)` and `(N, K)`, in place of truths.

    A box is learnt as far as the other is sure of it: the best place is to score as it lies, times the other's score.
    """
    told = said(outputs)
    truths = Truths(boxes, labels.clamp_min(0), valid, torch.zeros_like(valid), scores)
    return _costs(told, assign(told, truths))


def _costs(told: Said, found: Assigned) -> tuple[Tensor, Tensor]:
    entropy = F.binary_cross_entropy_with_logits(told.logits, found.quality, reduction="none")
    weight = found.quality.sum(dim=2)
    focus = torch.where(weight.unsqueeze(2) > 0.0, 1.0, torch.sigmoid(told.logits.detach()) ** FOCUS)
    off = (1.0 - generalized_overlaps(told.boxes, found.boxes)) * weight
    return ((entropy * focus).sum(dim=2) * found.counted).sum(dim=1) / SUM, off.sum(dim=1) / SUM


def _inside(priors: Tensor, boxes: Tensor) -> Tensor:
    """`(N, M, L)` bool: whether a place's centre is in a box."""
    centres = priors[:, None, :, :2]
    return ((centres > boxes[:, :, None, :2]) & (centres < boxes[:, :, None, 2:])).all(dim=3)


def _nearest(priors: Tensor, boxes: Tensor, inside: Tensor) -> Tensor:
    """`(N, M, L)` bool: of a box with no place inside, the place that is nearest to its middle."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    far = (priors[:, None, :, :2] - middle.unsqueeze(2)).square().sum(dim=3)
    place = torch.arange(far.shape[2], device=far.device)
    return (place == far.argmin(dim=2, keepdim=True)) & ~inside.any(dim=2, keepdim=True)


def _among_best(alignment: Tensor) -> Tensor:
    """`(N, M, L)` bool: whether a place is one of an object's `PLACES` best."""
    least = alignment.topk(min(PLACES, alignment.shape[2]), dim=2).values[..., -1:]
    return alignment >= least
