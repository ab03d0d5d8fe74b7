"""How a model does on inputs that are not as clean as those it has learnt from: pictures with noise, say.

Which corruptions there are, and how strong they are, is the kind of input's. The figure is the task's primary metric,
averaged over kinds and severities, on a seeded subset of the split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.artifacts import DatasetCard, Figure
from components.config import CorruptionsConfig, EvaluateConfig
from components.data.reading.loading import Arrays
from components.inputs import registry as inputs
from components.inputs.protocol import Corruption, Values
from components.metrics import bootstrap
from components.metrics.figures import figure
from components.runtimes.protocol import Answerer
from components.tasks.asking import ask
from components.tasks.protocol import Task

BATCH = 64  # inputs that are corrupted, and asked for, at a time

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Corrupted:
    """Samples whose inputs are corrupted when they are asked for, for there is no room for all of them at once."""

    clean: Arrays
    corruption: Corruption
    severity: int
    seed: int

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, part: slice) -> Values:
        """Equal seeds give equal noise."""
        random = np.random.default_rng([self.seed + part.start, self.severity])
        return self.corruption(self.clean.inputs[part], self.severity, random)

    @property
    def inputs(self) -> Corrupted:
        return self

    @property
    def ids(self) -> npt.NDArray[np.str_]:
        return self.clean.ids

    @property
    def targets(self) -> npt.NDArray[Any]:
        return self.clean.targets

    @property
    def groups(self) -> dict[str, npt.NDArray[np.str_]]:
        return self.clean.groups


def problems(config: EvaluateConfig, given: str, key: str = "evaluate") -> list[str]:
    """What is wrong with a configuration of corruptions for inputs of a kind; a line at most."""
    kind, asked = inputs.get(given), config.corruptions.kinds if config.corruptions else ()
    unknown = [name for name in asked if name not in kind.corruptions]
    if not unknown:
        return []
    return [
        f"{key}.corruptions.kinds: expected some of {', '.join(kind.corruptions)}, which can be done to {kind.many}, "
        f"received {', '.join(unknown)}; name those that are meant, or set `corruptions: null`"
    ]


def robustness(
    answer: Answerer, task: Task, samples: Arrays, card: DatasetCard, config: EvaluateConfig
) -> dict[str, Figure]:
    """`robustness_PRIMARY`, the mean over all conditions, and `corrupted_KIND_PRIMARY`, over one kind's severities.

    All conditions share one resampling of the samples, so that a mean's interval is that of the samples and not of the
    conditions. Empty where `config` has no corruptions.
    """
    wanted = config.corruptions
    if wanted is None or not wanted.kinds or not wanted.severities:
        return {}
    primary = task.spec.primary_metric
    found = {
        kind: [_measured(answer, task, samples, card, config, kind, severity) for severity in wanted.severities]
        for kind in wanted.kinds
    }
    every = [condition for conditions in found.values() for condition in conditions]
    named = {f"robustness_{primary}": every} | {f"corrupted_{kind}_{primary}": own for kind, own in found.items()}
    return {name: _mean(conditions, config.confidence, task.spec.primary.unit) for name, conditions in named.items()}


def conditions(config: CorruptionsConfig) -> str:
    """What was done, in words: for tables and notes."""
    kinds = ", ".join(kind.replace("_", " ") for kind in config.kinds)
    return f"{kinds} at severity {' and '.join(map(str, config.severities))} of 5"


def _measured(
    answer: Answerer, task: Task, samples: Arrays, card: DatasetCard, config: EvaluateConfig, kind: str, severity: int
) -> tuple[float, Floats]:
    """The primary metric under one condition, and its bootstrap distribution `(B,)`."""
    primary, count = task.spec.primary_metric, len(samples)
    corruption = inputs.of(card).corruptions[kind]
    predictions = ask(task, answer, Corrupted(samples, corruption, severity, config.seed), card, batch=BATCH)
    value = float(task.measure(predictions, np.ones((1, count)))[primary][0])
    spread = bootstrap.distribution(
        lambda weights: {primary: task.measure(predictions, weights)[primary]}, count, config.bootstrap, config.seed
    )
    return value, spread[primary]


def _mean(found: list[tuple[float, Floats]], confidence: float, unit: str) -> Figure:
    value = float(np.mean([each for each, _ in found]))
    spread: Floats = np.mean([spread for _, spread in found], axis=0)
    return figure(value, spread, confidence, unit)
