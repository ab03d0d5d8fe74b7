"""How much members differ: how often they disagree, and how much their errors have in common.

An ensemble gains by members that err on different samples; figures of pairs say which do (Kuncheva & Whitaker 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from components.compress.ensembling.answers import Floats, Said


@dataclass(frozen=True)
class Diversity:
    """Of K members, over all scored units."""

    disagreement: Floats  # (K, K) share of the units that two members answer differently; 0 on the diagonal
    # (K, K) correlation of "is wrong" (phi); NaN beside a member that is never or always wrong.
    error_correlation: Floats

    @property
    def mean_disagreement(self) -> float:
        """Over all pairs; NaN for a single member."""
        return _mean_of_pairs(self.disagreement)

    @property
    def mean_error_correlation(self) -> float:
        """Over all pairs; NaN where that of any pair is."""
        return _mean_of_pairs(self.error_correlation)


def diversity(said: Sequence[Said], targets: npt.NDArray[np.integer]) -> Diversity:
    """Of members that answered on the same samples, whose truths `targets` are `(N,)` or `(N, H, W)`."""
    answers = np.stack([each.classes.ravel() for each in said])
    wrong = answers != targets.ravel()
    differ = np.array([[float((one != other).mean()) for other in answers] for one in answers])
    rate = wrong.mean(axis=1)
    both = np.array([[float((one & other).mean()) for other in wrong] for one in wrong])
    spread = np.sqrt(rate * (1 - rate))
    scale = np.outer(spread, spread)
    correlation = np.divide(both - np.outer(rate, rate), scale, out=np.full(scale.shape, np.nan), where=scale > 0)
    return Diversity(differ, correlation)


def _mean_of_pairs(figures: Floats) -> float:
    pairs = figures[np.triu_indices(len(figures), k=1)]
    return float(pairs.mean()) if len(pairs) else float("nan")
