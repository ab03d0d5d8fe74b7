"""Percentile bootstrap over samples (Efron 1979): how far a figure would move on other data of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CHUNK = 100  # resamples held in memory at once: 100 × 10,000 samples are 8 MB


def resamples(samples: int, count: int, seed: int) -> Iterator[Floats]:
    """Multinomial weights `(≤ CHUNK, samples)`, `count` rows in total; equal seeds give equal weights."""
    random = np.random.default_rng(seed)
    for start in range(0, count, CHUNK):
        drawn = random.integers(0, samples, size=(min(CHUNK, count - start), samples))
        yield np.stack([np.bincount(row, minlength=samples) for row in drawn]).astype(np.float64)


def distribution(
    measure: Callable[[Floats], Mapping[str, Floats]], samples: int, count: int, seed: int
) -> dict[str, Floats]:
    """Every metric of `measure` under `count` resamples: name → `(count,)`."""
    chunks = [measure(weights) for weights in resamples(samples, count, seed)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def interval(values: Floats, confidence: float) -> tuple[float, float]:
    """The central `confidence` of the values; NaN where any value is NaN, for then the figure has no interval."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, [tail, 1.0 - tail])
    return float(low), float(high)
