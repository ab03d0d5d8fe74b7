"""Model soup (Wortsman et al. 2022): one network with the mean of several members' weights, at the price of one.

Only for members that started from the same weights: those that did not have nothing in common that a mean of weights
could keep.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from components.artifacts import DatasetCard, Model
from components.compress.ensembling.answers import Rows, Said, ask
from components.data.reading.loading import Arrays
from components.models.preprocessing import preprocess
from components.runtimes.execution import Inputs
from components.tasks.asking import batches
from components.tasks.network import torch_answerer
from components.tasks.protocol import Task

SEEN = 4096  # training images that batch normalisation's statistics are taken over: more change no figure that is shown
BATCH = 256

Chosen = tuple[int, ...]  # members, in order


def mean_weights(networks: Sequence[nn.Module], inputs: Inputs) -> nn.Module:
    """A network with the mean of the networks' parameters, in evaluation mode.

    Batch normalisation's statistics are taken anew over `images`, uint8 `(N, H, W, C)` of the training split.
    """
    states = [network.state_dict() for network in networks]
    mean: dict[str, Tensor] = {}
    for name, first in states[0].items():
        values = [state[name] for state in states]
        mean[name] = torch.stack(values).mean(dim=0) if first.is_floating_point() else first
    mixed = copy.deepcopy(networks[0])
    mixed.load_state_dict(mean)

    def shown() -> Iterator[Tensor]:
        for part in batches(len(inputs), BATCH):
            yield preprocess(torch.from_numpy(np.ascontiguousarray(inputs[part])))

    update_bn(shown(), mixed)
    return mixed.eval()


def greedy(order: Sequence[int], score: Callable[[Chosen], float]) -> Chosen:
    """The members of a greedy soup: each in turn, the best first, stays in if the score does not fall."""
    chosen: Chosen = (order[0],)
    best = score(chosen)
    for member in order[1:]:
        tried = tuple(sorted((*chosen, member)))
        found = score(tried)
        if found >= best:
            chosen, best = tried, found
    return chosen


def shares_origin(members: Sequence[Model]) -> bool:
    """Whether all members are the same architecture and started from the same weights, random ones or trained ones."""
    first = members[0].card
    alike = all(member.card.network == first.network for member in members)
    same_seed = first.seed is not None and all(member.card.seed == first.seed for member in members)
    return alike and (same_seed or first.network.begins_trained)


class Soups:
    """Soups of some members, each made and asked once, on the same samples."""

    def __init__(
        self, members: Sequence[nn.Module], training: Arrays, task: Task, samples: Arrays, card: DatasetCard
    ) -> None:
        self.members, self.training, self.task, self.samples, self.card = members, training, task, samples, card
        self._said: dict[Chosen, Said] = {}

    def network(self, chosen: Chosen) -> nn.Module:
        """One member as it is, or the mean of several."""
        if len(chosen) == 1:
            return self.members[chosen[0]]
        return mean_weights([self.members[number] for number in chosen], self.training.inputs)

    def said(self, chosen: Chosen) -> Said:
        if chosen not in self._said:
            answerer = torch_answerer(self.task, self.network(chosen))
            self._said[chosen] = ask(self.task, answerer, self.samples, self.card)
        return self._said[chosen]

    def chosen(self, rows: Rows | None = None) -> Chosen:
        """Greedily, by the primary metric on the samples at `rows`, or on all."""

        def score(soup: Chosen) -> float:
            return self.task.spec.primary.sign * self.said(soup).measure(self.task, rows)[self.task.spec.primary_metric]

        order = sorted(range(len(self.members)), key=lambda member: -score((member,)))
        return greedy(order, score)
