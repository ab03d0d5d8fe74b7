"""What the gates judge, and the figures in it that may be judged by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from components.artifacts import Evidence, Figure, Verdict
from components.data.drift.rule import DriftReport
from components.metrics.metric import Metric
from components.registry.gates.reuse import confidence_of, stretched

SPLIT = "test"
SUMS = {
    "": "",
    "either": "",
    "as run": " (int8 as run, which is worse than saturating)",
    "saturating": " (int8 saturating, as on x86 without VNNI, which is worse than as run)",
}


@dataclass(frozen=True)
class Case:
    """A version about to be staged, and what it is compared with."""

    artifact: str  # digest of the artifact that will be served
    data: str  # digest of the data every figure must come from
    test: str  # digest of its test split: evaluations on the same one are counted
    evidence: Evidence | None  # of that artifact
    confidence: float  # of the intervals in the evidence, and of `against_production`
    parent: Evidence | None  # of its float parent; of itself where the float network is what is served
    parent_artifact: str | None  # digest of that parent
    parity: float | None  # largest difference of a probability between PyTorch and the float ONNX graph
    production: int | None  # the version in production, None while there is none
    against_production: Figure | None  # `paired_difference` of the primary metric: this version less production
    drift: DriftReport | None  # the data, compared with what production was trained on
    newest: float | None  # when the newest sample was taken, seconds since 1970; None where the data has no times
    at: float  # the moment of the judgement, seconds since 1970
    unreadable: str | None = None  # why production's files cannot be compared with, and what can be done
    evaluations: int = 1  # versions that were judged on that test split, this one included
    challenges: int = 1  # versions that were judged against what is in production, on any test split; likewise
    metric: Metric = field(default=Metric("primary"))  # the task's primary metric
    class_metric: Metric | None = None  # of one class, by which cells are measured; None where the task has none

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the primary metric is better."""
        return self.metric.more


def problem(case: Case) -> str:
    """Why the version's evidence must not be used, empty where it may be."""
    return _problem(case, case.evidence, case.artifact, "this version")


def parent_problem(case: Case) -> str:
    """The same of its float parent's."""
    return _problem(case, case.parent, case.parent_artifact, "its float parent")


def measured(case: Case, name: str | None = None) -> Figure | str:
    """The named figure of the version's evidence, by default its primary metric; or why there is none to be used."""
    wrong = problem(case)
    if wrong or case.evidence is None:
        return wrong
    return finite(case.evidence, name or case.evidence.primary)


def finite(evidence: Evidence, name: str) -> Figure | str:
    """The figure, or why there is none to be used."""
    figure = evidence.figures.get(name)
    if figure is None:
        return f"metric {name!r} is missing"
    if not math.isfinite(figure.value):
        return f"metric {name!r} is {figure.value}, not a number"
    return figure


def bounded(case: Case, figure: Figure, what: str, *, above: bool, number: int = 1) -> tuple[Figure, float] | str:
    """The metric with its interval corrected for reuse of the test split, and its worse end; or why it has none.

    `number` is that of the attempt, where attempts are counted otherwise as well: the larger one counts.
    """
    if not math.isfinite(figure.value):
        return f"{what} is {figure.value}, not a number"
    if figure.low is None or figure.high is None or not math.isfinite(figure.low + figure.high):
        return f"{what} has no interval"
    corrected = stretched(figure, case.confidence, max(number, case.evaluations))
    end = corrected.low if above else corrected.high
    return f"{what} has no interval" if end is None else (corrected, end)


def said(case: Case, number: int = 1) -> str:
    """What a reader must know about an interval that was corrected; `number` as of `bounded`."""
    most = max(number, case.evaluations)
    if most == 1:
        return added_up(case)
    counted = f"evaluation {case.evaluations} on this test split"
    if number > case.evaluations:
        counted = f"challenger {number} of version {case.production}"
    return f"{added_up(case)} ({counted}: the interval of {confidence_of(case.confidence, most):.3%})"


def added_up(case: Case) -> str:
    """How int8 was added up in the figure that is judged, where that may be otherwise elsewhere."""
    return SUMS[case.evidence.sums] if case.evidence else ""


def judged(
    gate: str, value: float, limit: float, figure: Figure, *, above: bool, what: str, after: str = ""
) -> Verdict:
    """A verdict by comparison; `above` says on which side of the limit the value has to lie."""
    passed = value >= limit if above else value <= limit
    sign = (">=" if above else "<=") if passed else ("<" if above else ">")
    return Verdict(
        gate=gate,
        passed=passed,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        limit=limit,
        reason=f"{what}: {value:.6g} {sign} {limit:g}{after}",
    )


def refused(gate: str, limit: float, reason: str, figure: Figure | None = None) -> Verdict:
    """A failure for want of something to judge by."""
    return Verdict(
        gate=gate,
        passed=False,
        value=figure.value if figure else None,
        low=figure.low if figure else None,
        high=figure.high if figure else None,
        limit=limit,
        reason=reason,
    )


def _problem(case: Case, evidence: Evidence | None, artifact: str | None, whose: str) -> str:
    if evidence is None:
        return f"{whose} has no evidence"
    if artifact is None or evidence.model != artifact:
        expected = artifact[:12] if artifact else "an unknown one"
        of = f"artifact {evidence.model[:12]}"
        if artifact == case.artifact and evidence.model == case.parent_artifact:
            of = f"its float parent, artifact {evidence.model[:12]}"
        return f"the evidence of {whose} was measured on {of}, expected {expected}"
    if evidence.data != case.data:
        return f"the evidence of {whose} was measured on data {evidence.data[:12]}, expected {case.data[:12]}"
    if evidence.split != SPLIT:
        return f"the evidence of {whose} was measured on the {evidence.split} split, expected {SPLIT}"
    if evidence.samples < 1:
        return f"the evidence of {whose} was measured on no sample"
    return ""
