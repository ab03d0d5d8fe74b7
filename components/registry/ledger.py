"""Who was what, and why: the record of a model's decisions, replayed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.artifacts import Decision
from components.registry import record
from components.registry.listing import within
from components.registry.memory.tracking import Tracking
from components.registry.versions import PREVIOUS, PRODUCTION


@dataclass(frozen=True)
class Held:
    """A version that bore an alias, and the decision by which it did."""

    version: int
    decision: Decision


@dataclass(frozen=True)
class Ledger:
    """What was decided about a model up to a moment, and what bore which alias then.

    `candidate` is not in it: that is the version registered last, which nobody decides.
    """

    name: str
    at: str | None  # None: to this day
    decisions: tuple[Decision, ...]  # oldest first
    aliases: Mapping[str, Held]
    problems: Mapping[int, str] = field(default_factory=dict)  # which decision, and why its record cannot be read
    lost: tuple[str, ...] = ()  # records of which not even their tags say what was decided

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        held = {alias: {"version": each.version, **_why(each.decision)} for alias, each in sorted(self.aliases.items())}
        decisions = [
            {**decision.model_dump(mode="json"), "problem": self.problems.get(number)}
            for number, decision in enumerate(self.decisions)
        ]
        return {"model": self.name, "at": self.at, "aliases": held, "decisions": decisions, "lost": list(self.lost)}


def history(tracking: Tracking, name: str) -> list[Decision]:
    """Every decision about the model's versions that was carried out, oldest first."""
    return list(ledger(tracking, name).decisions)


def ledger(tracking: Tracking, name: str, at: str | None = None) -> Ledger:
    """The record up to a moment: ISO 8601; a bare date is the whole of that day (UTC).

    A decision whose file cannot be read is told by its run's tags. TrackingError where there were no lines of `name`.
    """
    limit = None if at is None else record.moment(at, end_of_day=True)
    tracking = within(tracking, name)
    decisions, problems, lost = list[Decision](), dict[int, str](), list[str]()
    for run in record.runs(tracking, name, "FINISHED"):
        decision, wrong = record.told(tracking, run)
        if decision is None:
            lost.append(str(wrong))
        elif limit is None or record.moment(decision.at) <= limit:
            if wrong is not None:
                problems[len(decisions)] = wrong
            decisions.append(decision)
    return Ledger(name, at, tuple(decisions), replay(decisions), problems, tuple(lost))


def in_production(tracking: Tracking, name: str, at: str) -> int | None:
    """The version that was in production at a moment, by the record; None before the first."""
    held = ledger(tracking, name, at).aliases.get(PRODUCTION)
    return held.version if held else None


def replay(decisions: Sequence[Decision]) -> dict[str, Held]:
    """Alias → what bears it after the decisions, given oldest first."""
    held: dict[str, Held] = {}
    superseded: dict[int, int | None] = {}
    taken_back: set[int] = set()
    for decision in decisions:
        if decision.alias is None:
            continue
        before = held.get(decision.alias)
        if decision.action == "retire":
            held.pop(PRODUCTION, None)
            held.pop(PREVIOUS, None)
            taken_back.add(decision.version)
            continue
        held[decision.alias] = Held(decision.version, decision)
        if decision.alias != PRODUCTION:
            continue
        if decision.action == "promote":
            superseded[decision.version] = before.version if before else None
            taken_back.discard(decision.version)
        elif before is not None:
            taken_back.add(before.version)
        earlier = predecessor(decision.version, superseded, taken_back)
        if earlier is None:
            held.pop(PREVIOUS, None)
        else:
            held[PREVIOUS] = Held(earlier, decision)
    return held


def predecessor(version: int, superseded: Mapping[int, int | None], gone: Collection[int]) -> int | None:
    """What the version took the place of in production, passing over versions that were taken back or deleted."""
    seen = {version}
    earlier = superseded.get(version)
    while earlier is not None and earlier not in seen:
        if earlier not in gone:
            return earlier
        seen.add(earlier)
        earlier = superseded.get(earlier)
    return None


def _why(decision: Decision) -> dict[str, Any]:
    return {
        "since": decision.at,
        "by": decision.by,
        "action": decision.action,
        "reason": decision.reason,
        "evidence": decision.evidence,
    }
