"""What people say about a staged version before it goes into production: they approve or reject it, with a reason.

A statement is a decision on the record, tied to the evidence it was given on. Everybody's last word counts, once.
Names are taken as they are given: whoever may write to the store may speak for anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from components import offered
from components.artifacts import Decision
from components.registry import decisions, obstacles, record
from components.registry.gates.people import APPROVALS, asked
from components.registry.listing import within
from components.registry.memory.tracking import Run, Tracking
from components.registry.versions import EVIDENCE, PRODUCTION, STAGING, RegistryError, aliases, locked, version_tags


@dataclass(frozen=True)
class Waiting:
    """A staged version that people have to approve before it can go into production."""

    name: str
    version: int
    required: int
    approved_by: tuple[str, ...]
    rejected_by: tuple[str, ...]

    @property
    def missing(self) -> int:
        """Approvals that are still to be given; 0 where somebody's rejection is what is in the way."""
        return max(0, self.required - len(self.approved_by))


def approve(
    tracking: Tracking, name: str, by: str, reason: str, *, version: int | None = None, source: str = ""
) -> Decision:
    """Record that a person approves of the staged version for production.

    `version` is the one that is meant, where another may have been staged meanwhile. Only what has passed the gates can
    be approved. What came through the same `source` (a form that may be sent twice) is recorded once.
    """
    return _state(tracking, name, "approve", by, reason, version, source)


def reject(
    tracking: Tracking, name: str, by: str, reason: str, *, version: int | None = None, source: str = ""
) -> Decision:
    """Record that a person rejects the staged version: it does not go into production while that is their last word."""
    return _state(tracking, name, "reject", by, reason, version, source)


def waiting(tracking: Tracking, name: str) -> Waiting | None:
    """The staged version, where people's approval is what it waits for; None where there is nothing to be said.

    RegistryError where what was decided about it cannot be read.
    """
    version = staged(aliases(tracking, name))
    return None if version is None else _waiting(within(tracking, name), name, version, None)


def waiting_everywhere(
    tracking: Tracking,
    places: Sequence[Tracking],
    models: Mapping[str, Mapping[str, int]],
    decided: Mapping[str, Sequence[Run]] | None = None,
) -> dict[str, Waiting | str]:
    """Model → what `waiting` says, or why that is not known; for models by their aliases, in one request for all.

    In none where the records are `decided` (`record.everywhere`).
    """
    open_ones = {name: version for name, named in models.items() if (version := staged(named)) is not None}
    if decided is None:
        decided = record.everywhere(tracking, places) if open_ones else {}
    found: dict[str, Waiting | str] = {}
    for name, version in open_ones.items():
        try:
            said = _waiting(tracking, name, version, decided.get(name, []))
        except RegistryError as error:
            found[name] = str(error)
        else:
            found |= {name: said} if said is not None else {}
    return found


def staged(named: Mapping[str, int]) -> int | None:
    """The staged version by a model's aliases; None where there is none, or where it is in production."""
    version = named.get(STAGING)
    return None if version == named.get(PRODUCTION) else version


def _waiting(tracking: Tracking, name: str, version: int, known: Sequence[Run] | None) -> Waiting | None:
    judgement = record.judgement(tracking, name, version, known)
    if judgement is None or judgement.action != "pass" or judgement.evidence is None:
        return None
    said = record.statements(tracking, name, version, judgement.evidence, known)
    gate = next((verdict for verdict in judgement.verdicts if verdict.gate == APPROVALS), None)
    against = tuple(each.by for each in said if each.action == "reject")
    if not against and (gate is None or asked(gate, said).passed):
        return None
    approving = tuple(each.by for each in said if each.action == "approve")
    return Waiting(name, version, int(gate.limit or 0) if gate else 0, approving, against)


def _state(
    tracking: Tracking,
    name: str,
    action: Literal["approve", "reject"],
    by: str,
    reason: str,
    meant: int | None,
    source: str,
) -> Decision:
    tracking = within(tracking, name)
    with locked(tracking.root):
        decisions.settle(tracking, name)
        if source and (heard := record.runs(tracking, name, "FINISHED", source=source)):
            return record.read(tracking, heard[-1])
        named = aliases(tracking, name)
        version = named.get(STAGING)
        if version is None:
            raise RegistryError(f"{name} has no staging version to {action}; run the pipeline first")
        if meant not in (None, version):
            raise RegistryError(f"{name} version {meant} is not the one to {action}: staging is version {version}")
        if named.get(PRODUCTION) == version:
            back = offered.command("convoy", "rollback", name, "--reason", "…")
            raise RegistryError(f"{name} version {version} is in production already; the way back is `{back}`")
        if action == "approve":
            obstacles.passed(tracking, name, version)
            obstacles.require_whole(tracking, name, version)
        decision = Decision(
            action=action,
            name=name,
            version=version,
            alias=None,
            by=record.person(by),
            at=record.now(),
            reason=record.worded(reason),
            evidence=version_tags(tracking, name, version).get(EVIDENCE),
        )
        decisions.carry_out(tracking, decision, {record.SOURCE: source} if source else None)
        return decision
