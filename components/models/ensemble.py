"""Several networks as one: what the members say becomes one answer, within the graph.

Of probabilities, a fusion takes the members' logits and gives log-probabilities, which any consumer of logits can take:
their softmax are the probabilities meant. Of labels, it takes and gives a logit of each. Of numbers, it takes and gives
V values, then V ends of their intervals, then V other ends. Of boxes, it takes and gives priors, boxes and logits of L
places, as detectors do. A fusion's figures are part of its state; how they are found is `components.compress`'s
business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from components.models.forms import LEAST_SCORE
from components.models.parts.fusing import fused
from components.models.parts.suppression import found
from components.models.registry import Network

Fuses = Literal["probabilities", "labels", "numbers", "boxes"]  # what members say

LEAST = 1e-12  # what stands for a probability of 0 where its logarithm is taken

# Below it a member's log-probability says no more than "no": 16 nats. The linear layer of stacking would otherwise
# follow the rounding of a float32 softmax.
LEAST_SEEN = math.log(1e-7)


def mean_probability(outputs: Tensor, weights: Tensor) -> Tensor:
    """`(K, N, C, …)` logits, `(K,)` weights that sum to 1 → `(N, C, …)` log-probabilities of the mixture."""
    logs = torch.log_softmax(outputs.float(), dim=2)
    return torch.logsumexp(logs + weights.float().clamp_min(LEAST).log().view(-1, *[1] * (outputs.ndim - 1)), dim=0)


def mean_labels(outputs: Tensor, weights: Tensor) -> Tensor:
    """`(K, N, C)` logits of labels, `(K,)` weights that sum to 1 → `(N, C)` logits of their mean probabilities."""
    logs = weights.float().clamp_min(LEAST).log().view(-1, 1, 1)
    yes, no = (torch.nn.functional.logsigmoid(each) + logs for each in (outputs.float(), -outputs.float()))
    return torch.logsumexp(yes, dim=0) - torch.logsumexp(no, dim=0)


def votes(outputs: Tensor) -> Tensor:
    """`(K, N, C, …)` logits → as many ones and zeros: each member's most probable class, the first of equal ones."""
    classes = torch.arange(outputs.shape[2], device=outputs.device).view(1, 1, -1, *[1] * (outputs.ndim - 3))
    return (outputs.argmax(dim=2, keepdim=True) == classes).float()


def mean_numbers(outputs: Tensor, weights: Tensor) -> Tensor:
    """`(K, N, 3·V)` numbers, `(K,)` weights that sum to 1 → their mean `(N, 3·V)`, lower ends before upper ones."""
    return (in_order(outputs) * weights.float().view(-1, 1, 1, 1)).sum(dim=0).flatten(start_dim=1)


