"""How much members differ: how often or by how much they disagree, and how much their errors have in common.

An ensemble gains by members that err on different samples; figures of pairs say which do (Kuncheva & Whitaker 2003).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.compress.ensembling.answers import Floats, Said
from components.models.ensemble import Fuses


@dataclass(frozen=True)
class Diversity:
    """Of K members, over all scored units."""

    # (K, K) share of the units that two members answer differently; of numbers, the mean distance of their values, in
    # deviations. 0 on the diagonal.
    disagreement: Floats
    # (K, K) correlation of "is wrong" (phi); of numbers, of the errors (Pearson). NaN beside a member that is never or
    # always wrong, or off by the same throughout.
    error_correlation: Floats

    @property
    def mean_disagreement(self) -> float:
        """Over all pairs; NaN for a single member."""
        return _mean_of_pairs(self.disagreement)

    @property
    def mean_error_correlation(self) -> float:
        """Over all pairs; NaN where that of any pair is."""
        return _mean_of_pairs(self.error_correlation)


def diversity(said: Sequence[Said], targets: npt.NDArray[Any]) -> Diversity:
    """Of members that answered on the same samples, whose truths are `targets`."""
    return OF[said[0].fuses](said, targets)


def of_classes(said: Sequence[Said], targets: npt.NDArray[Any]) -> Diversity:
    """Of members that answer classes or labels: `targets` are `(N,)`, `(N, H, W)` or `(N, C)`."""
    judged = said[0].judged
    kept = slice(None) if judged is None else judged.ravel()
    answers = np.stack([each.answered.ravel()[kept] for each in said])
    wrong = answers != targets.ravel()[kept]
    differ = np.array([[float((one != other).mean()) for other in answers] for one in answers])
    rate = wrong.mean(axis=1)
    both = np.array([[float((one & other).mean()) for other in wrong] for one in wrong])
    spread = np.sqrt(rate * (1 - rate))
    scale = np.outer(spread, spread)
    correlation = np.divide(both - np.outer(rate, rate), scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return Diversity(differ, correlation)


def of_numbers(said: Sequence[Said], targets: npt.NDArray[Any]) -> Diversity:
    """Of members that answer numbers, whose errors say all about `targets`, `(N, V)`."""
    values = np.stack([each.answered.ravel() for each in said])
    errors = np.stack([each.units.ravel() for each in said])
    differ = np.array([[float(np.abs(one - other).mean()) for other in values] for one in values])
    centred = errors - errors.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centred).mean(axis=1))
    scale = np.outer(spread, spread)
    both = centred @ centred.T / errors.shape[1]
    return Diversity(differ, np.divide(both, scale, out=np.full(scale.shape, np.nan), where=scale > 0))


def of_objects(said: Sequence[Said], targets: npt.NDArray[Any]) -> Diversity:
    """Of members that answer boxes: each says whether a unit is right, which it always is to be."""
    return of_classes(said, np.ones(said[0].answered.shape, bool))


OF: dict[Fuses, Callable[[Sequence[Said], npt.NDArray[Any]], Diversity]] = {
    "probabilities": of_classes,
    "labels": of_classes,
    "numbers": of_numbers,
    "boxes": of_objects,
}


def _mean_of_pairs(figures: Floats) -> float:
    pairs = figures[np.triu_indices(len(figures), k=1)]
    return float(pairs.mean()) if len(pairs) else float("nan")
