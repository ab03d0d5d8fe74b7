"""The gate that people are: how many approve of a version before it goes into production."""

from __future__ import annotations

from collections.abc import Sequence

from components.artifacts import Decision, Verdict
from components.config.gates import ApprovalsGate
from components.registry.gates.case import Case

APPROVALS = "approvals"


def approvals(case: Case, gate: ApprovalsGate) -> Verdict:
    """What will be asked for: a version is judged before anybody has seen it, so nothing is held against it yet."""
    people = "a person" if gate.required == 1 else f"{gate.required} people"
    reason = f"staging needs none; production needs {people} to approve"
    return Verdict(gate=gate.gate, passed=True, value=None, limit=gate.required, reason=reason)


def asked(verdict: Verdict, statements: Sequence[Decision]) -> Verdict:
    """The verdict for production: enough people approve, and nobody's last word is a rejection.

    `statements` are each person's last word on this version and its evidence.
    """
    approving = [each for each in statements if each.action == "approve"]
    against = [each for each in statements if each.action == "reject"]
    required = verdict.limit or 0
    said = ", ".join(f"{each.by} ({each.reason})" for each in approving) or "nobody"
    reason = f"approved by {said}: {len(approving)} of {required:g}"
    if against:
        reason = f"rejected by {', '.join(f'{each.by} ({each.reason})' for each in against)}"
    passed = len(approving) >= required and not against
    return verdict.model_copy(update={"passed": passed, "value": float(len(approving)), "reason": reason})
