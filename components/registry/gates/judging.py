"""From the configured gates to their verdicts: when a version is judged, and again when it goes into production."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from components.artifacts import Decision, Verdict
from components.config.gates import (
    ApprovalsGate,
    BaselineGate,
    CalibrationGate,
    CeilingGate,
    DriftGate,
    FloorGate,
    FreshnessGate,
    Gate,
    Int8DropGate,
    LatencyGate,
    ParityGate,
    ProductionGate,
    RobustnessGate,
    SizeGate,
    WorstGroupGate,
)
from components.members import GATES
from components.registry.gates import cost, data, people, quality
from components.registry.gates.case import Case

JUDGES: dict[type[Any], Callable[[Case, Any], Verdict]] = {
    FloorGate: quality.floor,
    CeilingGate: quality.ceiling,
    WorstGroupGate: quality.worst_group,
    CalibrationGate: quality.calibration,
    RobustnessGate: quality.robustness,
    ProductionGate: quality.production,
    BaselineGate: quality.baseline,
    Int8DropGate: cost.int8_drop,
    ParityGate: cost.parity,
    LatencyGate: cost.latency,
    SizeGate: cost.size,
    DriftGate: data.drift,
    FreshnessGate: data.freshness,
    ApprovalsGate: people.approvals,
}


def judge(case: Case, gates: Sequence[Gate]) -> tuple[Verdict, ...]:
    """The verdict of every gate, in their order; of one that another package adds, its own `judge` says it."""
    return tuple((JUDGES.get(type(gate)) or GATES.load(gate.gate).judge)(case, gate) for gate in gates)


def passed(verdicts: Sequence[Verdict]) -> bool:
    """Whether every gate passed. No verdict at all is no pass."""
    return bool(verdicts) and all(verdict.passed for verdict in verdicts)


def at_promotion(verdicts: Sequence[Verdict], days: float, statements: Sequence[Decision]) -> tuple[Verdict, ...]:
    """The verdicts of a version's judgement `days` later, with what people have said since.

    What was demanded stands in the verdicts themselves: a limit changed in `params.yaml` since does not count.
    """
    again: dict[str, Callable[[Verdict], Verdict]] = {
        data.FRESHNESS: lambda verdict: data.later(verdict, days),
        people.APPROVALS: lambda verdict: people.asked(verdict, statements),
    }
    return tuple(again[verdict.gate](verdict) if verdict.gate in again else verdict for verdict in verdicts)
