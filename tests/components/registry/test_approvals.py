from __future__ import annotations

from collections.abc import Callable

import pytest

from components.artifacts import Decision, Evidence
from components.config.gates import ApprovalsGate
from components.registry import approvals, decisions, ledger
from components.registry.memory.tracking import Tracking
from components.registry.versions import RegistryError, aliases
from tests.components.registry.registry_builders import LIMITS, build_case

Register = Callable[..., tuple[int, Evidence]]


def stage(tracking: Tracking, version: int, evidence: Evidence, required: int) -> Decision:
    asked = ApprovalsGate(gate="approvals", required=required)
    return decisions.decide(tracking, "digits", version, build_case(evidence), [*LIMITS, asked])


def promote(tracking: Tracking, by: str = "Ada") -> Decision:
    return decisions.promote(tracking, "digits", "production", by, "it is better")


def test_two_people_approve_before_production_and_the_same_one_twice_is_one(
    tracking: Tracking, register_version: Register
) -> None:
    stage(tracking, *register_version(0), required=2)
    with pytest.raises(RegistryError, match=r"not ready for production: approvals \(approved by nobody: 0 of 2\)"):
        promote(tracking)
    # when one says it twice, written in two ways
    approvals.approve(tracking, "digits", "Grace", "looked at the report")
    approvals.approve(tracking, "digits", " grace ", "looked again")
    waiting = approvals.waiting(tracking, "digits")
    assert waiting is not None and (waiting.version, waiting.missing) == (1, 1)
    with pytest.raises(RegistryError, match="1 of 2"):
        promote(tracking)
    # and then another
    approvals.approve(tracking, "digits", "Katherine", "checked the figures", version=1)
    assert approvals.waiting(tracking, "digits") is None
    # then it goes, and the record has who approved and why
    (said,) = [verdict for verdict in promote(tracking).verdicts if verdict.gate == "approvals"]
    assert said.passed and said.value == 2 and "Katherine (checked the figures)" in said.reason
    told = [(each.action, each.by) for each in ledger.history(tracking, "digits")]
    people = [("approve", "Grace"), ("approve", "grace"), ("approve", "Katherine"), ("promote", "Ada")]
    assert told == [("pass", "gates"), *people]


def test_a_rejection_stands_in_the_way_until_who_said_it_says_otherwise(
    tracking: Tracking, register_version: Register
) -> None:
    stage(tracking, *register_version(0), required=1)
    approvals.approve(tracking, "digits", "Grace", "fine")
    approvals.reject(tracking, "digits", "Katherine", "the zeros look wrong")
    with pytest.raises(RegistryError, match=r"rejected by Katherine .*: the zeros look wrong"):
        promote(tracking)
    waiting = approvals.waiting(tracking, "digits")
    assert waiting is not None and waiting.rejected_by == ("Katherine",)
    approvals.approve(tracking, "digits", "Katherine", "they are written so in Spain")
    promote(tracking)
    assert aliases(tracking, "digits")["production"] == 1


def test_only_what_is_staged_and_passed_the_gates_can_be_approved_by_a_person_with_a_reason(
    tracking: Tracking, register_version: Register
) -> None:
    with pytest.raises(RegistryError, match="no staging version"):
        approvals.approve(tracking, "digits", "Grace", "fine")
    version, evidence = register_version(0)
    tracking.client.set_registered_model_alias("digits", "staging", str(version))  # around the gates
    with pytest.raises(RegistryError, match="never judged"):
        approvals.approve(tracking, "digits", "Grace", "fine")
    stage(tracking, version, evidence, required=1)
    for by, reason, says in (("gates", "fine", "name of a person"), ("", "fine", "name of"), ("Ada", " ", "reason:")):
        with pytest.raises(RegistryError, match=says):
            approvals.approve(tracking, "digits", by, reason)
    with pytest.raises(RegistryError, match="version 7 is not the one to approve: staging is version 1"):
        approvals.approve(tracking, "digits", "Grace", "fine", version=7)
    approvals.approve(tracking, "digits", "Grace", "fine")
    promote(tracking)
    with pytest.raises(RegistryError, match="in production already; the way back is"):
        approvals.reject(tracking, "digits", "Grace", "on second thoughts")


def test_a_form_that_is_sent_twice_is_recorded_once(tracking: Tracking, register_version: Register) -> None:
    stage(tracking, *register_version(0), required=1)
    first = approvals.approve(tracking, "digits", "Grace", "fine", source="prefect run 1")
    assert approvals.approve(tracking, "digits", "Grace", "fine", source="prefect run 1") == first
    assert len(ledger.history(tracking, "digits")) == 2


def test_after_a_roll_back_people_are_asked_anew(tracking: Tracking, register_version: Register) -> None:
    # given two versions in production one after the other, the second with an approval, and rolled back
    stage(tracking, *register_version(0), required=1)
    approvals.approve(tracking, "digits", "Grace", "fine")
    promote(tracking)
    version, evidence = register_version(1)
    asked = ApprovalsGate(gate="approvals", required=1)
    decisions.decide(tracking, "digits", version, build_case(evidence, production=1), [asked])
    approvals.approve(tracking, "digits", "Grace", "finer")
    promote(tracking)
    decisions.rollback(tracking, "digits", "Ada", "customers complain")
    # then the old approval does not bring it back
    with pytest.raises(RegistryError, match="approved by nobody"):
        decisions.promote(tracking, "digits", "production", "Ada", "again", despite_rollback=True)
