"""Gates on how good the answers are.

All but the worst group judge intervals, corrected for reuse of the test split: a point is luck.
"""

from __future__ import annotations

from components.artifacts import Figure, Verdict
from components.config.gates import (
    BaselineGate,
    CalibrationGate,
    CeilingGate,
    FloorGate,
    ProductionGate,
    RobustnessGate,
    WorstGroupGate,
    label,
)
from components.registry.gates.case import Case, added_up, bounded, judged, measured, problem, refused, said

CALIBRATION = "calibration_error"  # figure: expected calibration error


def floor(case: Case, gate: FloorGate) -> Verdict:
    """The whole interval lies on the good side of the limit."""
    above = case.higher_is_better or gate.metric is not None
    return _interval(case, label(gate), gate.metric, gate.limit, above=above)


def ceiling(case: Case, gate: CeilingGate) -> Verdict:
    """The same for a metric of which less is better."""
    return _interval(case, label(gate), gate.metric, gate.limit, above=False)


def calibration(case: Case, gate: CalibrationGate) -> Verdict:
    """Probabilities are as often right as they say."""
    return _interval(case, gate.gate, CALIBRATION, gate.limit, above=False)


def robustness(case: Case, gate: RobustnessGate) -> Verdict:
    """Pictures that are not as clean as the training data are borne well enough."""
    name = f"robustness_{case.evidence.primary}" if case.evidence else None
    return _interval(case, gate.gate, name, gate.limit, above=case.higher_is_better)


def worst_group(case: Case, gate: WorstGroupGate) -> Verdict:
    """The primary metric of the worst group (or slice) reaches its limit.

    Judged at the point: the least of several uncertain figures is too low on average already, and small groups would
    be judged by their size.
    """
    figure = measured(case, f"worst_group_{case.evidence.primary}" if case.evidence else None)
    if isinstance(figure, str):
        return refused(gate.gate, gate.limit, figure)
    return judged(
        gate.gate,
        figure.value,
        gate.limit,
        figure,
        above=case.higher_is_better,
        what="the worst group",
        after=added_up(case),
    )


def production(case: Case, gate: ProductionGate) -> Verdict:
    """On the same samples, at the worse end of the interval, the version is within the margin of production."""
    limit = -gate.margin if case.higher_is_better else gate.margin
    if case.production is None:
        reason = "nothing is in production to be compared with"
        return Verdict(gate=gate.gate, passed=True, value=None, limit=limit, reason=reason)
    wrong = problem(case)
    if wrong:
        return refused(gate.gate, limit, wrong)
    if case.unreadable is not None:
        reason = f"version {case.production} is in production and cannot be read: {case.unreadable}"
        return refused(gate.gate, limit, reason)
    figure = case.against_production
    if figure is None:
        reason = f"version {case.production} is in production and was not compared with"
        return refused(gate.gate, limit, reason)
    what, above = f"the difference from version {case.production}", case.higher_is_better
    return _bound(case, gate.gate, figure, limit, what, above, number=case.challenges)


def baseline(case: Case, gate: BaselineGate) -> Verdict:
    """What the network has learnt is worth more than what a simple model learns from the same samples."""
    name = f"ahead_of_{gate.baseline}"
    figure = measured(case, name)
    if isinstance(figure, str):
        return refused(label(gate), gate.margin, f"{figure}: name {gate.baseline} among line.evaluate.baselines")
    return _bound(
        case, label(gate), figure, gate.margin, f"how far it is ahead of baseline {gate.baseline}", above=True
    )


def _interval(case: Case, gate: str, name: str | None, limit: float, *, above: bool) -> Verdict:
    figure = measured(case, name)
    if isinstance(figure, str):
        return refused(gate, limit, figure)
    return _bound(case, gate, figure, limit, name or "the primary metric", above)


def _bound(case: Case, gate: str, figure: Figure, limit: float, what: str, above: bool, *, number: int = 1) -> Verdict:
    found = bounded(case, figure, what, above=above, number=number)
    if isinstance(found, str):
        return refused(gate, limit, found, figure)
    corrected, end = found
    return judged(gate, end, limit, corrected, above=above, what=f"the worse end of {what}", after=said(case, number))
