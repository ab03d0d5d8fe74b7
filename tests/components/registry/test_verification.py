"""What shows where somebody has changed a ledger past Convoy, and what a person can do about it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.entities import RunTag

from components.artifacts import Decision, Evidence, Figure
from components.registry import chain, decisions, listing, record, verification
from components.registry.approvals import approve, reject
from components.registry.memory.store import local_path
from components.registry.memory.tracking import KIND, Run, Tracking, connect
from components.registry.verification import verify
from components.registry.versions import RegistryError
from tests.components.registry.conftest import registering
from tests.components.registry.registry_builders import LIMITS, build_case
from tests.components.registry.test_decisions import Register, judge, promote

NAME = "digits"


@pytest.fixture(scope="module")
def history(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two versions that went into production, the second approved by a person: five decisions."""
    root = tmp_path_factory.mktemp("history")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (root / ".convoy").mkdir()
        shutil.copy(empty_database, root / ".convoy" / "mlflow.db")
        tracking = connect(root, NAME)
        register = registering(tracking, root)
        judge(tracking, *register(0))
        promote(tracking)
        judge(tracking, *register(1))
        approve(tracking, NAME, "Grace", "the figures hold")
        promote(tracking)
    return root


@pytest.fixture
def decided(history: Path, tracking: Tracking) -> Tracking:
    """A copy of that project, in the test's own."""
    ours = tracking.root / ".convoy"
    database = history / ".convoy" / "mlflow.db"
    shutil.copytree(history / ".convoy", ours, dirs_exist_ok=True, ignore=shutil.ignore_patterns(database.name))
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(ours / database.name)) as target:
        source.backup(target)  # which those who have it open see
    return connect(tracking.root, NAME)


def records(tracking: Tracking) -> list[Run]:
    return record.every(tracking, NAME)


def file_of(run: Run) -> Path:
    folder = local_path(run.artifacts)
    assert folder is not None
    return folder / "decision.json"


def says(tracking: Tracking) -> list[str]:
    return [finding.says for finding in verify(tracking, NAME).findings]


def retag(tracking: Tracking, run: Run, **tags: str) -> None:
    entries = [RunTag(key.replace("__", "."), value) for key, value in tags.items()]
    tracking.client.log_batch(run.id, tags=entries)


def test_what_nobody_touched_is_whole(decided: Tracking) -> None:
    found = verify(decided, NAME)
    assert (found.whole, found.records, found.earlier) == (True, 5, 0)
    assert [chain.number(run) for run in records(decided)] == [1, 2, 3, 4, 5]
    # What a killed process leaves and what is settled belongs to it as well.
    decisions.rollback(decided, NAME, "Ada", "customers complain")
    decisions.retire(decided, NAME, "Ada", "and of this one too")
    assert verify(decided, NAME).whole


def an_approval_is_deleted(tracking: Tracking) -> str:
    tracking.client.delete_run(records(tracking)[3].id)
    return "decision 4 (approve version 2 by Grace) is gone"


def the_last_decision_is_deleted(tracking: Tracking) -> str:
    tracking.client.delete_run(records(tracking)[4].id)
    return "decision 5 (promote version 2 by Ada) is gone"


def a_reason_is_edited(tracking: Tracking) -> str:
    file = file_of(records(tracking)[3])
    said = json.loads(file.read_text())
    file.write_text(json.dumps(said | {"reason": "I was never asked"}))
    return "decision 4 (approve version 2 by Grace"


def a_tag_is_edited(tracking: Tracking) -> str:
    retag(tracking, records(tracking)[3], convoy__by="Ada")
    return "say something else than its file: convoy.by"


def a_file_is_deleted(tracking: Tracking) -> str:
    file_of(records(tracking)[1]).unlink()
    return "the file of decision 2"


def one_is_inserted(tracking: Tracking) -> str:
    """As an older release, or a script, would write one."""
    approval = records(tracking)[3]
    tags = {key: value for key, value in approval.tags.items() if not key.startswith("mlflow.")}
    tags = {key: value for key, value in tags.items() if key not in {chain.NUMBER, chain.BEFORE, chain.ENTRY}}
    made = tracking.start_run("approve", tags=tags | {record.BY: "Eve"})
    tracking.log_artifact(made, file_of(approval))
    tracking.finish(made)
    return "has no number, and others were made before it"


def two_are_reordered(tracking: Tracking) -> str:
    """So that the approval seems to have come after the promotion."""
    fourth, fifth = records(tracking)[3:]
    numbers = (chain.NUMBER, chain.BEFORE)
    for run, other in ((fourth, fifth), (fifth, fourth)):
        retag(tracking, run, **{key.replace(".", "__"): other.tags[key] for key in numbers})
    return "is not as it was written"


