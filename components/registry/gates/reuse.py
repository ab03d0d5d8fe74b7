"""How many challengers may be evaluated on one test split before one passes by luck, and what that asks of the n-th.

The n-th evaluation on a split is judged by the interval of confidence 1 - 2(1 - c) / (n(n + 1)), c being that of the
first. One end of such an interval is passed by luck with probability (1 - c) / (n(n + 1)); over all n these add up to
1 - c (Bonferroni, spent unequally). So at 95 % the probability that any of a row of challengers that are no better than
the limit passes is at most 5 %, however long the row and whatever they have in common; the first is judged by the
interval as it was measured. Equal shares (1 - c) / n would not do: nobody knows beforehand how many evaluations there
will be, and the sum over n grows without end. It does not hold for challengers made by looking at the test split's
samples.

The comparison with production is counted otherwise as well: the n-th challenger of one version in production is judged
as an n-th evaluation whatever its test split is. A loop that trains on new data every night has a new test split each
time, and would be a first evaluation each time; so its chances of luck add up to 1 - c over all nights in which that
version is in production. Procedures for the false discovery rate (LORD, SAFFRON; Ramdas et al. 2017) would spend
more on each, and control another thing: a share of promotions that are false. Here one false promotion is the harm.

Intervals come from a thousand resamples, which cannot tell a quantile of 0.0003 from none: the ends are moved away
from the figure by the ratio of the normal distribution's quantiles, which keeps an interval's skewness.
"""

from __future__ import annotations

from statistics import NormalDist

from components.artifacts import Figure


def confidence_of(confidence: float, evaluations: int) -> float:
    """Of the interval that the n-th evaluation is judged by."""
    if evaluations < 1:
        raise ValueError(f"evaluations: expected 1 for the first, received {evaluations}")
    return 1.0 - 2.0 * (1.0 - confidence) / (evaluations * (evaluations + 1))


def stretched(figure: Figure, confidence: float, evaluations: int) -> Figure:
    """A figure with an interval of `confidence` as one with that of the n-th evaluation; the first is as it was."""
    if evaluations == 1 or figure.low is None or figure.high is None:
        return figure
    ratio = _reach(confidence_of(confidence, evaluations)) / _reach(confidence)
    return figure.model_copy(
        update={
            "low": figure.value - ratio * (figure.value - figure.low),
            "high": figure.value + ratio * (figure.high - figure.value),
        }
    )


def _reach(confidence: float) -> float:
    """Standard deviations from the middle to either end of a normal distribution's central interval."""
    return -NormalDist().inv_cdf((1.0 - confidence) / 2.0)
