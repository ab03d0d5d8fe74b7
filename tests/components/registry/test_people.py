"""Who decides, and why: a person is one however the name is written, and every reason is told as it was given."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable

import pytest
from rich.text import Text

from components import texts
from components.artifacts import Evidence
from components.config.gates import ApprovalsGate
from components.registry import approvals, decisions, ledger, record
from components.registry.memory.store import local_path
from components.registry.memory.tracking import Tracking
from components.registry.verification import verify
from components.registry.versions import RegistryError
from flows.base.screen import Screen
from flows.commands.summary import ledger_tables
from flows.pages.status import show
from tests.components.registry.registry_builders import LIMITS, build_case
from tests.hostile_texts import NEVER, WORDS

Register = Callable[..., tuple[int, Evidence]]


HIDDEN = ("a\x1b[31mb", "\u202eeve", "Grace Hop\u00adper", "x" * 101, "a\ud800")


@pytest.mark.parametrize("name", ["", " ", "\u00a0\u200b", "gates", "Ｇａｔｅｓ", *HIDDEN])
def test_who_decides_has_a_name_that_can_be_seen(name: str) -> None:
    said = r"^by: expected the name of a person, .*, received '.*'; give another with --by$"
    with pytest.raises(RegistryError, match=said) as told:
        record.person(name)
    assert str(told.value).isprintable()


def test_the_command_line_takes_an_empty_name_for_a_mistake_and_not_for_the_machines_user() -> None:
    from flows.commands.decision_commands import _who

    assert _who("") == "" and _who("Ada") == "Ada" and _who(None) not in ("", None)


def test_one_person_in_several_spellings_is_one_approval(tracking: Tracking, register_version: Register) -> None:
    version, evidence = register_version(0)
    asked = ApprovalsGate(gate="approvals", required=2)
    decisions.decide(tracking, "digits", version, build_case(evidence), [*LIMITS, asked])
    spelt = ("Grace Hopper", "grace  hopper", "ＧＲＡＣＥ Hopper", "Grace\u00a0Hopper", "GRACE-HOPPER", "Grace\nHopper")
    for name in spelt:
        approvals.approve(tracking, "digits", name, "looked at it")
    waiting = approvals.waiting(tracking, "digits")
    assert waiting is not None and waiting.missing == 1 and waiting.approved_by == ("Grace Hopper",)


def test_every_reason_is_kept_as_it_was_said_and_the_ledger_shows_it_to_everybody(
    tracking: Tracking, register_version: Register
) -> None:
    # given reasons that mean something to a terminal, a page or a store
    version, evidence = register_version(0)
    decisions.decide(tracking, "digits", version, build_case(evidence), LIMITS)
    said = [text for text in WORDS.values() if texts.storable(text) == text]
    chosen = [*said[::8], WORDS["markup"], WORDS["line end"], WORDS["both quotes"], WORDS["pipes"], WORDS["entity"]]
    for number, reason in enumerate(chosen):
        approvals.approve(tracking, "digits", f"Person {number}", reason)
    # then they are on record, word for word
    told = ledger.ledger(tracking, "digits")
    assert [each.reason for each in told.decisions[1:]] == [reason.strip() for reason in chosen]
    # and on a terminal of 80 columns, with nothing read in them, and nothing torn
    file = io.StringIO()
    show(Screen(file=file, width=80, force_terminal=True), ledger_tables(told, verify(tracking, "digits")))
    plain = Text.from_ansi(file.getvalue()).plain
    assert WORDS["markup"] in plain and "\x1b" not in plain and "two\\nlines" in plain
    assert all(len(line) <= 80 for line in plain.splitlines())
    # and where a record's file is gone, its description still says who and why
    for number, run in enumerate(record.runs(tracking, "digits", "FINISHED", action="approve")):
        place = local_path(run.artifacts)
        assert place is not None
        shutil.rmtree(place)
        decision, wrong = record.told(tracking, tracking.get(run.id))
        assert wrong and decision is not None
        assert (decision.by, decision.reason) == (f"Person {number}", texts.visible(chosen[number].strip()))


def test_what_cannot_be_kept_is_no_reason_and_nothing_is_recorded(
    tracking: Tracking, register_version: Register
) -> None:
    version, evidence = register_version(0)
    decisions.decide(tracking, "digits", version, build_case(evidence), LIMITS)
    for reason in ("", *NEVER.values(), WORDS["colour"], WORDS["nul"], WORDS["right to left"], "x" * 2001):
        with pytest.raises(RegistryError, match=r"^reason: expected .*, received ") as told:
            approvals.approve(tracking, "digits", "Ada", reason)
        assert str(told.value).isprintable() and len(str(told.value)) < 250
    assert len(ledger.history(tracking, "digits")) == 1
