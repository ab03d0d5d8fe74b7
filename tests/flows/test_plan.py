"""What a line would do, told without doing any of it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from components.config import ConfigurationError
from flows.base.project import Project
from flows.line import Outcome, line
from flows.plan import plan
from flows.run import order
from flows.run.known_by import KnownBy, dotted


def tree(root: Path) -> dict[str, str]:
    """Every file of the store and the data, by content; logs, locks and DVC's own notes aside."""
    files = [*(root / ".convoy" / "mlartifacts").rglob("*"), *(root / ".convoy" / "data").rglob("*"), root / "dvc.lock"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()}


def test_a_line_that_was_run_is_done_and_looking_changes_nothing(project: Path, outcome: Outcome) -> None:
    # given: other tests' lines have changed what is in production, and damaged results
    last = line("digits")
    before = tree(project)
    # when
    found = plan(Project(project), "digits", [])
    # then: every step in its order, each with the run that did it
    assert [each.step for each in found] == list(order.NAMES)
    assert {each.step: each.run for each in found if each.run} == {done.step: done.run_id for done in last.done}
    assert {each.does for each in found} == {"done", "skipped"}
    assert tree(project) == before


def test_what_changes_is_named_and_what_stands_on_it_follows(project: Path, outcome: Outcome) -> None:
    found = {each.step: each for each in plan(Project(project), "digits", ["members.epochs=7"])}
    assert found["train"].does == "runs"
    # whatever another test's line trained last
    assert re.match(r"changed: settings: .*members\.epochs \d+ → 7", found["train"].why), found["train"].why
    assert {found[step].does for step in ("data", "data-validation", "drift", "augmentation")} == {"done"}
    follow = [found[step] for step in ("ensemble", "distil", "quantize", "evaluate", "register", "promote")]
    assert {(each.does, each.why) for each in follow} == {("follows", "stands on train")}


def test_a_step_that_is_asked_for_runs_and_only_what_stands_on_it_follows(project: Path, outcome: Outcome) -> None:
    found = {each.step: each for each in plan(Project(project), "digits", [], ["drift"])}
    assert (found["drift"].does, found["drift"].why) == ("runs", "it was asked for")
    assert [step for step, each in found.items() if each.does == "follows"] == ["promote"]


def test_a_model_that_no_line_was_run_of_is_not_made_by_looking(project: Path, outcome: Outcome) -> None:
    from components.registry.memory import tracking

    found = plan(Project(project), "digits", ["model=never-seen"])
    assert {each.why for each in found if each.does == "runs"} == {"it was not done before"}
    assert "never-seen" not in tracking.connect(project).experiments()


@pytest.mark.parametrize(
    ("name", "said"), [("data", "validate@NAME"), ("trian", "expected a step of data-validation, ")]
)
def test_a_step_that_cannot_be_done_anew_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        order.named([name])


def test_what_a_key_is_made_of_survives_its_file() -> None:
    known = KnownBy({"inputs": {"dataset": "d"}, "settings": dotted("seed", 3), "code": {}, "libraries": {"é": "1"}})
    assert KnownBy.read(known.to_json()) == known
    with pytest.raises(ValueError, match="parts of a key"):
        KnownBy.read("[]")


def test_settings_go_by_the_names_that_people_write() -> None:
    value = [{"gate": "floor", "limit": 0.5}, {"gate": "fairness", "metric": "gap", "limit": 1}, {"gate": "floor"}]
    assert dotted("gates", value) == {
        "gates.floor.gate": '"floor"', "gates.floor.limit": "0.5",
        "gates.fairness gap.gate": '"fairness"', "gates.fairness gap.metric": '"gap"', "gates.fairness gap.limit": "1",
        "gates.2.gate": '"floor"',
    }  # fmt: skip
