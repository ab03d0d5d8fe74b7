"""Several networks as one: what the members say becomes one answer, within the graph.

Every fusion takes the members' logits and gives log-probabilities, which any consumer of logits can take: their softmax
are the probabilities meant. A fusion's figures are part of its state; how they are found is `components.compress`'s
business.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from components.models.registry import Network

LEAST = 1e-12  # what stands for a probability of 0 where its logarithm is taken

# Below it a member's log-probability says no more than "no": 16 nats. The linear layer of stacking would otherwise
# follow the rounding of a float32 softmax.
LEAST_SEEN = math.log(1e-7)


def mean_probability(outputs: Tensor, weights: Tensor) -> Tensor:
    """`(K, N, C, …)` logits, `(K,)` weights that sum to 1 → `(N, C, …)` log-probabilities of the mixture."""
    logs = torch.log_softmax(outputs.float(), dim=2)
    return torch.logsumexp(logs + weights.float().clamp_min(LEAST).log().view(-1, *[1] * (outputs.ndim - 1)), dim=0)


def votes(outputs: Tensor) -> Tensor:
    """`(K, N, C, …)` logits → as many ones and zeros: each member's most probable class, the first of equal ones."""
    classes = torch.arange(outputs.shape[2], device=outputs.device).view(1, 1, -1, *[1] * (outputs.ndim - 3))
    return (outputs.argmax(dim=2, keepdim=True) == classes).float()


class MeanProbability(nn.Module):
    """Soft voting: the members' mean probability, under weights `(K,)` that sum to 1."""

    weights: Tensor

    def __init__(self, members: int, classes: int, learners: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((members,), 1.0 / members))

    def forward(self, outputs: Tensor) -> Tensor:
        return mean_probability(outputs, self.weights)


class VoteShare(nn.Module):
    """Hard voting: a class's probability is its share of the members' votes."""

    def __init__(self, members: int, classes: int, learners: int) -> None:
        super().__init__()

    def forward(self, outputs: Tensor) -> Tensor:
        return votes(outputs).mean(dim=0).clamp_min(LEAST).log()


class BoostedVote(nn.Module):
    """The vote of SAMME's members, each with its say `(K,)`: log-probabilities are the sums, but for a constant.

    What minimises SAMME's exponential loss is f with p ∝ exp(f / (C − 1)) (Zhu et al. 2009, section 2); with the
    paper's f that is p ∝ exp(Σ say · vote). One member of error e gives its answer the probability 1 − e.
    """

    say: Tensor

    def __init__(self, members: int, classes: int, learners: int) -> None:
        super().__init__()
        self.register_buffer("say", torch.ones(members))

    def forward(self, outputs: Tensor) -> Tensor:
        said = votes(outputs) * self.say.float().view(-1, *[1] * (outputs.ndim - 1))
        return torch.log_softmax(said.sum(dim=0), dim=1)


class Stacked(nn.Module):
    """Stacking: a linear layer on the learners' log-probabilities, side by side (Wolpert 1992; Ting & Witten 1999).

    Members that are one learner, trained on other folds, follow each other; a learner says their mean probability.
    """

    weight: Tensor  # (C, L·C)
    bias: Tensor  # (C,)

    def __init__(self, members: int, classes: int, learners: int) -> None:
        super().__init__()
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


FUSIONS: dict[str, type[nn.Module]] = {
    "mean_probability": MeanProbability,
    "vote_share": VoteShare,
    "boosted_vote": BoostedVote,
    "stacked": Stacked,
}


class Mirrored(nn.Module):
    """A network that is asked about an image and about its mirror image: `(N, C, …)` log-probabilities of the mean.

    Masks are mirrored back. The image itself comes last, so that whoever watches the network has seen that.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def embed(self, images: Tensor) -> Tensor:
        """The network's embedding of the image itself, `(N, D)`."""
        return cast(Network, self.network).embed(images)

    def forward(self, images: Tensor) -> Tensor:
        mirrored = self.network(images.flip(3))
        if mirrored.ndim == 4:
            mirrored = mirrored.flip(3)
        both = torch.stack((mirrored, self.network(images)))
        return mean_probability(both, torch.full((2,), 0.5, device=images.device))


def as_trained(member: nn.Module) -> nn.Module:
    """The network alone of a member that may be asked about mirror images as well."""
    return member.network if isinstance(member, Mirrored) else member


class Ensemble(nn.Module):
    """Members in one module, and the fusion of what they say, whose figures are part of the state.

    `learners` matters to stacking alone: how many there are of which the members are K / L trainings each.
    """

    def __init__(self, members: Sequence[nn.Module], fusion: str, classes: int, learners: int | None = None) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.fusion = FUSIONS[fusion](len(members), classes, learners or len(members))

    @property
    def networks(self) -> list[nn.Module]:
        """The members as they were trained."""
        return [as_trained(member) for member in self.members]

    def embed(self, images: Tensor) -> Tensor:
        """The members' embeddings side by side, `(N, ΣD)`."""
        return torch.cat([cast(Network, member).embed(images) for member in self.members], dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.fusion(torch.stack([member(images) for member in self.members]))  # type: ignore[no-any-return]