def one_is_copied(tracking: Tracking) -> str:
    """With its number and its entry, as a run of another project or experiment would be moved here."""
    approval = records(tracking)[3]
    tags = {key: value for key, value in approval.tags.items() if not key.startswith("mlflow.")}
    made = tracking.start_run("approve", tags=tags)
    tracking.log_artifact(made, file_of(approval))
    tracking.finish(made)
    return "decision 4 is there 2 times"


def one_is_struck_out(tracking: Tracking) -> str:
    tracking.client.set_terminated(records(tracking)[3].id, "KILLED")
    return "was FINISHED, and is marked KILLED now"


def the_end_is_moved(tracking: Tracking) -> str:
    """The last decision and the model's tag with it: the project's own list still knows."""
    fourth, fifth = records(tracking)[3:]
    tracking.client.delete_run(fifth.id)
    tracking.client.set_registered_model_tag(NAME, chain.HEAD, f"4 {fourth.tags[chain.ENTRY]}")
    return "the store ends with decision 4, and this project has written 5"


def an_alias_is_moved(tracking: Tracking) -> str:
    tracking.client.set_registered_model_alias(NAME, "production", "1")
    return "production is version 1, which nobody decided: by the ledger it is version 2"


def an_alias_is_deleted(tracking: Tracking) -> str:
    tracking.client.delete_registered_model_alias(NAME, "production")
    return "production is nothing, which nobody decided"


TAMPERING: list[Callable[[Tracking], str]] = [
    an_approval_is_deleted,
    the_last_decision_is_deleted,
    a_reason_is_edited,
    a_tag_is_edited,
    a_file_is_deleted,
    one_is_inserted,
    two_are_reordered,
    one_is_copied,
    one_is_struck_out,
    the_end_is_moved,
    an_alias_is_moved,
    an_alias_is_deleted,
]


@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: tamper.__name__)
def test_tampering_shows_and_nothing_is_promoted_until_somebody_has_seen_it(
    tamper: Callable[[Tracking], str], decided: Tracking, register_version: Register
) -> None:
    expected = tamper(decided)
    assert any(expected in each for each in says(decided)), says(decided)
    version, evidence = register_version(2)
    judge(decided, version, evidence)
    with pytest.raises(RegistryError, match=r"its ledger is not as it was written: .*--acknowledge"):
        promote(decided)
    said = decisions.acknowledge(decided, NAME, "Grace", "I clicked on the wrong run")
    assert (said.action, says(decided)) == ("acknowledge", [])
    assert verify(decided, NAME).acknowledged
    assert promote(decided).version == version
    assert verify(decided, NAME).whole
    with pytest.raises(RegistryError, match="whole; there is nothing to acknowledge"):
        decisions.acknowledge(decided, NAME, "Grace", "again")


def not_decided(tracking: Tracking) -> list[str]:
    """As `status` and the first page ask, for all models at once."""
    places = listing.places(tracking)
    decided = record.everywhere(tracking, places)
    found = verification.not_decided(listing.models(tracking), decided)
    assert [each.finding.says for each in verification.not_decided_of(tracking, NAME)] == [
        each.finding.says for each in found.get(NAME, [])
    ]
    return [each.finding.says for moved in found.values() for each in moved]


