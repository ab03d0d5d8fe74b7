"""Members → the ensemble, a model like any other, with `ensemble.json` beside it.

Everything is found on the validation split, or on parts of the training split that a member has not seen; what the
ensemble is worth on the test split is `components.evaluate`'s business, once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

from components.artifacts import Ancestor, Dataset, Model, ModelCard, write_model
from components.compress.ensembling import choosing
from components.compress.ensembling.answers import LOSSES, Floats, Said, ask
from components.compress.ensembling.asking import Members, asked_of, common_task
from components.compress.ensembling.choosing import Candidate
from components.compress.ensembling.combiners import COMBINERS, SOUP, Combiner
from components.compress.ensembling.cost import Cost, cost_of
from components.compress.ensembling.diversity import diversity
from components.compress.ensembling.report import REPORT, CombinerFigures, EnsembleReport, MemberFigures, read_report
from components.compress.ensembling.soup import SEEN, Chosen, Soups, shares_origin
from components.config import EnsembleConfig, NetworkConfig
from components.data.reading.loading import load_split
from components.export.errors import CompressionError
from components.models.ensemble import (
    BoostedVote,
    Ensemble,
    MeanBoxes,
    MeanLabels,
    MeanNumbers,
    MeanProbability,
    VoteShare,
    as_trained,
)
from components.models.network import save_weights, untrained
from components.tasks.capabilities import Combinable
from components.tasks.network import torch_answerer

__all__ = ["combine", "read_report"]

NETWORK = "ensemble"  # the name of the network in the model's card, and of the model


def combine(members: Sequence[Model], dataset: Dataset, config: EnsembleConfig, folder: Path) -> Model:
    """Write the ensemble of `members` into `folder`.

    Raises CompressionError where the members do not answer the same question, or cannot be combined as asked.
    """
    task = common_task(members, dataset)
    combinable = cast(Combinable, task)
    fuses, possible = combinable.fuses, combinable.combiners
    if config.combiner not in ("auto", *possible):
        raise CompressionError(
            f"ensemble.combiner: expected auto or one of {', '.join(sorted(possible))}, which task {task.spec.name} "
            f"can take, received {config.combiner}"
        )
    asked = asked_of(members, task, dataset, flipped=config.tta == "hflip")
    soups = None
    if SOUP in possible and shares_origin(members) and config.tta == "none":
        training = load_split(dataset, "train", limit=SEEN)
        soups = Soups(asked.networks, training, task, asked.validation, dataset.card)
    candidates, left_out = _candidates(asked, soups, [c for name, c in COMBINERS[fuses].items() if name in possible])
    if config.combiner in left_out:
        raise CompressionError(left_out[config.combiner])
    name, reason = str(config.combiner), "it was asked for"
    if name == "auto":
        served = {each: found for each, found in candidates.items() if each == SOUP or _combiner(asked, each).exported}
        name, reason = choosing.choose({each: found.compared for each, found in served.items()}, fuses)
    card, network, weights = _made(asked, soups, name)
    report = _report(asked, candidates, left_out, soups, network, weights)
    report = report.model_copy(update={"asked": config.combiner, "combiner": name, "reason": reason})

    def fill(target: Path) -> None:
        save_weights(network, target)
        (target / REPORT).write_text(report.to_json(), encoding="utf-8")

    return write_model(folder, card, fill)


def _candidates(
    asked: Members, soups: Soups | None, combiners: Sequence[Combiner]
) -> tuple[dict[str, Candidate], dict[str, str]]:
    """Every way that these members can be combined in, judged, from the simplest on; and why others cannot be."""
    card, found, left_out = asked.dataset.card, dict[str, Candidate](), dict[str, str]()
    if soups is not None:
        found[SOUP] = choosing.judged_soup(soups, asked.answers, asked.task, card)
    elif asked.flipped:
        left_out[SOUP] = "ensemble.combiner: expected another one than soup where `tta: hflip`: a soup is one network"
    else:
        left_out[SOUP] = (
            "ensemble.combiner: expected another one than soup for members that did not start from the same weights: "
            "their mean is no network; set members.snapshots, or start all from the same pretrained weights"
        )
    for each in combiners:
        try:
            found[each.name] = choosing.judged(each, asked.answers, asked.given, asked.task, card, asked.again)
        except CompressionError as error:
            left_out[each.name] = str(error)
    return found, left_out


def _made(asked: Members, soups: Soups | None, name: str) -> tuple[ModelCard, nn.Module, Sequence[float] | None]:
    """The model as it will be written, and what each member weighs in it, where one number says that."""
    if name == SOUP and soups is not None:
        chosen = soups.chosen()
        return _soup_card(asked), soups.network(chosen), _shares(chosen, len(asked.models))
    combiner = _combiner(asked, name)
    fusion = combiner.fit(asked.answers, asked.given)
    return _card(asked, combiner), _assembled(asked, combiner, fusion), _weights(fusion, len(asked.models))


def _combiner(asked: Members, name: str) -> Combiner:
    return COMBINERS[cast(Combinable, asked.task).fuses][name]


def _assembled(asked: Members, combiner: Combiner, fusion: nn.Module) -> nn.Module:
    ensemble = cast(Ensemble, untrained(_card(asked, combiner)))
    for slot, network in zip(ensemble.members, asked.networks, strict=True):
        slot.load_state_dict(network.state_dict())
    ensemble.fusion.load_state_dict(fusion.state_dict())
    return ensemble.eval()


def _shares(chosen: Chosen, members: int) -> list[float]:
    return [1.0 / len(chosen) if number in chosen else 0.0 for number in range(members)]


def _weights(fusion: nn.Module, members: int) -> list[float] | None:
    match fusion:
        case MeanProbability() | MeanLabels() | MeanNumbers() | MeanBoxes():
            return [float(weight) for weight in fusion.weights]
        case BoostedVote():
            total = max(float(fusion.say.sum()), 1e-12)  # 0 where no member is better than a guess
            return [float(say) / total for say in fusion.say]
        case VoteShare():
            return [1.0 / members] * members
    return None


# -- cards -----------------------------------------------------------------------------------------------------------


def _card(asked: Members, combiner: Combiner) -> ModelCard:
    first = asked.models[0].card
    arguments: dict[str, int | float | bool | str] = {"learners": asked.learners} if combiner.name == "stacking" else {}
    if asked.flipped:
        arguments["tta"] = "hflip"
    return ModelCard(
        name=NETWORK,
        task=first.task,
        network=NetworkConfig(name=NETWORK, arguments=arguments),
        members=tuple(member.card.network for member in asked.models),
        fusion=combiner.fusion,
        classes=first.classes,
        input=first.input,
        target=first.target,
        head=first.head,
        data=asked.dataset.digest,
        parents=_parents(asked),
    )


def _soup_card(asked: Members) -> ModelCard:
    """A network of the members' architecture; its weights come from them, and from nothing else."""
    first = asked.models[0].card
    own = {"name": NETWORK, "seed": None, "fold": None, "parents": _parents(asked)}
    return first.model_copy(update=own)


