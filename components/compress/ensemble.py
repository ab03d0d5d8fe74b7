"""Several members → one model: the mean of their probabilities under weights fitted on the validation split.

The weights are those of greatest likelihood of the mixture. Which classes or pixels a likelihood is of is the task's
business (`likelihoods`); the arithmetic inside the network is `components.models.ensemble`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from components.artifacts import Ancestor, Card, Dataset, Model, ModelCard, write_model
from components.compress.errors import CompressionError, require_trained_on
from components.compress.judge import Judgement, judge, torch_answerer
from components.config import EnsembleConfig, NetworkConfig
from components.data.reading.loading import load_split
from components.models.ensemble import Ensemble
from components.models.network import load_network, save_weights, untrained
from components.tasks import registry as tasks
from components.tasks.protocol import SupportsEnsemble, Task

Floats = npt.NDArray[np.float64]

NETWORK = "ensemble"  # the name of the network in the model's card
REPORT = "ensemble.json"

# A float32 softmax can give a true class exactly 0. This is a finite price for it, 16 nats; the classifier's log loss
# has the same.
LEAST_LIKELIHOOD = 1e-7

GAP = 1e-6  # nats a unit by which the fitted likelihood may fall short of the greatest: far below what a figure shows
STEPS = 5000  # EM is slow only where members are all but equal, and there the gap closes long before


class MemberFigures(Card):
    """One member on the validation split."""

    name: str
    model: str  # its digest
    weight: float
    log_loss: float  # nats a unit (sample or pixel)
    primary: float


class EnsembleReport(Card):
    """How the weights came about. Log losses are nats a scored unit (sample or pixel) of the validation split."""

    weights: str  # "fitted" or "equal"
    metric: str
    units: int
    members: tuple[MemberFigures, ...]
    log_loss_equal: float
    log_loss: float  # of the weights that are used; never above that of equal ones
    primary: float  # of the ensemble as it was written
    steps: int
    gap: float  # nats a unit by which a better weighting could lower `log_loss` at most


@dataclass(frozen=True)
class Fit:
    """Weights `(K,)` on the simplex, and the way there."""

    weights: Floats
    log_losses: tuple[float, ...]  # before each step and after the last: never rising
    gap: float


def fit_weights(likelihoods: Floats, *, gap: float = GAP, steps: int = STEPS) -> Fit:
    """Mixture weights of greatest likelihood for `likelihoods` `(K, M)`: what K members give M truths.

    Expectation maximisation with fixed components (Dempster, Laird and Rubin 1977, section 4.3): each weight becomes
    its member's mean responsibility. Starts from equal weights and never lowers the likelihood, so the result is never
    worse than equal weights. The problem is concave, so with g_k = mean_m p_km / mixture_m the mean log-likelihood lies
    at most max_k g_k − 1 below the greatest: stops once that is under `gap`.
    Raises ValueError where there is nothing to fit on.
    """
    members, units = likelihoods.shape
    if members == 0 or units == 0:
        raise ValueError(f"likelihoods: expected at least one member and one unit, received shape {likelihoods.shape}")
    floored = np.maximum(likelihoods, LEAST_LIKELIHOOD)
    weights = np.full(members, 1.0 / members)
    log_losses = []
    for step in range(steps + 1):
        mixture = weights @ floored
        log_losses.append(float(-np.log(mixture).mean()))
        gradient = (floored / mixture).mean(axis=1)
        shortfall = float(gradient.max() - 1.0)
        if shortfall <= gap or step == steps:
            break
        weights = weights * gradient
        weights = weights / weights.sum()  # it is 1 already, but for rounding
    return Fit(weights, tuple(log_losses), max(shortfall, 0.0))


def log_loss(weights: Floats, likelihoods: Floats) -> float:
    """Mean negative log-likelihood of the mixture, nats a unit: `(K,)` and `(K, M)` → scalar."""
    return float(-np.log(weights @ np.maximum(likelihoods, LEAST_LIKELIHOOD)).mean())


def combine(members: Sequence[Model], dataset: Dataset, config: EnsembleConfig, folder: Path) -> Model:
    """Write the ensemble of `members` into `folder`: a model like any other, with `ensemble.json` beside it.

    Raises CompressionError where the members do not answer the same question or the task cannot be combined.
    """
    task = _common_task(members, dataset)
    validation = load_split(dataset, "validation")
    networks = [load_network(member) for member in members]
    judgements = [judge(task, torch_answerer(task, network), validation, dataset.card) for network in networks]
    likelihoods = np.stack([cast(Floats, judgement.likelihoods) for judgement in judgements])
    equal = np.full(len(members), 1.0 / len(members))
    fit = fit_weights(likelihoods, steps=STEPS if config.weights == "fitted" else 0)
    card = _card(members, task, dataset)
    ensemble = cast(Ensemble, untrained(card))
    for slot, network in zip(ensemble.members, networks, strict=True):
        slot.load_state_dict(network.state_dict())
    ensemble.weights.copy_(torch.from_numpy(fit.weights))
    ensemble.eval()
    whole = judge(task, torch_answerer(task, ensemble), validation, dataset.card)
    report = EnsembleReport(
        weights=config.weights,
        metric=task.spec.primary_metric,
        units=likelihoods.shape[1],
        members=_figures(members, judgements, likelihoods, fit.weights),
        log_loss_equal=log_loss(equal, likelihoods),
        log_loss=fit.log_losses[-1],
        primary=whole.primary,
        steps=len(fit.log_losses) - 1,
        gap=fit.gap,
    )

    def fill(target: Path) -> None:
        save_weights(ensemble, target)
        (target / REPORT).write_text(report.to_json(), encoding="utf-8")

    return write_model(folder, card, fill)


def read_report(ensemble: Model) -> EnsembleReport:
    """The figures that `combine` wrote beside the model; raises ArtifactError where there are none."""
    return EnsembleReport.read(ensemble.folder / REPORT)


def _common_task(members: Sequence[Model], dataset: Dataset) -> Task:
    if not members:
        raise CompressionError("members: expected at least one, received none")
    first = members[0].card
    task = tasks.get(first.task)
    supports = task.spec.supports
    if "ensemble" not in supports:
        raise CompressionError(f"task {first.task}: expected the capability `ensemble`, found {sorted(supports)}")
    for member in members:
        require_trained_on(member, dataset)
        if member.card.members:
            raise CompressionError(f"{member.folder}: expected a single network as a member, found an ensemble")
        for key in ("task", "input"):
            expected, found = getattr(first, key), getattr(member.card, key)
            if found != expected:
                raise CompressionError(
                    f"{member.folder}: expected {key} {expected!r}, as {first.name}, found {found!r}"
                )
    return task


def _card(members: Sequence[Model], task: Task, dataset: Dataset) -> ModelCard:
    first = members[0].card
    return ModelCard(
        name=NETWORK,
        task=first.task,
        network=NetworkConfig(name=NETWORK),
        members=tuple(member.card.network for member in members),
        fusion=cast(SupportsEnsemble, task).fusion,
        classes=first.classes,
        input=first.input,
        data=dataset.digest,
        parents=tuple(Ancestor(role="member", digest=member.digest) for member in members),
    )


def _figures(
    members: Sequence[Model], judgements: Sequence[Judgement], likelihoods: Floats, weights: Floats
) -> tuple[MemberFigures, ...]:
    return tuple(
        MemberFigures(
            name=member.card.name,
            model=member.digest,
            weight=float(weights[number]),
            log_loss=log_loss(np.ones(1), likelihoods[number : number + 1]),
            primary=judgement.primary,
        )
        for number, (member, judgement) in enumerate(zip(members, judgements, strict=True))
    )
