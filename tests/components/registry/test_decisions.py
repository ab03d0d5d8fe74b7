from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from components.artifacts import Decision, Evidence, Figure
from components.registry import chain, decisions, ledger, record
from components.registry.memory.store import local_path
from components.registry.memory.tracking import Tracking
from components.registry.versions import RegistryError, aliases, production_reference, version_tags
from tests.components.registry.registry_builders import LIMITS, build_case, build_evidence, drift_report

Register = Callable[..., tuple[int, Evidence]]


def judge(tracking: Tracking, version: int, evidence: Evidence) -> Decision:
    rival = aliases(tracking, "digits").get("production")
    even = None if rival in (None, version) else Figure(value=0.0, low=-0.001, high=0.001)
    case = build_case(
        evidence,
        production=rival if even else None,
        against_production=even,
        drift=drift_report(0.0 if even else None),
    )
    return decisions.decide(tracking, "digits", version, case, LIMITS)


def promote(tracking: Tracking, **options: Any) -> Decision:
    return decisions.promote(tracking, "digits", "production", "Ada", "it is better", **options)


def rollback(tracking: Tracking) -> Decision:
    return decisions.rollback(tracking, "digits", "Ada", "customers complain")


def test_versions_go_up_and_come_back_and_the_record_tells(tracking: Tracking, register_version: Register) -> None:
    # given three versions promoted one after the other
    for seed in range(3):
        version, evidence = register_version(seed)
        assert judge(tracking, version, evidence).action == "pass"
        promote(tracking)
    assert aliases(tracking, "digits") == {"candidate": 3, "staging": 3, "production": 3, "previous": 2}
    # when the last is rolled back, then the one before it
    between = record.now()
    assert rollback(tracking).version == 2
    assert aliases(tracking, "digits") == {"candidate": 3, "staging": 3, "production": 2, "previous": 1}
    assert production_reference(tracking, "digits")["seed"].tolist() == [1, 1]  # type: ignore[index]
    assert "customers complain" in version_tags(tracking, "digits", 3)["convoy.rolled_back"]
    rollback(tracking)
    assert aliases(tracking, "digits") == {"candidate": 3, "staging": 3, "production": 1}
    # then there is nothing further back, and what was taken back returns on purpose only
    with pytest.raises(RegistryError, match="nothing to go back to"):
        rollback(tracking)
    with pytest.raises(RegistryError, match="was rolled back"):
        promote(tracking)
    # it was compared with version 2, which is not in production any more
    with pytest.raises(
        RegistryError, match=r"compared with version 2 in production, where version 1 is now \(roll back"
    ):
        promote(tracking, despite_rollback=True)
    judge(tracking, version, evidence)
    promote(tracking, despite_rollback=True)
    assert aliases(tracking, "digits") == {"candidate": 3, "staging": 3, "production": 3, "previous": 1}
    # and the record says what was in production when
    told = [(decision.action, decision.version) for decision in ledger.history(tracking, "digits")]
    assert told == [
        ("pass", 1), ("promote", 1), ("pass", 2), ("promote", 2), ("pass", 3), ("promote", 3),
        ("roll back", 2), ("roll back", 1), ("pass", 3), ("promote", 3),
    ]  # fmt: skip
    assert ledger.in_production(tracking, "digits", between) == 3
    assert ledger.in_production(tracking, "digits", ledger.history(tracking, "digits")[0].at) is None


def test_what_gates_said_in_the_words_of_earlier_releases_is_understood(
    tracking: Tracking, register_version: Register
) -> None:
    version, evidence = register_version(0)
    judge(tracking, version, evidence)
    failed, bad = register_version(1, accuracy=0.5)
    judge(tracking, failed, bad)
    for run in record.runs(tracking, "digits", "FINISHED"):
        earlier = {"pass": "approve", "fail": "reject"}[run.tags["convoy.action"]]
        tracking.log_tags(run.id, {"convoy.action": earlier})
        place = local_path(run.artifacts)
        assert place is not None
        content = json.loads((place / record.FILE).read_text(encoding="utf-8"))
        content |= {"action": earlier, "tries": content.pop("test_evaluations")}
        (place / record.FILE).write_text(json.dumps(content), encoding="utf-8")
        for tag in (chain.NUMBER, chain.BEFORE, chain.ENTRY):  # they had no chain
            tracking.client.delete_tag(run.id, tag)
    for tag in (chain.LEDGER, chain.HEAD):
        tracking.client.delete_registered_model_tag("digits", tag)
    (tracking.root / chain.SEEN).unlink()
    assert [each.action for each in ledger.history(tracking, "digits")] == ["pass", "fail"]
    with pytest.raises(RegistryError, match="failed the gates"):
        decisions.promote(tracking, "digits", "staging", "Ada", "all the same")
    assert judge(tracking, failed, bad).test_evaluations == 2  # both are counted, and the second is known
    assert promote(tracking, version=version).version == version


