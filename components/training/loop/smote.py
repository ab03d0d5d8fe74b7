"""SMOTE where it makes sense for images: on a trained network's embeddings, for its head alone.

A point between two images is no image, but a point between two embeddings of a class is a plausible embedding of it.
All but the head stays as it was trained, and the network remains an ordinary one of its architecture.
Left to others: when it happens (`loop`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.config import ConfigurationError
from components.models.preprocessing import channels_last
from components.models.registry import Network
from components.tasks.protocol import Batch
from components.training.jobs.imbalance import Balance
from components.training.processes.workers import Workers
from components.training.reading.sampling import Positions, mix

Embeddings = npt.NDArray[np.float64]

NEIGHBOURS = 5  # Chawla et al. 2002, and imbalanced-learn's default
STEPS = 500  # most iterations of L-BFGS; the fit is convex, and from the trained head some tens are enough
GRADIENT = 1e-6  # largest component of the gradient at which it has arrived


def linear_head(network: nn.Module, name: str) -> nn.Linear:
    """The layer from embedding to outputs; raises ConfigurationError for an architecture that ends otherwise."""
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Linear):
        raise ConfigurationError(
            f"training.imbalance.sampling: expected a network with a linear head on its embedding for smote, "
            f"received {name}"
        )
    return head


def refit_head(
    network: nn.Module,
    head: nn.Linear,
    read: Callable[[Positions], Batch],
    balance: Balance,
    *,
    batch_size: int,
    label_smoothing: float,
    seed: int,
    workers: Workers,
) -> int:
    """Fit the head again, in place, on the training split's embeddings, levelled; returns how many were made up.

    `read` gives samples of the training split as they are, not augmented. Workers share the embedding; the first one
    fits, and all take over its head, so that they keep having the same weights.
    """
    mine = np.arange(workers.rank, len(balance.labels), workers.count)
    gathered = workers.gather(_embed(network, read, mine, batch_size))
    made, values = 0, cast(dict[str, Tensor], {})
    if workers.first:
        embeddings = np.empty((len(balance.labels), head.in_features))
        for rank, theirs in enumerate(gathered):
            embeddings[rank :: workers.count] = theirs
        levelled, labels = smote(embeddings, balance.labels, seed)
        made, values = len(labels) - len(embeddings), fit_head(head, levelled, labels, label_smoothing).state_dict()
    made, values = workers.from_first((made, values))
    head.load_state_dict(values)  # copies into the head's own precision and place
    return made


def smote(embeddings: Embeddings, labels: Positions, seed: int) -> tuple[Embeddings, Positions]:
    """`(N, D)`, `(N,)` → the same rows, followed by made-up ones until every class has as many as the largest.

    imbalanced-learn's SMOTE. A class of n ≤ 5 samples has n − 1 neighbours to offer instead of 5, and a single sample
    has none: it is repeated.
    """
    from imblearn.over_sampling import SMOTE

    counts = np.bincount(labels)
    neighbours = np.minimum(NEIGHBOURS, counts - 1)
    rows, classes = [embeddings], [labels]
    for number in np.unique(neighbours[counts > 0]):
        wanted = {int(c): int(counts.max()) for c in np.flatnonzero((neighbours == number) & (counts > 0))}
        if number == 0:
            for label, count in wanted.items():
                rows.append(np.repeat(embeddings[labels == label], count - 1, axis=0))
                classes.append(np.full(count - 1, label))
            continue
        # Its seeds are of 32 bits.
        sampler = SMOTE(sampling_strategy=wanted, k_neighbors=int(number), random_state=mix("smote", seed) % 2**32)
        more, theirs = sampler.fit_resample(embeddings, labels)
        rows.append(more[len(embeddings) :])
        classes.append(theirs[len(embeddings) :])
    return np.concatenate(rows), np.concatenate(classes)


def fit_head(head: nn.Linear, embeddings: Embeddings, labels: Positions, label_smoothing: float) -> nn.Linear:
    """A copy of the head, float64 on the CPU, fitted to the embeddings: multinomial logistic regression.

    Minimises mean cross-entropy + ‖weight‖² / 2N, which is scikit-learn's LogisticRegression with its default C, and
    has label smoothing besides. The penalty keeps classes that can be told apart without error from infinite weights.
    """
    fitted = copy.deepcopy(head).double().cpu()
    inputs, targets = torch.from_numpy(embeddings), torch.from_numpy(labels)
    # float64 throughout: in float32, the line search ends in noise before the gradient is small.
    optimizer = torch.optim.LBFGS(
        fitted.parameters(),
        max_iter=STEPS,
        tolerance_grad=GRADIENT,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(fitted(inputs), targets, label_smoothing=label_smoothing)
        loss = loss + fitted.weight.square().sum() / (2 * len(inputs))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return fitted


def _embed(
    network: nn.Module, read: Callable[[Positions], Batch], positions: Positions, batch_size: int
) -> npt.NDArray[np.float32]:
    """`(n, D)`, in evaluation mode and in float32: as the exported network will see them."""
    was_training = network.training
    network.eval()
    pieces = []
    with torch.inference_mode():
        for start in range(0, len(positions), batch_size):
            inputs = read(positions[start : start + batch_size]).inputs
            pieces.append(cast(Network, network).embed(channels_last(inputs)).cpu().numpy())
    network.train(was_training)
    return np.concatenate(pieces)
