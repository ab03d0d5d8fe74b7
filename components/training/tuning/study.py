"""A study in plain values: what is tried, what is heard of it, and what came out. Imports neither torch nor Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from components.config import ConfigurationError, LineConfig
from components.metrics.metric import Metric
from components.training.finding.alone import alone
from components.training.jobs.job import Job
from components.training.tuning.space import Range, Space, Value, value_at, with_values

# finished: trained to its end. pruned: ASHA gave its time to better ones. failed: it raised, for example for a loss
# that is not finite. stopped: the study's time was up.
State = Literal["finished", "pruned", "failed", "stopped"]


@dataclass(frozen=True)
class Study:
    """One member network, trained again and again with other settings; the same seed each time."""

    line: LineConfig
    space: Space
    task: str
    watched: Metric  # of the validation split, such as `validation_accuracy`

    def job(self, values: Mapping[str, Value]) -> Job:
        """The training of the trial with these values; raises ConfigurationError where they do not go together."""
        line = with_values(self.line, values)
        return Job(
            name="trial",
            task=self.task,
            network=line.members.networks[0],
            seed=line.seed,
            epochs=line.members.epochs,
            training=alone(line.training),
            augment=line.augment,
        )

    @property
    def metric(self) -> str:
        """The name of what is watched."""
        return self.watched.name

    @property
    def most_epochs(self) -> int:
        """Of any trial."""
        domain = self.space.get("members.epochs")
        return self.line.members.epochs if domain is None else max(int(value) for value in domain.samples)  # type: ignore[arg-type]

    @property
    def own_values(self) -> dict[str, Value] | None:
        """What the pipeline has itself for the keys that are searched; None where any of it lies outside the space."""
        own: dict[str, Value] = {}
        for key, domain in self.space.items():
            try:
                value = value_at(self.line, key)
            except ConfigurationError:
                return None  # an argument that the network's entry point has a default for
            if value not in domain:
                return None
            own[key] = float(value) if isinstance(domain, Range) and isinstance(domain.low, float) else value
        return own

    def check(self) -> None:
        """Raise ConfigurationError where ASHA's first look would come after the last epoch."""
        if self.line.tune.grace > self.most_epochs:
            raise ConfigurationError(
                f"tune.grace: expected at most {self.most_epochs}, the epochs of a trial, received "
                f"{self.line.tune.grace}"
            )


@dataclass(frozen=True)
class TrialEvent:
    """Something that happened to a trial: it started, finished an epoch, or ended."""

    number: int  # counted from 0, in the order of their start
    kind: Literal["started", "epoch", "ended"]
    values: Mapping[str, Value]
    epoch: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)  # the epoch's
    state: State | None = None  # of one that ended
    message: str = ""  # why it failed


TrialListener = Callable[[TrialEvent], None]


def ignore(event: TrialEvent) -> None:
    """A listener for those who do not care."""


@dataclass(frozen=True)
class Trial:
    """One trial, when the study was over."""

    number: int
    values: Mapping[str, Value]
    state: State
    epochs: int  # that it was trained
    value: float | None  # the study's metric: of the last epoch, or with `patience` of the best; None: no epoch ended
    message: str = ""


@dataclass(frozen=True)
class Findings:
    """What a study came to."""

    trials: tuple[Trial, ...]  # by number
    best: Trial  # of those that were trained to their end
    importances: Mapping[str, float] | None  # key → share of the variance (fANOVA); None: too few finished


def best_of(trials: Sequence[Trial], metric: Metric) -> Trial | None:
    """The best of the finished ones, the earliest where several are; None where none is.

    Pruned ones are left out: their figure is of fewer epochs, and no recipe would repeat it.
    """
    finished = [trial for trial in trials if trial.state == "finished" and trial.value is not None]
    in_order = sorted(finished, key=lambda trial: trial.number)
    return metric.best(in_order, lambda trial: trial.value or 0.0) if in_order else None