def in_order(outputs: Tensor) -> Tensor:
    """`(K, N, 3·V)` numbers → `(K, N, 3, V)` float32: values, lower ends, upper ends.

    A member may give the ends the wrong way round: a mean of lower with upper ends would be an interval of nobody's.
    """
    members, _, numbers = outputs.shape
    value, one, other = outputs.float().reshape(members, -1, 3, numbers // 3).unbind(dim=2)
    return torch.stack((value, torch.minimum(one, other), torch.maximum(one, other)), dim=2)


def mean_boxes(outputs: Tensor, weights: Tensor) -> Tensor:
    """`(K, N, L, 8 + C)` of the same places, `(K,)` weights that sum to 1 → `(N, L, 8 + C)`: the mean at each place.

    The score of a class is the mean of the members' scores. A box counts as much as its member is sure that there is
    anything at all: what a member says where it sees nothing is no box.
    """
    priors, boxes, logits = torch.split(outputs.float(), [4, 4, outputs.shape[3] - 8], dim=3)
    logs = weights.float().clamp_min(LEAST).log().view(-1, 1, 1, 1)
    yes, no = (torch.nn.functional.logsigmoid(each) + logs for each in (logits, -logits))
    share = torch.softmax(yes.amax(dim=3, keepdim=True), dim=0)
    mean = torch.logsumexp(yes, dim=0) - torch.logsumexp(no, dim=0)
    return torch.cat([priors[0], (boxes * share).sum(dim=0), mean], dim=2)


MEANS: dict[Fuses, Callable[[Tensor, Tensor], Tensor]] = {
    "probabilities": mean_probability,
    "labels": mean_labels,
    "numbers": mean_numbers,
    "boxes": mean_boxes,
}


class Fusion(nn.Module):
    """Of K members that give C outputs each: `(K, N, C, …)` → `(N, C, …)`; of boxes `(K, N, L, 8 + C)`."""

    fuses: ClassVar[Fuses] = "probabilities"
    exported: ClassVar[bool] = True  # whether it can be written as a graph of fixed shapes
    unlike: ClassVar[bool] = False  # whether members may say boxes at other places each: K of them rather than a stack

    def __init__(self, members: int, outputs: int, learners: int) -> None:
        super().__init__()


class MeanProbability(Fusion):
    """Soft voting: the members' mean probability, under weights `(K,)` that sum to 1."""

    weights: Tensor

    def __init__(self, members: int, classes: int, learners: int) -> None:
        super().__init__(members, classes, learners)
        self.register_buffer("weights", torch.full((members,), 1.0 / members))

    def forward(self, outputs: Tensor) -> Tensor:
        return mean_probability(outputs, self.weights)


class VoteShare(Fusion):
    """Hard voting: a class's probability is its share of the members' votes."""

    def forward(self, outputs: Tensor) -> Tensor:
        return votes(outputs).mean(dim=0).clamp_min(LEAST).log()


class BoostedVote(Fusion):
    """The vote of SAMME's members, each with its say `(K,)`: log-probabilities are the sums, but for a constant.

    What minimises SAMME's exponential loss is f with p ∝ exp(f / (C − 1)) (Zhu et al. 2009, section 2); with the
    paper's f that is p ∝ exp(Σ say · vote). One member of error e gives its answer the probability 1 − e.
    """

    say: Tensor

    def __init__(self, members: int, classes: int, learners: int) -> None:
        super().__init__(members, classes, learners)
        self.register_buffer("say", torch.ones(members))

    def forward(self, outputs: Tensor) -> Tensor:
        said = votes(outputs) * self.say.float().view(-1, *[1] * (outputs.ndim - 1))
        return torch.log_softmax(said.sum(dim=0), dim=1)


class Stacked(Fusion):
    """Stacking: a linear layer on the learners' log-probabilities, side by side (Wolpert 1992; Ting & Witten 1999).

    Members that are one learner, trained on other folds, follow each other; a learner says their mean probability.
    """

    weight: Tensor  # (C, L·C)
    bias: Tensor  # (C,)

    def __init__(self, members: int, classes: int, learners: int) -> None:
        super().__init__(members, classes, learners)
        self.learners = learners
        self.register_buffer("weight", torch.eye(classes).repeat(1, learners) / learners)
        self.register_buffer("bias", torch.zeros(classes))

    def forward(self, outputs: Tensor) -> Tensor:
        logs = learned(outputs, self.learners)
        features = logs.transpose(0, 1).flatten(start_dim=1)
        return torch.log_softmax(torch.nn.functional.linear(features, self.weight, self.bias), dim=1)


def learned(outputs: Tensor, learners: int) -> Tensor:
    """`(K, N, C)` logits → `(L, N, C)` log-probabilities of L learners, each the mean of K / L members; never below
    `LEAST_SEEN`."""
    logs = torch.log_softmax(outputs.float(), dim=2)
    each = logs.view(learners, logs.shape[0] // learners, *logs.shape[1:])
    return (torch.logsumexp(each, dim=1) - math.log(each.shape[1])).clamp_min(LEAST_SEEN)


class MeanLabels(Fusion):
    """Soft voting, label by label, under weights `(K,)` that sum to 1."""

    fuses: ClassVar[Fuses] = "labels"
    weights: Tensor

    def __init__(self, members: int, classes: int, learners: int) -> None:
        super().__init__(members, classes, learners)
        self.register_buffer("weights", torch.full((members,), 1.0 / members))

    def forward(self, outputs: Tensor) -> Tensor:
        return mean_labels(outputs, self.weights)


class MeanNumbers(Fusion):
    """The members' mean value, and the mean of their intervals, under weights `(K,)` that sum to 1."""

    fuses: ClassVar[Fuses] = "numbers"
    weights: Tensor

    def __init__(self, members: int, outputs: int, learners: int) -> None:
        super().__init__(members, outputs, learners)
        self.register_buffer("weights", torch.full((members,), 1.0 / members))

    def forward(self, outputs: Tensor) -> Tensor:
        return mean_numbers(outputs, self.weights)


class StackedNumbers(Fusion):
    """Stacking: a linear layer from all values of all learners, side by side, to each value (Breiman 1996).

    It knows nothing about intervals: each is the members' mean one, moved by as much as the value is from their mean.
    Members that are one learner, trained on other folds, follow each other; a learner says their mean value.
    """

    fuses: ClassVar[Fuses] = "numbers"
    weight: Tensor  # (V, L·V)
    bias: Tensor  # (V,) in the values' units

    def __init__(self, members: int, outputs: int, learners: int) -> None:
        super().__init__(members, outputs, learners)
        self.learners = learners
        self.register_buffer("weight", torch.eye(outputs // 3).repeat(1, learners) / learners)
        self.register_buffer("bias", torch.zeros(outputs // 3))

    def forward(self, outputs: Tensor) -> Tensor:
        features = learned_values(outputs, self.learners).transpose(0, 1).flatten(start_dim=1)
        mean = in_order(outputs).mean(dim=0)
        value = torch.nn.functional.linear(features, self.weight, self.bias)
        return (mean + (value - mean[:, 0]).unsqueeze(1)).flatten(start_dim=1)


def learned_values(outputs: Tensor, learners: int) -> Tensor:
    """`(K, N, 3·V)` numbers → `(L, N, V)` values of L learners, each the mean of K / L members."""
    values = in_order(outputs)[:, :, 0]
    return values.view(learners, values.shape[0] // learners, *values.shape[1:]).mean(dim=1)


class MeanBoxes(Fusion):
    """Soft voting of detectors, place by place, under weights `(K,)` that sum to 1."""

    fuses: ClassVar[Fuses] = "boxes"
    weights: Tensor

    def __init__(self, members: int, outputs: int, learners: int) -> None:
        super().__init__(members, outputs, learners)
        self.register_buffer("weights", torch.full((members,), 1.0 / members))

    def forward(self, outputs: Tensor) -> Tensor:
        return mean_boxes(outputs, self.weights)


class AllBoxes(Fusion):
    """All that the members say, of which the suppression in the answer leaves each box once, as the surest says it.

    Of the places of all of them those are kept that say most, as many as one member has.
    """

    fuses: ClassVar[Fuses] = "boxes"
    unlike: ClassVar[bool] = True

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        every = torch.cat([each.float() for each in outputs], dim=1)
        _, places = every[..., 8:].amax(dim=2).topk(outputs[0].shape[1], dim=1)
        return every.gather(1, places.unsqueeze(2).expand(-1, -1, every.shape[2]))


class FusedBoxes(Fusion):
    """Weighted box fusion (Solovyev et al. 2021) of what each member answers, in place of suppression.

    It goes from box to box, so that no graph of a sensible size says it: it is a teacher, and not what is served.
    """

    fuses: ClassVar[Fuses] = "boxes"
    exported: ClassVar[bool] = False
    unlike: ClassVar[bool] = True

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        answers = [found(each[..., 4:8], each[..., 8:], LEAST_SCORE) for each in outputs]
        boxes, scores, labels, _ = (torch.cat(parts, dim=1) for parts in zip(*answers, strict=True))
        boxes, scores, labels = fused(boxes, scores, labels, len(answers), most=answers[0][0].shape[1])
        left, top, right, bottom = boxes.unbind(dim=2)
        priors = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=2)
        own = labels.unsqueeze(2) == torch.arange(outputs[0].shape[2] - 8, device=labels.device)
        logits = torch.where(own, torch.logit(scores, eps=LEAST).unsqueeze(2), math.log(LEAST))
        return torch.cat([priors, boxes, logits], dim=2)


FUSIONS: dict[str, type[Fusion]] = {
    "mean_probability": MeanProbability,
    "vote_share": VoteShare,
    "boosted_vote": BoostedVote,
    "stacked": Stacked,
    "mean_labels": MeanLabels,
    "mean_numbers": MeanNumbers,
    "stacked_numbers": StackedNumbers,
    "mean_boxes": MeanBoxes,
    "all_boxes": AllBoxes,
    "fused_boxes": FusedBoxes,
}


class Mirrored(nn.Module):
    """A network that is asked about an image and about its mirror image: `(N, C, …)`, the mean of what it says.

    Masks are mirrored back. The image itself comes last, so that whoever watches the network has seen that.
    """

    def __init__(self, network: nn.Module, fuses: Fuses = "probabilities") -> None:
        super().__init__()
        self.network, self.mean = network, MEANS[fuses]

    def embed(self, images: Tensor) -> Tensor:
        """The network's embedding of the image itself, `(N, D)`."""
        return cast(Network, self.network).embed(images)

    def forward(self, images: Tensor) -> Tensor:
        mirrored = self.network(images.flip(3))
        if mirrored.ndim == 4:
            mirrored = mirrored.flip(3)
        both = torch.stack((mirrored, self.network(images)))
        return self.mean(both, torch.full((2,), 0.5, device=images.device))


def as_trained(member: nn.Module) -> nn.Module:
    """The network alone of a member that may be asked about mirror images as well."""
    return member.network if isinstance(member, Mirrored) else member


class Ensemble(nn.Module):
    """Members in one module, and the fusion of what they say, whose figures are part of the state.

    `learners` matters to stacking alone: how many there are of which the members are K / L trainings each.
    """

    def __init__(self, members: Sequence[nn.Module], fusion: str, outputs: int, learners: int | None = None) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.fusion = FUSIONS[fusion](len(members), outputs, learners or len(members))

    @property
    def networks(self) -> list[nn.Module]:
        """The members as they were trained."""
        return [as_trained(member) for member in self.members]

    def embed(self, images: Tensor) -> Tensor:
        """The members' embeddings side by side, `(N, ΣD)`."""
        return torch.cat([cast(Network, member).embed(images) for member in self.members], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        said = [member(images) for member in self.members]
        return cast(Tensor, self.fusion(said if self.fusion.unlike else torch.stack(said)))
