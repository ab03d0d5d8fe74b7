"""Gates on the data behind a version: whether it is still the same kind of data, and whether it is recent."""

from __future__ import annotations

import math

from components.artifacts import Figure, Verdict
from components.config.gates import DriftGate, FreshnessGate
from components.registry.gates.case import Case, judged, refused

DAY = 86_400.0  # seconds
FRESHNESS = "freshness"


def drift(case: Case, gate: DriftGate) -> Verdict:
    """At most so many of the data's columns have moved away from what the production model was trained on."""
    report = case.drift
    if report is None:
        return refused(gate.gate, gate.limit, "the data was not compared with what production was trained on")
    if not report.reference:
        if case.production is None:
            return Verdict(gate=gate.gate, passed=True, value=None, limit=gate.limit, reason=report.message)
        return refused(gate.gate, gate.limit, f"version {case.production} is in production, and {report.message}")
    if report.share is None or not math.isfinite(report.share):
        return refused(gate.gate, gate.limit, f"the share of drifted columns is {report.share}, not a number")
    what = f"{report.message}; share of columns"
    return judged(gate.gate, report.share, gate.limit, Figure(value=report.share), above=False, what=what)


def freshness(case: Case, gate: FreshnessGate) -> Verdict:
    """The newest sample was taken at most so many days ago."""
    if case.newest is None or not math.isfinite(case.newest):
        reason = "the data set does not say when its samples were taken; its source needs a column `time`"
        return refused(gate.gate, gate.days, reason)
    age = (case.at - case.newest) / DAY
    if age < 0:
        reason = f"the newest sample was taken {-age:.1f} days from now: its time is wrong"
        return refused(gate.gate, gate.days, reason, Figure(value=age))
    return _aged(age, gate.days)


def later(verdict: Verdict, days: float) -> Verdict:
    """The same verdict so many days after it was given: data grows older while a version waits."""
    if verdict.value is None or verdict.limit is None or not verdict.passed:
        return verdict
    return _aged(verdict.value + days, verdict.limit)


def _aged(age: float, limit: float) -> Verdict:
    return judged(FRESHNESS, age, limit, Figure(value=age), above=False, what="days since the newest sample was taken")
