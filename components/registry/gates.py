"""What a version must hold to before it may be staged: pure functions from figures to verdicts.

Every gate runs and says what it saw, what it demands and why. They fail closed: a figure that is missing, is not a
number, or was measured on other data, another split or another artifact is a rejection that says which. Limits come
from `gates:` in the configuration; what follows from the verdicts is decided in `decisions`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from components.artifacts import Evidence, Figure, Verdict
from components.config import GatesConfig

LATENCY = "latency_ms"  # figure: median for one sample, one thread
SPLIT = "test"


@dataclass(frozen=True)
class Case:
    """What the gates judge: a version about to be staged, and what it is compared with."""

    artifact: str  # digest of the artifact that will be served
    data: str  # digest of the data every figure must come from
    evidence: Evidence | None  # of that artifact
    parent: Evidence | None  # of its float parent; of itself where the float network is what is served
    parent_artifact: str | None  # digest of that parent
    parity: float | None  # largest difference of a probability between PyTorch and the float ONNX graph
    production: int | None  # the version in production, None while there is none
    against_production: Figure | None  # `paired_difference` of the primary metric: this version less production
    higher_is_better: bool = True  # of the task's primary metric


def judge(case: Case, limits: GatesConfig) -> tuple[Verdict, ...]:
    """The verdict of every gate, in a fixed order."""
    return (
        floor(case, limits),
        worst_group(case, limits),
        production(case, limits),
        int8_drop(case, limits),
        latency(case, limits),
        parity(case, limits),
    )


def approved(verdicts: Sequence[Verdict]) -> bool:
    """Whether every gate passed. No verdict at all is no approval."""
    return bool(verdicts) and all(verdict.passed for verdict in verdicts)


def floor(case: Case, limits: GatesConfig) -> Verdict:
    """The whole interval of the primary metric lies on the good side of the floor: a point may be luck."""
    figure = _primary(case)
    if isinstance(figure, str):
        return _refused("floor", limits.floor, figure)
    bound = figure.low if case.higher_is_better else figure.high
    if bound is None or not math.isfinite(bound):
        return _refused("floor", limits.floor, "the primary metric has no interval", figure)
    return _judged("floor", bound, limits.floor, figure, above=case.higher_is_better, what="the interval's worse end")


def worst_group(case: Case, limits: GatesConfig) -> Verdict:
    """The primary metric of the worst group (or slice) reaches its limit."""
    problem = _problem(case.evidence, case.artifact, case.data, "this version")
    if problem or case.evidence is None:
        return _refused("worst_group", limits.worst_group, problem)
    figure = _figure(case.evidence, f"worst_group_{case.evidence.primary}")
    if isinstance(figure, str):
        return _refused("worst_group", limits.worst_group, figure)
    return _judged(
        "worst_group", figure.value, limits.worst_group, figure, above=case.higher_is_better, what="the worst group"
    )


def production(case: Case, limits: GatesConfig) -> Verdict:
    """On the same samples, at the worse end of the interval, the version is within the margin of production."""
    limit = -limits.production_margin if case.higher_is_better else limits.production_margin
    if case.production is None:
        reason = "nothing is in production to be compared with"
        return Verdict(gate="production", passed=True, value=None, limit=limit, reason=reason)
    problem = _problem(case.evidence, case.artifact, case.data, "this version")
    if problem:
        return _refused("production", limit, problem)
    figure = case.against_production
    if figure is None:
        return _refused("production", limit, f"version {case.production} is in production and was not compared with")
    bound = figure.low if case.higher_is_better else figure.high
    if bound is None or not math.isfinite(bound) or not math.isfinite(figure.value):
        return _refused("production", limit, "the difference from production is not a number with an interval", figure)
    what = f"the interval's worse end of the difference from version {case.production}"
    return _judged("production", bound, limit, figure, above=case.higher_is_better, what=what)


def int8_drop(case: Case, limits: GatesConfig) -> Verdict:
    """What is served loses at most so much of the primary metric against its float parent, on the same samples."""
    served, parent = _primary(case), case.parent
    if isinstance(served, str):
        return _refused("int8_drop", limits.int8_drop, served)
    problem = _problem(parent, case.parent_artifact, case.data, "its float parent")
    if problem or parent is None or case.evidence is None:
        return _refused("int8_drop", limits.int8_drop, problem)
    if (parent.primary, parent.samples) != (case.evidence.primary, case.evidence.samples):
        return _refused(
            "int8_drop",
            limits.int8_drop,
            f"the float parent was measured by {parent.primary} on {parent.samples} samples, "
            f"this version by {case.evidence.primary} on {case.evidence.samples}",
        )
    before = _figure(parent, parent.primary)
    if isinstance(before, str):
        return _refused("int8_drop", limits.int8_drop, f"its float parent: {before}")
    lost = before.value - served.value if case.higher_is_better else served.value - before.value
    return _judged("int8_drop", lost, limits.int8_drop, Figure(value=lost), above=False, what="the loss")


def latency(case: Case, limits: GatesConfig) -> Verdict:
    """One sample is answered within the limit, median, one thread."""
    problem = _problem(case.evidence, case.artifact, case.data, "this version")
    if problem or case.evidence is None:
        return _refused("latency", limits.latency_ms, problem)
    figure = _figure(case.evidence, LATENCY)
    if isinstance(figure, str):
        return _refused("latency", limits.latency_ms, figure)
    if figure.value <= 0:
        return _refused("latency", limits.latency_ms, f"figure {LATENCY!r} is {figure.value:g}, no time at all", figure)
    return _judged("latency", figure.value, limits.latency_ms, figure, above=False, what="the median in ms")


def parity(case: Case, limits: GatesConfig) -> Verdict:
    """The exported float graph answers what the trained network answers."""
    if case.parity is None:
        return _refused("parity", limits.parity, "the exported graph was not compared with the network")
    figure = Figure(value=case.parity)
    if not math.isfinite(case.parity) or case.parity < 0:
        return _refused("parity", limits.parity, f"the largest difference is {case.parity}, not a distance", figure)
    return _judged("parity", case.parity, limits.parity, figure, above=False, what="the largest difference")


def _problem(evidence: Evidence | None, artifact: str | None, data: str, whose: str) -> str:
    """Why this evidence must not be used, empty where it may be."""
    if evidence is None:
        return f"{whose} has no evidence"
    if artifact is None or evidence.model != artifact:
        expected = artifact[:12] if artifact else "an unknown one"
        return f"the evidence of {whose} was measured on artifact {evidence.model[:12]}, expected {expected}"
    if evidence.data != data:
        return f"the evidence of {whose} was measured on data {evidence.data[:12]}, expected {data[:12]}"
    if evidence.split != SPLIT:
        return f"the evidence of {whose} was measured on the {evidence.split} split, expected {SPLIT}"
    if evidence.samples < 1:
        return f"the evidence of {whose} was measured on no sample"
    return ""


def _primary(case: Case) -> Figure | str:
    problem = _problem(case.evidence, case.artifact, case.data, "this version")
    if problem or case.evidence is None:
        return problem
    return _figure(case.evidence, case.evidence.primary)


def _figure(evidence: Evidence, name: str) -> Figure | str:
    """The figure, or why there is none to be used."""
    figure = evidence.figures.get(name)
    if figure is None:
        return f"figure {name!r} is missing"
    if not math.isfinite(figure.value):
        return f"figure {name!r} is {figure.value}, not a number"
    return figure


def _judged(gate: str, value: float, limit: float, figure: Figure, *, above: bool, what: str) -> Verdict:
    passed = value >= limit if above else value <= limit
    sign = (">=" if above else "<=") if passed else ("<" if above else ">")
    return Verdict(
        gate=gate,
        passed=passed,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        limit=limit,
        reason=f"{what}: {value:.6g} {sign} {limit:g}",
    )


def _refused(gate: str, limit: float, reason: str, figure: Figure | None = None) -> Verdict:
    return Verdict(
        gate=gate,
        passed=False,
        value=figure.value if figure else None,
        low=figure.low if figure else None,
        high=figure.high if figure else None,
        limit=limit,
        reason=reason,
    )
