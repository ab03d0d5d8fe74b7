"""Gates on how good the answers are.

They judge intervals, corrected for reuse of the test split: a point is luck. A metric of whole groups alone is judged
at the point.
"""

from __future__ import annotations

from collections.abc import Sequence

from components import texts
from components.artifacts import CellFigure, Evidence, Figure, Verdict
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
from components.metrics.metric import Metric
from components.registry.gates.case import Case, added_up, bounded, judged, measured, problem, refused, said

NAMED = 3  # cells that miss the limit beside the worst, by name
# What would help, of a class in a group.
WEAK = "It is weak there: more such samples to learn from would help, or training.imbalance"
UNSURE = "It may be as good as that: more such samples in the test split would tell"
FEW = (
    "More test samples would help; gates.worst_group.by: group judges whole groups, which hides a class that is missed"
)

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
    """The worst class of the worst group (or slice) reaches the limit; where a task has no such metric, the group."""
    if gate.by == "group" or (gate.by is None and case.class_metric is None):
        return _worst_of_groups(case, gate)
    wrong = problem(case)
    if not wrong and case.class_metric is None:
        wrong = "the task has no metric of single classes: `by: group` judges whole groups"
    if wrong or case.evidence is None or case.class_metric is None:
        return refused(gate.gate, gate.limit, wrong)
    if not case.evidence.cells:
        return refused(gate.gate, gate.limit, "there are neither groups nor slices in which classes were measured")
    return _worst_of_cells(case, gate, case.evidence, case.class_metric)


def _worst_of_cells(case: Case, gate: WorstGroupGate, evidence: Evidence, metric: Metric) -> Verdict:
    """Every class in every group that has samples enough reaches the limit, at the worse end of its interval.

    One cell that is worse than the limit passes by luck no more often than its own interval says, and all cells have to
    pass: however many there are, the chance that a version with such a cell passes does not grow (intersection-union
    test, Berger 1982). So the intervals are not widened for their number.
    """
    ends = []
    for cell in evidence.cells:
        if cell.figure is None:
            continue
        found = bounded(case, cell.figure, f"{metric.name} of {_named(cell)}", above=metric.more)
        if isinstance(found, str):
            return refused(gate.gate, gate.limit, found, cell.figure)
        ends.append((cell, *found))
    withheld = _withheld(evidence)
    if not ends:
        return refused(gate.gate, gate.limit, f"nothing can be judged{withheld}. {FEW}")
    ends.sort(key=lambda each: metric.sign * each[2])
    (cell, corrected, end), *others = ends
    what = (
        f"the worse end of {metric.name} of {_named(cell)}, the worst of {len(ends)} "
        f"({corrected.value:.4g} of {cell.samples} samples)"
    )
    short = [_named(each) for each, _, other in others if metric.beats(gate.limit, other)]
    after = said(case) + _as_well(short) + withheld
    verdict = judged(gate.gate, end, gate.limit, corrected, above=metric.more, what=what, after=after)
    if verdict.passed:
        return verdict
    weak = metric.beats(gate.limit, corrected.value)
    return verdict.model_copy(update={"reason": f"{verdict.reason}. {WEAK if weak else UNSURE}"})


def _as_well(short: Sequence[str]) -> str:
    """Which other cells miss the limit, those named that do so by most."""
    more = f" and {len(short) - NAMED} more" if len(short) > NAMED else ""
    return f"; so do {', '.join(short[:NAMED])}{more}" if short else ""


def _worst_of_groups(case: Case, gate: WorstGroupGate) -> Verdict:
    """The primary metric of the worst group reaches the limit, at the point.

    The least of several uncertain figures is too low on average already, and small groups would be judged by their
    size.
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


def _named(cell: CellFigure) -> str:
    """A class and its group, for people: `defective in site B`."""
    column = cell.column.partition("_")[2] or cell.column
    where = f"{cell.together} groups of {column} together" if cell.together else f"{column} {cell.group}"
    return texts.shown(f"{cell.label} in {where}")


def _withheld(evidence: Evidence) -> str:
    """Of how many cells nothing is said of themselves, and of how many nothing at all; empty where there are none."""
    alone = [cell for cell in evidence.cells if not cell.together]
    small = [cell for cell in alone if cell.figure is None]
    if not small:
        return ""
    together = {(cell.column, cell.label) for cell in evidence.cells if cell.together}
    unknown = sum((cell.column, cell.label) not in together for cell in small)
    judged = f"{len(small) - unknown} judged with such groups together" if unknown < len(small) else ""
    lost = f"{unknown} not judged" if unknown else ""
    how = ", ".join(filter(None, (judged, lost)))
    return f"; withheld for fewer than {evidence.min_samples} samples: {len(small)} of {len(alone)} ({how})"


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
