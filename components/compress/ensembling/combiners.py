"""The ways to combine members, by name, from the simplest to the one with most to fit. Each is a fusion in the graph.

A name means the same of probabilities, of labels, of numbers and of boxes, as far as they have it; which of them a
combiner is for follows from its fusion.

A combiner is a function from the members' answers on samples that they have not been trained on to the fusion that it
would combine them by. Which one is best, and whether it really is, is `choosing`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from components.compress.ensembling.answers import Floats, Together
from components.compress.ensembling.least_squares import fit_ridge, fit_squares
from components.compress.ensembling.stacking import fit_stacking
from components.compress.ensembling.weights import fit_weights
from components.export.errors import CompressionError
from components.models.ensemble import (
    FUSIONS,
    AllBoxes,
    BoostedVote,
    FusedBoxes,
    Fuses,
    MeanBoxes,
    MeanLabels,
    MeanNumbers,
    MeanProbability,
    VoteShare,
)

SOUP = "soup"  # the one that is no fusion: see `soup`


@dataclass(frozen=True)
class Given:
    """What is known of the members besides their answers."""

    members: int
    outputs: int  # of each: classes (of boxes too), or values and their intervals' ends
    out_of_fold: Together | None = None  # learners' answers on the training split, where they are strangers to it
    say: Floats | None = None  # (K,) by SAMME, where they were boosted
    deviations: Floats | None = None  # of the outputs, where they are numbers in units
    alike: bool = True  # whether what the members say is of the same places, where it is boxes


Fit = Callable[[Together, Given], nn.Module]


@dataclass(frozen=True)
class Combiner:
    """`fit` raises CompressionError where these members cannot be combined so."""

    name: str
    fusion: str  # a name in `components.models.ensemble.FUSIONS`
    fit: Fit
    fitted: bool  # on the answers that it is given, so that it must be judged on others

    @property
    def of(self) -> Fuses:
        """What it combines."""
        return FUSIONS[self.fusion].fuses

    @property
    def exported(self) -> bool:
        """Whether what it makes can be exported: a student is needed where it cannot."""
        return FUSIONS[self.fusion].exported

    def judged_elsewhere(self, given: Given) -> bool:
        """Whether what it is fitted on is not what it is judged on anyway."""
        return not self.fitted or (self.name == "stacking" and given.out_of_fold is not None)


COMBINERS: dict[Fuses, dict[str, Combiner]] = {"probabilities": {}, "labels": {}, "numbers": {}, "boxes": {}}


def combiner(name: str, fusion: str, *, fitted: bool) -> Callable[[Fit], Fit]:
    """Register a combiner of what its fusion takes; a name that is taken there raises ValueError."""

    def register(fit: Fit) -> Fit:
        made = Combiner(name, fusion, fit, fitted)
        if name in COMBINERS[made.of] or name == SOUP:
            raise ValueError(f"combiner {name}: expected a name of its own, found it taken")
        COMBINERS[made.of][name] = made
        return fit

    return register


@combiner("soft", "mean_probability", fitted=False)
def soft(answers: Together, given: Given) -> nn.Module:
    """The mean of the members' probabilities."""
    return MeanProbability(given.members, given.outputs, given.members)


@combiner("hard", "vote_share", fitted=False)
def hard(answers: Together, given: Given) -> nn.Module:
    """Each class's share of the votes."""
    return VoteShare(given.members, given.outputs, given.members)


@combiner("weighted", "mean_probability", fitted=True)
def weighted(answers: Together, given: Given) -> nn.Module:
    """The mean under the weights of greatest likelihood."""
    fusion = MeanProbability(given.members, given.outputs, given.members)
    fit = fit_weights(answers.scored)
    fusion.weights.copy_(torch.from_numpy(fit.weights))
    return fusion


