"""One broken thing is one broken row: what lists show of versions, decisions and experiments that are gone."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from components.artifacts import Evidence
from components.registry import approvals, decisions, inspection, ledger, lines, listing, record, versions
from components.registry.memory.store import TrackingError
from components.registry.memory.tracking import KIND, Tracking
from components.registry.versions import RegistryError
from tests.components.registry.registry_builders import LIMITS, NOW, TEST, build_case

Register = Callable[..., tuple[int, Evidence]]


def staged(tracking: Tracking, register_version: Register, seed: int = 0) -> int:
    version, evidence = register_version(seed)
    production = versions.aliased(tracking, "digits", "production")
    case = build_case(evidence, production=production)
    if production is not None:
        case = replace(case, unreadable=versions.problem(tracking, "digits", production))
    decisions.decide(
        tracking, "digits", version, case, [limit for limit in LIMITS if limit.gate not in ("production", "drift")]
    )
    return version


def files_of(tracking: Tracking, version: int) -> Path:
    tags = versions.version_tags(tracking, "digits", version)
    return tracking.artifact_folder(tags[versions.RUN], tags[versions.FILES])


def package_of(tracking: Tracking, version: int) -> Path:
    return versions.version_model(tracking, "digits", version).folder.parents[1]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every SQL statement of this process meanwhile."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


# -- lists ----------------------------------------------------------------------------------------------------------


def test_a_version_without_its_files_is_one_marked_row_among_whole_ones(
    tracking: Tracking, register_version: Register
) -> None:
    register_version(0, accuracy=0.8)
    tracking.client.set_registered_model_alias("digits", "production", "1")
    register_version(1, accuracy=0.9)
    shutil.rmtree(files_of(tracking, 1))

    broken, whole = lines.standings(tracking)

    assert (broken.alias, broken.value) == ("production", None)
    assert broken.problem is not None and "its files were deleted" in broken.problem
    assert "convoy retire digits --reason" in broken.problem
    assert (whole.alias, whole.value, whole.problem) == ("candidate", 0.9, None)


@pytest.mark.parametrize("content", ["", "[]", '{"model": 1}', "\x00\x01", '{"samples": '])
def test_evidence_that_cannot_be_read_is_said_of_its_row(
    tracking: Tracking, register_version: Register, content: str
) -> None:
    register_version(0)
    (files_of(tracking, 1) / "evidence.json").write_text(content)
    (row,) = lines.standings(tracking)
    assert row.value is None and "evidence.json" in str(row.problem)


def test_an_edited_figure_is_not_shown_as_that_of_the_version(tracking: Tracking, register_version: Register) -> None:
    register_version(0, accuracy=0.9)
    file = files_of(tracking, 1) / "evidence.json"
    file.write_text(file.read_text().replace("0.9", "0.99"))
    (row,) = lines.standings(tracking)
    assert row.value is None and "changed after registration" in str(row.problem)


def test_an_alias_whose_version_was_deleted_and_a_run_that_was_are_said(
    tracking: Tracking, register_version: Register
) -> None:
    register_version(0)
    register_version(1)
    listed = listing.versions(tracking)
    gone = {key: tags for key, tags in listed.items() if key[1] == 1}

    with pytest.MonkeyPatch.context() as patch:  # this MLflow takes aliases away with a version; older ones did not
        patch.setattr(listing, "versions", lambda tracking: gone)
        (row,) = lines.standings(tracking)
    assert "was deleted" in str(row.problem)

    run = versions.version_tags(tracking, "digits", 2)[versions.RUN]
    tracking.client.delete_run(run)
    (row,) = lines.standings(tracking)
    assert row.value == 0.9, "a deleted run's files are there until they are collected"


def test_a_deleted_experiment_hides_no_other_and_its_way_out_restores_it(
    tracking: Tracking, register_version: Register, tmp_path: Path
) -> None:
    other = tracking.within("letters")
    run = other.start_run("pipeline · letters", tags={KIND: "pipeline"})
    register_version(0)
    tracking.client.delete_experiment(str(tracking.experiment_id))

    assert [line.id for line in lines.recent(tracking, 5)] == [run]
    (row,) = lines.standings(tracking)
    assert row.value == 0.9 and "was deleted with its runs" in str(row.problem)
    with pytest.raises(TrackingError, match="was deleted with its runs"):
        lines.recent(tracking, 5, "digits")

    command = str(row.problem).split("`")[1]
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "mlflow.db").exists(), "it must not make a database of its own in the project's folder"
    assert [row.problem for row in lines.standings(tracking)] == [None]


def test_runs_without_tags_or_with_odd_ones_are_rows_or_none_but_never_an_error(tracking: Tracking) -> None:
    tracking.finish(tracking.start_run("somebody's own"))
    bare = tracking.start_run("line", tags={KIND: "pipeline"})
    odd = tracking.start_run("line", tags={KIND: "pipeline", "convoy.version": "latest"})

    found = {line.id: line for line in lines.recent(tracking, 10)}

    assert found.keys() == {bare, odd}
    assert found[bare].problem is None and found[bare].recipe == "?"
    assert found[odd].version is None and "convoy.version" in str(found[odd].problem)


def test_models_of_other_people_are_told_apart_and_asked_about_no_further(
    tracking: Tracking, register_version: Register
) -> None:
    register_version(0)
    lines.standings(tracking)
    with statements() as before:
        lines.standings(tracking)
        approvals.waiting_everywhere(tracking, lines.experiments(tracking), {})
    for number in range(30):
        tracking.client.create_registered_model(f"theirs-{number}")
        tracking.client.create_model_version(f"theirs-{number}", "s3://theirs/model")
        tracking.client.set_registered_model_alias(f"theirs-{number}", "champion", "1")

    with statements() as after:
        rows = lines.standings(tracking)
        approvals.waiting_everywhere(tracking, lines.experiments(tracking), lines.aliases(rows))

    assert [row.model for row in rows if row.ours] == ["digits"]
    assert len([row for row in rows if not row.ours]) == 30
    assert len(after) == len(before), "the number of requests must not grow with other people's models"


def test_versions_of_ones_own_are_told_in_as_many_requests_however_many_they_are(
    tracking: Tracking, register_version: Register
) -> None:
    register_version(0)
    with statements() as one:
        lines.standings(tracking)
    register_version(1)
    for number in range(5):
        tracking.client.set_registered_model_alias("digits", f"kept-{number}", str(1 + number % 2))

    with statements() as many:
        rows = lines.standings(tracking)

    assert len(rows) == 6 and not any(row.problem for row in rows)
    assert len(many) == len(one)


def test_many_staged_models_of_ones_own_are_asked_about_at_once(tracking: Tracking, register_version: Register) -> None:
    staged(tracking, register_version)
    named = lines.aliases(lines.standings(tracking))
    with statements() as one:
        approvals.waiting_everywhere(tracking, lines.experiments(tracking), named)
    with statements() as many:
        approvals.waiting_everywhere(
            tracking, lines.experiments(tracking), {f"m{n}": named["digits"] for n in range(20)}
        )
    assert len(many) <= len(one)


def test_more_than_a_page_of_registered_models_are_all_there(tracking: Tracking) -> None:
    for number in range(103):  # MLflow gives 100 a page
        tracking.client.create_registered_model(f"m{number:03d}")
    assert len(versions.names(tracking)) == len(listing.models(tracking)) == 103


# -- decisions ------------------------------------------------------------------------------------------------------


def decision_file(tracking: Tracking) -> Path:
    (run,) = record.runs(tracking, "digits", "FINISHED")
    return tracking.artifact_folder(run.id, "decision.json")


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", "\x00"])
def test_a_decision_whose_file_is_gone_is_told_by_its_tags_and_marked(
    tracking: Tracking, register_version: Register, content: str | None
) -> None:
    version = staged(tracking, register_version)
    file = decision_file(tracking)
    file.unlink()
    if content is not None:
        file.write_text(content)

    told = ledger.ledger(tracking, "digits")

    (decision,) = told.decisions
    assert (decision.action, decision.version, decision.alias, decision.by) == ("pass", version, "staging", "gates")
    assert decision.reason.startswith("every gate passed")
    assert "decision.json" in told.problems[0]
    assert told.aliases["staging"].version == version
    assert "decision.json" in json.loads(json.dumps(told.to_json()))["decisions"][0]["problem"]
    with pytest.raises(RegistryError, match="Run the pipeline of digits again, which judges it anew"):
        approvals.approve(tracking, "digits", "ada", "good")
    found = approvals.waiting_everywhere(tracking, lines.experiments(tracking), {"digits": {"staging": version}})
    assert "cannot be read" in str(found["digits"])


def test_what_is_judged_again_after_its_record_was_lost_counts(tracking: Tracking, register_version: Register) -> None:
    version = staged(tracking, register_version)
    decision_file(tracking).unlink()
    evidence = versions.version_evidence(tracking, "digits", version)

    again = decisions.decide(tracking, "digits", version, build_case(evidence, test=TEST, at=NOW), LIMITS)

    assert again.action == "pass" and again.test_evaluations == 1
    assert approvals.approve(tracking, "digits", "ada", "good").action == "approve"


def test_a_record_left_running_without_its_file_stops_nobody(tracking: Tracking, register_version: Register) -> None:
    version = staged(tracking, register_version)
    tracking.start_run("promote", tags={KIND: "decision", "convoy.model": "digits", "convoy.alias": "staging",
                                        "convoy.version": str(version), "convoy.action": "promote"})  # fmt: skip
    assert len(decisions.settle(tracking, "digits")) == 1


def test_asking_after_a_model_that_is_not_there_makes_nothing(tracking: Tracking) -> None:
    asked = [
        lambda: ledger.ledger(tracking, "TYPO"),
        lambda: lines.recent(tracking, 1, "TYPO"),
        lambda: approvals.approve(tracking, "TYPO", "ada", "why"),
        lambda: decisions.promote(tracking, "TYPO", "production", "ada", "why"),
        lambda: decisions.rollback(tracking, "TYPO", "ada", "why"),
        lambda: decisions.retire(tracking, "TYPO", "ada", "why"),
    ]
    for ask in asked:
        with pytest.raises(TrackingError, match=r"TYPO: expected a model that there were runs of.*there are: digits"):
            ask()
    assert approvals.waiting(tracking, "TYPO") is None
    assert tracking.client.get_experiment_by_name("TYPO") is None


# -- versions that are not as they were registered ------------------------------------------------------------------


def cut_model(tracking: Tracking, version: int) -> None:
    file = package_of(tracking, version) / "artifacts" / "model" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-1])


def drop_model(tracking: Tracking, version: int) -> None:
    shutil.rmtree(package_of(tracking, version))


def cut_reference(tracking: Tracking, version: int) -> None:
    file = files_of(tracking, version) / "reference.parquet"
    file.write_bytes(file.read_bytes()[:50])


def drop_card(tracking: Tracking, version: int) -> None:
    (files_of(tracking, version) / "card.md").unlink()


@pytest.mark.parametrize("spoil", [cut_model, drop_model, cut_reference, drop_card])
def test_a_damaged_version_is_neither_approved_nor_promoted_and_the_next_registration_is_a_new_one(
    tracking: Tracking, register_version: Register, spoil: Callable[[Tracking, int], None]
) -> None:
    version = staged(tracking, register_version)
    spoil(tracking, version)

    for ask in (
        lambda: approvals.approve(tracking, "digits", "ada", "good"),
        lambda: decisions.promote(tracking, "digits", "production", "ada", "good"),
    ):
        with pytest.raises(RegistryError, match=rf"digits version {version}.*which registers a new version"):
            ask()
    assert versions.aliased(tracking, "digits", "production") is None

    again, _ = register_version(0)
    assert again == version + 1
    assert versions.problem(tracking, "digits", again) is None


def test_a_production_version_that_cannot_be_read_fails_its_gate_with_the_way_out(
    tracking: Tracking, register_version: Register
) -> None:
    first = staged(tracking, register_version)
    decisions.promote(tracking, "digits", "production", "ada", "the first")
    cut_model(tracking, first)
    wrong = versions.problem(tracking, "digits", first)
    second, evidence = register_version(1)
    unreadable = f"{wrong}. {decisions.way_out(tracking, 'digits')}"
    case = build_case(evidence, production=first, unreadable=unreadable)

    decision = decisions.decide(tracking, "digits", second, case, LIMITS)

    assert decision.action == "fail"
    failed = {verdict.gate: verdict.reason for verdict in decision.verdicts if not verdict.passed}
    assert failed.keys() == {"production", "drift"}
    assert "cannot be read" in failed["production"] and "`convoy retire digits --reason …`" in failed["production"]


# -- the way out ----------------------------------------------------------------------------------------------------


def test_what_is_retired_leaves_production_on_the_record_and_comes_back_only_on_purpose(
    tracking: Tracking, register_version: Register
) -> None:
    version = staged(tracking, register_version)
    decisions.promote(tracking, "digits", "production", "ada", "the first")
    drop_model(tracking, version)
    with pytest.raises(RegistryError, match="`convoy retire digits --reason …` takes it out of production"):
        decisions.rollback(tracking, "digits", "ada", "it is broken")

    decision = decisions.retire(tracking, "digits", "ada", "its files are gone")

    assert versions.aliases(tracking, "digits").keys() == {"candidate", "staging"}
    assert (decision.action, decision.alias, decision.version) == ("retire", "production", version)
    told = ledger.ledger(tracking, "digits")
    assert [each.action for each in told.decisions] == ["pass", "promote", "retire"]
    assert "production" not in told.aliases and "previous" not in told.aliases
    assert ledger.in_production(tracking, "digits", told.decisions[1].at) == version
    assert versions.version_tags(tracking, "digits", version)[decisions.ROLLED_BACK].endswith("its files are gone")
    with pytest.raises(RegistryError, match="no production version to retire"):
        decisions.retire(tracking, "digits", "ada", "again")

    second = staged(tracking, register_version, seed=1)
    decisions.promote(tracking, "digits", "production", "ada", "whole")
    assert versions.aliases(tracking, "digits")["production"] == second
    assert ledger.replay(ledger.history(tracking, "digits")).keys() == {"staging", "production"}


def test_a_kill_while_retiring_is_settled_by_what_has_happened(
    tracking: Tracking, register_version: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = staged(tracking, register_version)
    decisions.promote(tracking, "digits", "production", "ada", "the first")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # after the alias is gone
        patch.setattr(decisions, "_follow", killed)
        with pytest.raises(KeyboardInterrupt):
            decisions.retire(tracking, "digits", "ada", "broken")
    assert decisions.settle(tracking, "digits") != []
    assert ledger.history(tracking, "digits")[-1].action == "retire"
    assert versions.version_tags(tracking, "digits", version)[decisions.ROLLED_BACK]


def test_the_way_out_is_the_predecessor_where_that_can_be_read(tracking: Tracking, register_version: Register) -> None:
    first = staged(tracking, register_version)
    decisions.promote(tracking, "digits", "production", "ada", "the first")
    second = staged(tracking, register_version, seed=1)
    decisions.promote(tracking, "digits", "production", "ada", "the second")
    cut_model(tracking, second)
    assert f"puts version {first} back" in decisions.way_out(tracking, "digits")

    cut_model(tracking, first)
    assert "convoy retire" in decisions.way_out(tracking, "digits")
    with pytest.raises(RegistryError, match=f"expected a version {first} to go back to, and it cannot be read"):
        decisions.rollback(tracking, "digits", "ada", "broken")


# -- a whole store --------------------------------------------------------------------------------------------------


def test_a_look_at_the_whole_store_names_each_damaged_thing_once(
    tracking: Tracking, register_version: Register
) -> None:
    version = staged(tracking, register_version)
    looked: list[tuple[str, int, int]] = []
    assert inspection.check_store(tracking, lambda *each: looked.append(each)) == []
    assert ("versions", 1, 1) in looked and ("decisions", 1, 1) in looked

    cut_model(tracking, version)
    decision_file(tracking).write_text("{}")

    found = inspection.check_store(tracking)

    assert [(each.kind, each.name) for each in found] == [
        ("version", f"digits version {version}"),
        ("decision", f"pass digits v{version}"),
    ]
    assert all(each.problem and each.way_out and each.run_id for each in found)