def test_a_version_that_failed_is_recorded_and_goes_nowhere(tracking: Tracking, register_version: Register) -> None:
    good, evidence = register_version(0)
    judge(tracking, good, evidence)
    bad, evidence = register_version(1, accuracy=0.5)
    decision = judge(tracking, bad, evidence)
    assert decision.action == "fail" and "floor" in decision.reason
    assert aliases(tracking, "digits") == {"candidate": bad, "staging": good}
    assert ledger.history(tracking, "digits")[-1].version == bad
    with pytest.raises(RegistryError, match=f"version {bad} failed the gates"):
        decisions.promote(tracking, "digits", "staging", "Ada", "please")


def test_promotion_needs_an_approval_of_that_very_version(tracking: Tracking, register_version: Register) -> None:
    with pytest.raises(RegistryError, match="no staging version"):
        promote(tracking)
    version, _ = register_version(0)
    tracking.client.set_registered_model_alias("digits", "staging", str(version))  # around the gates
    with pytest.raises(RegistryError, match="never judged"):
        promote(tracking)
    with pytest.raises(RegistryError, match="expected one of staging, production"):
        decisions.promote(tracking, "digits", "previous", "Ada", "why not")


def test_promoting_what_is_there_already_is_refused(tracking: Tracking, register_version: Register) -> None:
    judge(tracking, *register_version(0))
    promote(tracking)
    with pytest.raises(RegistryError, match="in production already"):
        promote(tracking)
    with pytest.raises(RegistryError, match="in staging already"):
        decisions.promote(tracking, "digits", "staging", "Ada", "again")


def test_the_same_judgement_is_recorded_once(tracking: Tracking, register_version: Register) -> None:
    version, evidence = register_version(0)
    assert judge(tracking, version, evidence) == judge(tracking, version, evidence)
    assert len(ledger.history(tracking, "digits")) == 1


def test_each_artifact_is_one_try_at_a_test_split_and_keeps_its_number(
    tracking: Tracking, register_version: Register
) -> None:
    first, evidence = register_version(0)
    assert judge(tracking, first, evidence).test_evaluations == 1
    failed, bad = register_version(1, accuracy=0.5)
    assert judge(tracking, failed, bad).test_evaluations == 2  # failures count
    third, good = register_version(2)
    said = judge(tracking, third, good)
    assert said.test_evaluations == 3 and "evaluation 3 on this test split" in said.reason
    # judged again against another production, the first is still the first
    promote(tracking)
    assert judge(tracking, first, evidence).test_evaluations == 1
    # and other samples begin anew
    case = build_case(good, test="0" * 64)
    assert decisions.decide(tracking, "digits", third, case, LIMITS).test_evaluations == 1


def test_a_comparison_with_what_is_not_in_production_any_more_is_not_a_judgement(
    tracking: Tracking, register_version: Register
) -> None:
    judge(tracking, *register_version(0))
    promote(tracking)
    version, evidence = register_version(1)
    with pytest.raises(RegistryError, match="compared with nothing in production, where version 1 is now"):
        decisions.decide(tracking, "digits", version, build_case(evidence), LIMITS)


def test_who_means_another_version_than_the_one_that_is_staged_is_told(
    tracking: Tracking, register_version: Register
) -> None:
    judge(tracking, *register_version(0))
    judge(tracking, *register_version(1))
    with pytest.raises(RegistryError, match=r"version 1 is not what would be promoted: staging is version 2 \(pass"):
        promote(tracking, version=1)
    assert promote(tracking, version=2).version == 2


def test_a_judgement_on_other_evidence_is_refused(tracking: Tracking, register_version: Register) -> None:
    version, evidence = register_version(0)
    with pytest.raises(RegistryError, match="judge the evidence"):
        judge(tracking, version, build_evidence(evidence.model, 0.99))


@pytest.mark.parametrize("moved", [False, True])
def test_a_decision_cut_short_is_completed_if_its_alias_moved_and_struck_out_if_not(
    tracking: Tracking, register_version: Register, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    # given a promotion that dies just before, or just after, the alias moves
    judge(tracking, *register_version(0))
    promote(tracking)
    judge(tracking, *register_version(1))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(decisions, "_follow" if moved else "_move", die)
        with pytest.raises(KeyboardInterrupt):
            promote(tracking)
    # when somebody looks after it
    assert len(decisions.settle(tracking, "digits")) == 1
    # then record and aliases agree
    last = ledger.history(tracking, "digits")[-1]
    assert (last.action, last.version) == (("promote", 2) if moved else ("pass", 2))
    named = aliases(tracking, "digits")
    assert (named["production"], named.get("previous")) == ((2, 1) if moved else (1, None))
    assert ledger.in_production(tracking, "digits", record.now()) == named["production"]