@combiner("boosted", "boosted_vote", fitted=False)
def boosted(answers: Together, given: Given) -> nn.Module:
    """SAMME's vote, by what the members' mistakes on the training split make of them."""
    if given.say is None:
        raise CompressionError(
            "ensemble.combiner: expected another one than boosted for members that were not boosted; "
            "set members.boosting: samme, or combine them otherwise"
        )
    fusion = BoostedVote(given.members, given.outputs, given.members)
    fusion.say.copy_(torch.from_numpy(given.say))
    return fusion


@combiner("stacking", "stacked", fitted=True)
def stacking(answers: Together, given: Given) -> nn.Module:
    """A linear layer, fitted out of fold where that can be, or on the answers."""
    if given.out_of_fold is None:
        return fit_stacking(answers, given.outputs, given.members)
    return fit_stacking(given.out_of_fold, given.outputs, len(given.out_of_fold.units))


@combiner("soft", "mean_labels", fitted=False)
def mean_of_labels(answers: Together, given: Given) -> nn.Module:
    """The mean of the members' probabilities of each label."""
    return MeanLabels(given.members, given.outputs, given.members)


@combiner("weighted", "mean_labels", fitted=True)
def weighted_labels(answers: Together, given: Given) -> nn.Module:
    """The mean under the weights of greatest likelihood, the same ones for all labels."""
    fusion = MeanLabels(given.members, given.outputs, given.members)
    fusion.weights.copy_(torch.from_numpy(fit_weights(answers.scored).weights))
    return fusion


@combiner("soft", "mean_numbers", fitted=False)
def mean_of_numbers(answers: Together, given: Given) -> nn.Module:
    """The mean of the members' values and of their intervals."""
    return MeanNumbers(given.members, given.outputs, given.members)


@combiner("weighted", "mean_numbers", fitted=True)
def weighted_numbers(answers: Together, given: Given) -> nn.Module:
    """The mean under the weights of least squared error."""
    fusion = MeanNumbers(given.members, given.outputs, given.members)
    fusion.weights.copy_(torch.from_numpy(fit_squares(answers.units.reshape(given.members, -1))))
    return fusion


@combiner("stacking", "stacked_numbers", fitted=True)
def stacked_numbers(answers: Together, given: Given) -> nn.Module:
    """A linear layer from all values to each, fitted out of fold where that can be, or on the answers."""
    deviations = np.ones(given.outputs) if given.deviations is None else given.deviations
    values = deviations[: given.outputs // 3]
    if given.out_of_fold is None:
        return fit_ridge(answers, given.outputs, given.members, values)
    return fit_ridge(given.out_of_fold, given.outputs, len(given.out_of_fold.units), values)


@combiner("soft", "mean_boxes", fitted=False)
def mean_of_boxes(answers: Together, given: Given) -> nn.Module:
    """The mean of the members' scores and boxes, place by place."""
    _require_alike(given)
    return MeanBoxes(given.members, given.outputs, given.members)


@combiner("nms", "all_boxes", fitted=False)
def all_boxes(answers: Together, given: Given) -> nn.Module:
    """All boxes, of which each is said once, by the member that is surest."""
    return AllBoxes(given.members, given.outputs, given.members)


@combiner("wbf", "fused_boxes", fitted=False)
def fused_boxes(answers: Together, given: Given) -> nn.Module:
    """Boxes of one object become their mean."""
    return FusedBoxes(given.members, given.outputs, given.members)


@combiner("weighted", "mean_boxes", fitted=True)
def weighted_boxes(answers: Together, given: Given) -> nn.Module:
    """The mean under weights of greatest likelihood, as if what two members say of an object were of one place."""
    _require_alike(given)
    fusion = MeanBoxes(given.members, given.outputs, given.members)
    fusion.weights.copy_(torch.from_numpy(fit_weights(answers.scored).weights))
    return fusion


def _require_alike(given: Given) -> None:
    if not given.alike:
        raise CompressionError(
            "ensemble.combiner: expected nms or wbf for members that say boxes at other places each; give all members "
            "the same stride, levels and anchors, or combine them by their boxes"
        )
