"""How a model does on pictures that are not as clean as those it has learnt from: noise, blur, light, contrast.

Kinds and strengths are those of Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations" (2019), in their settings for small images (CIFAR-10-C), severities 1 to 5. The figure is the task's
primary metric, averaged over kinds and severities, on a seeded subset of the split.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from components.artifacts import DatasetCard, Figure
from components.config import CorruptionsConfig, EvaluateConfig
from components.data.reading.loading import Arrays
from components.metrics import bootstrap
from components.metrics.figures import figure
from components.runtimes.protocol import Answerer
from components.tasks.asking import ask
from components.tasks.protocol import Task

BATCH = 64  # images that are corrupted, and asked for, at a time

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


def gaussian_noise(images: Floats, severity: int, random: np.random.Generator) -> Floats:
    """Independent at every pixel and channel, as of a sensor in the dark."""
    deviation = (0.04, 0.06, 0.08, 0.09, 0.10)[severity - 1]
    return images + random.normal(0.0, deviation, images.shape)


def blur(images: Floats, severity: int, random: np.random.Generator) -> Floats:
    """A Gaussian's, over space alone; the border repeats its last pixel."""
    deviation = (0.4, 0.6, 0.7, 0.8, 1.0)[severity - 1]
    smoothed: Floats = ndimage.gaussian_filter(images, (0.0, deviation, deviation, 0.0), mode="nearest", truncate=4.0)
    return smoothed


def brightness(images: Floats, severity: int, random: np.random.Generator) -> Floats:
    """Every channel lighter by the same: for greys what the paper does to the value in HSV."""
    return images + (0.05, 0.10, 0.15, 0.20, 0.30)[severity - 1]


def contrast(images: Floats, severity: int, random: np.random.Generator) -> Floats:
    """Each image drawn towards its own mean colour."""
    left = (0.75, 0.50, 0.40, 0.30, 0.15)[severity - 1]
    mean = images.mean(axis=(1, 2), keepdims=True)
    drawn: Floats = (images - mean) * left + mean
    return drawn


CORRUPTIONS: dict[str, Callable[[Floats, int, np.random.Generator], Floats]] = {
    "gaussian_noise": gaussian_noise,
    "blur": blur,
    "brightness": brightness,
    "contrast": contrast,
}


def corrupted(images: Images, kind: str, severity: int, seed: int = 0) -> Images:
    """uint8 `(N, H, W, C)` → the same pictures, corrupted: rounded and cut off at black and white, as a file would be.

    Equal seeds give equal noise.
    """
    changed = CORRUPTIONS[kind](images / 255.0, severity, np.random.default_rng([seed, severity]))
    return np.round(np.clip(changed, 0.0, 1.0) * 255.0).astype(np.uint8)


@dataclass(frozen=True)
class Corrupted:
    """Samples whose pictures are corrupted when they are asked for, for there is no room for all of them at once."""

    clean: Arrays
    kind: str
    severity: int
    seed: int

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, part: slice) -> Images:
        return corrupted(self.clean.images[part], self.kind, self.severity, seed=self.seed + part.start)

    @property
    def images(self) -> Corrupted:
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
    predictions = ask(task, answer, Corrupted(samples, kind, severity, config.seed), card, batch=BATCH)
    value = float(task.measure(predictions, np.ones((1, count)))[primary][0])
    spread = bootstrap.distribution(
        lambda weights: {primary: task.measure(predictions, weights)[primary]}, count, config.bootstrap, config.seed
    )
    return value, spread[primary]


def _mean(found: list[tuple[float, Floats]], confidence: float, unit: str) -> Figure:
    value = float(np.mean([each for each, _ in found]))
    spread: Floats = np.mean([spread for _, spread in found], axis=0)
    return figure(value, spread, confidence, unit)