def _parents(asked: Members) -> tuple[Ancestor, ...]:
    return tuple(Ancestor(role="member", digest=member.digest) for member in asked.models)


# -- figures ----------------------------------------------------------------------------------------------


def _report(
    asked: Members,
    candidates: Mapping[str, Candidate],
    left_out: Mapping[str, str],
    soups: Soups | None,
    network: nn.Module,
    weights: Sequence[float] | None,
) -> EnsembleReport:
    task, card = asked.task, asked.dataset.card
    whole = ask(task, torch_answerer(task, network), asked.validation, card)
    pairs = diversity(asked.said, asked.validation.targets)
    costs = [cost_of(as_trained(each), card.input) for each in asked.networks]
    best = min((found.compared for found in candidates.values()), key=lambda losses: float(losses.mean()))
    return EnsembleReport(
        asked="",
        combiner="",
        reason="",
        left_out=dict(left_out),
        metric=task.spec.primary_metric,
        samples=len(asked.validation),
        units=asked.answers.scored.shape[1],
        members=tuple(_member(asked, number, weights) for number in range(len(asked.models))),
        combiners=tuple(_figures(asked, found, best, soups) for found in candidates.values()),
        disagreement=_rows(pairs.disagreement),
        error_correlation=_rows(pairs.error_correlation),
        mean_disagreement=pairs.mean_disagreement,
        mean_error_correlation=pairs.mean_error_correlation,
        member_cost=Cost(
            parameters=round(np.mean([cost.parameters for cost in costs])),
            macs=round(np.mean([cost.macs for cost in costs])),
        ),
        **_judged(asked, whole, whole.losses()),
    )


def _judged(asked: Members, said: Said, losses: Floats) -> dict[str, Any]:
    """What every row of figures has of answers, and of the losses that they are judged by."""
    measured = said.measure(asked.task)
    return {
        LOSSES[said.fuses].name: float(losses.mean()),
        "primary": measured[asked.task.spec.primary_metric],
        "calibration_error": measured.get("calibration_error", math.nan),
    }


def _member(asked: Members, number: int, weights: Sequence[float] | None) -> MemberFigures:
    said, model = asked.said[number], asked.models[number]
    return MemberFigures(
        name=model.card.name,
        model=model.digest,
        weight=None if weights is None else weights[number],
        **_judged(asked, said, said.losses()),
    )


def _figures(asked: Members, found: Candidate, best: Floats, soups: Soups | None) -> CombinerFigures:
    behind, error = choosing.difference(found.compared, best)
    _, network, _ = _made(asked, soups, found.name)
    said = found.said
    if said is None:
        answerer = torch_answerer(asked.task, network)
        said = ask(asked.task, answerer, asked.validation, asked.dataset.card)
    if found.name == "stacking" and asked.given.out_of_fold is not None:
        fitted = "out of fold"
    else:
        fitted = "validation" if found.name == SOUP or _combiner(asked, found.name).fitted else "nothing"
    return CombinerFigures(
        name=found.name,
        fitted=fitted,
        **_judged(asked, said, found.losses),
        behind=behind,
        standard_error=error,
        cost=cost_of(network, asked.dataset.card.input),
    )


def _rows(matrix: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in matrix)
