"""What else than its outputs is copied of a teacher: the kinds, by configuration, and the student that they belong to.

Projections are trained as part of the student, so that optimizer, workers and checkpoints know of them; they are taken
off it at the end, and no Model has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from components.config import ConfigurationError, DistillationConfig
from components.training.jobs.job import Job
from components.training.objectives.attention import AttentionTransfer
from components.training.objectives.contrastive import Contrast
from components.training.objectives.hint import Hint
from components.training.objectives.relation import Angles, Distances
from components.training.objectives.teacher import Teacher
from components.training.objectives.watching import Seen, Watch

PROJECTIONS = "projections"  # the student's child that holds what is trained beside it


class Copying:
    """The kinds of one training. `attach` comes before the first step, `detach` after the last."""

    def __init__(self, config: DistillationConfig, teacher: Teacher) -> None:
        self.config, self.teacher = config, teacher
        self.weights = weights(config)
        self._watch: Watch | None = None
        self._kinds: nn.ModuleDict = nn.ModuleDict()

    def attach(self, network: nn.Module, sample: Tensor) -> None:
        """Watch the student, and give it its projections; `sample` is one input `(1, …)` on its device."""
        self.detach(network)
        watch = Watch(network)
        was = network.training
        with torch.no_grad():
            network.eval()(sample)
        network.train(was)
        own, (_, its) = watch.take(), self.teacher.look(sample)
        self._watch, self._kinds = watch, kinds(self.config, own, its).to(sample.device)
        network.add_module(PROJECTIONS, self._kinds)

    def detach(self, network: nn.Module) -> None:
        """Leave the student as it was."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None
        if hasattr(network, PROJECTIONS):
            delattr(network, PROJECTIONS)

    def losses(self, teacher: Seen) -> dict[str, Tensor]:
        """Each kind's loss by its name, for the inputs that the student has seen last."""
        if self._watch is None:
            raise RuntimeError("expected a student to be attached")
        own = self._watch.take()
        return {name: cast(Tensor, kind(own, teacher)) for name, kind in self._kinds.items()}


def copying_of(job: Job, teacher: Teacher | None) -> Copying | None:
    """What the job copies besides outputs; None where that is nothing. Raises ConfigurationError where it cannot be."""
    wanted = weights(job.distillation)
    if teacher is None or not wanted:
        return None
    if job.training.strategy != "data":
        raise ConfigurationError(
            f"{job.name}: training.strategy: expected data where a student copies features ({', '.join(wanted)}), "
            f"received {job.training.strategy}, with which no worker sees the whole network"
        )
    return Copying(job.distillation, teacher)


def weights(config: DistillationConfig) -> dict[str, float]:
    """The kinds that are switched on, each with its weight in the loss."""
    found = {
        "hint": config.hint and config.hint.weight,
        "attention": config.attention and config.attention.weight,
        "distance": config.relation and config.relation.distance,
        "angle": config.relation and config.relation.angle,
        "contrastive": config.contrastive and config.contrastive.weight,
    }
    return {name: weight for name, weight in found.items() if weight}


def kinds(config: DistillationConfig, student: Seen, teacher: Seen) -> nn.ModuleDict:
    """Of each kind that is switched on its loss, for features of these sizes."""
    temperature = config.contrastive.temperature if config.contrastive else 1.0
    build: Mapping[str, Callable[[], nn.Module]] = {
        "hint": lambda: Hint(student, teacher),
        "attention": AttentionTransfer,
        "distance": Distances,
        "angle": Angles,
        "contrastive": lambda: Contrast(student, teacher, temperature),
    }
    return nn.ModuleDict({name: build[name]() for name in weights(config)})
