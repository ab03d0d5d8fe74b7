"""The ways to combine members, by name, from the simplest to the one with most to fit. Each is a fusion in the graph.

A combiner is a function from the members' answers on samples that they have not been trained on to the fusion that it
would combine them by. Which one is best, and whether it really is, is `choosing`'s business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from components.compress.ensembling.answers import Floats, Together
from components.compress.ensembling.stacking import fit_stacking
from components.compress.ensembling.weights import fit_weights
from components.export.errors import CompressionError
from components.models.ensemble import BoostedVote, MeanProbability, VoteShare

SOUP = "soup"  # the one that is no fusion: see `soup`


@dataclass(frozen=True)
class Given:
    """What is known of the members besides their answers."""

    members: int
    classes: int
    out_of_fold: Together | None = None  # learners' answers on the training split, where they are strangers to it
    say: Floats | None = None  # (K,) by SAMME, where they were boosted


Fit = Callable[[Together, Given], nn.Module]


@dataclass(frozen=True)
class Combiner:
    """`fit` raises CompressionError where these members cannot be combined so."""

    name: str
    fusion: str  # a name in `components.models.ensemble.FUSIONS`
    fit: Fit
    fitted: bool  # on the answers that it is given, so that it must be judged on others

    def judged_elsewhere(self, given: Given) -> bool:
        """Whether what it is fitted on is not what it is judged on anyway."""
        return not self.fitted or (self.name == "stacking" and given.out_of_fold is not None)


COMBINERS: dict[str, Combiner] = {}


def combiner(name: str, fusion: str, *, fitted: bool) -> Callable[[Fit], Fit]:
    """Register a combiner; a name that is taken raises ValueError."""

    def register(fit: Fit) -> Fit:
        if name in COMBINERS or name == SOUP:
            raise ValueError(f"combiner {name}: expected a name of its own, found it taken")
        COMBINERS[name] = Combiner(name, fusion, fit, fitted)
        return fit

    return register


@combiner("soft", "mean_probability", fitted=False)
def soft(answers: Together, given: Given) -> nn.Module:
    """The mean of the members' probabilities."""
    return MeanProbability(given.members, given.classes, given.members)


@combiner("hard", "vote_share", fitted=False)
def hard(answers: Together, given: Given) -> nn.Module:
    """Each class's share of the votes."""
    return VoteShare(given.members, given.classes, given.members)


@combiner("weighted", "mean_probability", fitted=True)
def weighted(answers: Together, given: Given) -> nn.Module:
    """The mean under the weights of greatest likelihood."""
    fusion = MeanProbability(given.members, given.classes, given.members)
    fit = fit_weights(answers.likelihoods.reshape(given.members, -1))
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
    fusion = BoostedVote(given.members, given.classes, given.members)
    fusion.say.copy_(torch.from_numpy(given.say))
    return fusion


@combiner("stacking", "stacked", fitted=True)
def stacking(answers: Together, given: Given) -> nn.Module:
    """A linear layer, fitted out of fold where that can be, or on the answers."""
    if given.out_of_fold is None:
        return fit_stacking(answers, given.classes, given.members)
    return fit_stacking(given.out_of_fold, given.classes, len(given.out_of_fold.likelihoods))