@pytest.mark.parametrize("tamper", [an_alias_is_moved, an_alias_is_deleted], ids=lambda tamper: tamper.__name__)
def test_an_alias_that_was_moved_by_hand_is_found_without_reading_a_file(
    tamper: Callable[[Tracking], str], decided: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not_decided(decided) == []
    expected = tamper(decided)
    monkeypatch.setattr(Tracking, "artifact_folder", None)
    (said,) = not_decided(decided)
    assert said.startswith(expected)


def test_an_alias_that_somebody_has_seen_is_not_told_again(decided: Tracking) -> None:
    an_alias_is_moved(decided)
    assert [each.says for each in verify(decided, NAME).findings] == not_decided(decided)
    decisions.acknowledge(decided, NAME, "Grace", "I clicked on the wrong version")
    assert not_decided(decided) == []
    decided.client.set_registered_model_alias(NAME, "staging", "1")
    assert len(not_decided(decided)) == 1  # another one


def test_an_alias_that_is_being_moved_is_not_told(decided: Tracking) -> None:
    an_alias_is_moved(decided)
    tags = records(decided)[-1].tags
    decided.start_run(tags["mlflow.runName"], tags=tags)
    assert not_decided(decided) == []


def test_a_whole_experiment_that_was_deleted_and_restored_is_whole(decided: Tracking) -> None:
    assert decided.experiment_id is not None
    decided.client.delete_experiment(decided.experiment_id)
    decided.client.restore_experiment(decided.experiment_id)
    assert verify(decided, NAME).whole


def test_a_store_that_was_put_back_is_told_and_not_blamed(decided: Tracking, register_version: Register) -> None:
    database = decided.root / ".convoy" / "mlflow.db"
    kept = shutil.copy(database, decided.root / "mlflow.db.kept")
    decisions.rollback(decided, NAME, "Ada", "customers complain")
    assert verify(decided, NAME).records == 6
    decided.client._tracking_client.store.engine.dispose()
    shutil.copy(kept, database)
    again = connect(decided.root, NAME)
    assert says(again) == [
        "the store ends with decision 5, and this project has written 6: it was put back to an earlier state (a "
        "back-up), or is a copy that others go on with"
    ]
    # The next number is not one that was used before, and the gap stays on record.
    decisions.acknowledge(again, NAME, "Ada", "restored from Monday's back-up")
    assert chain.number(records(again)[-1]) == 7
    assert says(again) == [
        "decision 6 (roll back version 1 by Ada) is gone: its run was deleted, or the store is incomplete"
    ]


def test_two_that_go_on_from_one_copy_are_each_whole_and_not_one(
    decided: Tracking, register_version: Register, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copied = tmp_path_factory.mktemp("copied") / "project"
    shutil.copytree(decided.root / ".convoy", copied / ".convoy")
    other = connect(copied, NAME)
    decisions.retire(other, NAME, "Eve", "it is over")
    decisions.rollback(decided, NAME, "Ada", "customers complain")
    assert verify(decided, NAME).whole and verify(other, NAME).whole
    shutil.copy(copied / ".convoy" / "mlflow.db", decided.root / ".convoy" / "mlflow.db")
    assert any("is another than this project has written" in each for each in says(connect(decided.root, NAME)))


def test_whose_word_was_last_is_not_decided_by_a_clock(
    decided: Tracking, register_version: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, evidence = register_version(2)
    judge(decided, version, evidence)
    approve(decided, NAME, "Grace", "good")
    monkeypatch.setattr(record, "now", lambda: "2020-01-01T00:00:00.000000+00:00")
    reject(decided, NAME, "Grace", "on second thoughts, no")
    assert [each.action for each in record.statements(decided, NAME, version, evidence.digest)] == ["reject"]
    assert verify(decided, NAME).whole


def test_challengers_of_one_version_are_counted_whatever_their_test_split(
    tracking: Tracking, register_version: Register
) -> None:
    judge(tracking, *register_version(0))
    promote(tracking)
    numbers = []
    for night in range(1, 4):
        version, evidence = register_version(night)
        even = Figure(value=0.0, low=-0.001, high=0.001)
        case = build_case(evidence, test=f"{night}" * 64, production=1, against_production=even)
        decisions.decide(tracking, NAME, version, case, LIMITS)
        numbers.append(records(tracking)[-1].tags)
    assert [tags[record.CHALLENGE] for tags in numbers] == ["1", "2", "3"]
    assert [tags[record.EVALUATION] for tags in numbers] == ["1", "1", "1"]
    # The same artifact keeps its number, and a run that was deleted makes no room.
    version, evidence = register_version(2)
    assert record.challenges(tracking, NAME, 1, evidence.model) == 2
    tracking.client.delete_run(records(tracking)[-2].id)
    assert record.challenges(tracking, NAME, 1, "f" * 64) == 4
    assert record.challenges(tracking, NAME, 2, "f" * 64) == record.challenges(tracking, NAME, None, "f" * 64) == 1


def test_records_from_before_are_what_a_chain_begins_on(tracking: Tracking, register_version: Register) -> None:
    def old(version: int, evidence: Evidence) -> str:
        """As releases before chains wrote them."""
        values = {"action": "pass", "name": NAME, "version": version, "alias": None, "by": "gates"}
        decision = Decision(**values, at=record.now(), reason="every gate passed", evidence=evidence.digest)
        tags = {KIND: "decision", record.MODEL: NAME, record.VERSION: str(version), record.ACTION: "approve"}
        made = tracking.start_run("approve", tags=tags | {record.BY: "gates", record.AT: decision.at})
        decision.save(tracking.root / "old")
        tracking.log_artifact(made, tracking.root / "old" / "decision.json")
        tracking.finish(made)
        return made

    version, evidence = register_version(0)
    first = old(version, evidence)
    judge(tracking, version, evidence)
    promote(tracking)
    found = verify(tracking, NAME)
    assert (found.whole, found.records, found.earlier) == (True, 2, 1)
    tracking.client.delete_run(first)
    assert says(tracking) == [
        "of the decisions from before the chain there are 0, none of those not as they were when it began"
    ]


def test_what_a_killed_process_left_belongs_to_the_chain(
    decided: Tracking, register_version: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    version, evidence = register_version(2)
    judge(decided, version, evidence)
    with monkeypatch.context() as patch:
        patch.setattr(decisions, "_move", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(decided)
    assert records(decided)[-1].status == "RUNNING"
    assert verify(decided, NAME).whole  # it is being written
    promote(decided)
    assert [run.status for run in records(decided)[-2:]] == ["KILLED", "FINISHED"]
    assert verify(decided, NAME).whole
