"""What is being combined: the members, checked against each other, loaded, and asked what combiners are fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from components.artifacts import Dataset, InputSpec, Model
from components.compress.ensembling.answers import Rows, Said, Together, ask, together
from components.compress.ensembling.combiners import Combiner, Given
from components.compress.ensembling.problems import NO_TTA
from components.compress.ensembling.stacking import learners_of, out_of_fold, taken
from components.data.reading.loading import Arrays, load_split
from components.export.errors import CompressionError, require_trained_on
from components.models.ensemble import Ensemble, Fusion, Mirrored
from components.models.network import load_network
from components.models.preprocessing import nothing, preprocess
from components.tasks import registry as tasks
from components.tasks.capabilities import Combinable
from components.tasks.network import torch_answerer
from components.tasks.protocol import Task
from components.training.loop.boosting import mistakes_of, samme
from components.training.processes.workers import Workers


@dataclass(frozen=True)
class Members:
    """What is being combined, and on what."""

    models: Sequence[Model]
    networks: Sequence[nn.Module]
    task: Task
    dataset: Dataset
    validation: Arrays
    said: Sequence[Said]  # on the validation split
    answers: Together
    given: Given
    learners: int  # of which the members are as many trainings each
    flipped: bool  # with each input's mirror image (`tta: hflip`)

    def again(self, combiner: Combiner, fusion: nn.Module, rows: Rows) -> Said:
        """What they say under a fusion of validation samples at `rows`: of what is too much to be kept."""
        ensemble = Ensemble(self.networks, combiner.fusion, self.given.outputs, self.learners)
        ensemble.fusion = cast(Fusion, fusion)
        answerer = torch_answerer(self.task, ensemble.eval())
        return ask(self.task, answerer, taken(self.validation, rows), self.dataset.card)


def common_task(members: Sequence[Model], dataset: Dataset) -> Task:
    """The task of all members; raises CompressionError where they do not answer the same question."""
    if not members:
        raise CompressionError("members: expected at least one, received none")
    first = members[0].card
    task = tasks.of(first)
    if not isinstance(task, Combinable):
        raise CompressionError(f"task {first.task}: expected one whose members can be combined")
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


def asked_of(members: Sequence[Model], task: Task, dataset: Dataset, flipped: bool) -> Members:
    """The members, loaded, and all that they are asked; with `flipped` about each image's mirror image as well."""
    combinable = cast(Combinable, task)
    if flipped and combinable.fuses == "boxes":
        raise CompressionError(f"ensemble.{NO_TTA}")
    networks = [Mirrored(network, combinable.fuses) if flipped else network for network in map(load_network, members)]
    answerers = [torch_answerer(task, network) for network in networks]
    validation = load_split(dataset, "validation")
    said = [ask(task, answerer, validation, dataset.card) for answerer in answerers]
    head, learners = task.head(dataset.card), learners_of(members)
    strangers, say = None, None
    if learners is not None and "stacking" in combinable.combiners:
        strangers = out_of_fold(task, answerers, len(members) // learners, dataset)
    if _boosted(members):
        training = load_split(dataset, "train")
        mistakes = [mistakes_of(network, task, training, Workers()) for network in networks]
        say = samme(np.stack(mistakes), len(dataset.card.classes)).say
    return Members(
        models=members,
        networks=networks,
        task=task,
        dataset=dataset,
        validation=validation,
        said=said,
        answers=together(said, validation.targets),
        given=Given(
            members=len(members),
            outputs=head.outputs,
            out_of_fold=strangers,
            say=say,
            deviations=np.array(head.std) if head.std else None,
            alike=combinable.fuses != "boxes" or _alike(networks, dataset.card.input),
        ),
        learners=learners or len(members),
        flipped=flipped,
    )


def _boosted(members: Sequence[Model]) -> bool:
    """Whether each was trained on the mistakes of exactly those before it."""
    digests = [member.digest for member in members]
    parents = [[p.digest for p in member.card.parents if p.role == "boosted"] for member in members]
    return len(members) > 1 and parents == [digests[:number] for number in range(len(members))]


def _alike(networks: Sequence[nn.Module], spec: InputSpec) -> bool:
    """Whether all detectors say boxes at the same places."""
    blank = preprocess(nothing(spec))
    with torch.inference_mode():
        first, *others = [network(blank)[..., :4] for network in networks]
    return all(torch.equal(first, other) for other in others)
