from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.artifacts import Decision
from components.registry.ledger import replay
from components.registry.record import moment
from components.registry.versions import RegistryError


def decision(action: str, version: int, alias: str | None, at: str = "2026-01-01T00:00:00+00:00") -> Decision:
    values: dict[str, Any] = {"by": "Ada", "reason": "because", "evidence": None}
    return Decision.model_validate(
        {"action": action, "name": "m", "version": version, "alias": alias, "at": at} | values
    )


def borne(*told: tuple[str, int, str | None]) -> dict[str, int]:
    return {alias: held.version for alias, held in replay([decision(*each) for each in told]).items()}


def test_failures_and_statements_move_nothing() -> None:
    assert borne(("fail", 1, None), ("pass", 2, "staging"), ("approve", 2, None)) == {"staging": 2}


def test_the_way_back_passes_over_what_was_taken_back() -> None:
    up = [("promote", version, "production") for version in (1, 2, 3)]
    assert borne(*up) == {"production": 3, "previous": 2}
    assert borne(*up, ("roll back", 2, "production")) == {"production": 2, "previous": 1}
    assert borne(*up, ("roll back", 2, "production"), ("promote", 4, "production")) == {"production": 4, "previous": 2}
    twice = (*up, ("roll back", 2, "production"), ("roll back", 1, "production"))
    assert borne(*twice) == {"production": 1}
    assert borne(*twice, ("promote", 3, "production")) == {"production": 3, "previous": 1}


@given(st.lists(st.sampled_from(["promote", "back"]), max_size=30), st.data())
def test_what_production_goes_back_to_is_never_what_was_taken_back_from_it(
    steps: list[str], data: st.DataObject
) -> None:
    told: list[Decision] = []
    bad: set[int] = set()
    for step in steps:
        held = replay(told)
        now, earlier = held.get("production"), held.get("previous")
        if step == "back" and now and earlier:
            bad.add(now.version)
            told.append(decision("roll back", earlier.version, "production"))
        else:
            others = [version for version in range(1, 7) if now is None or version != now.version]
            version = data.draw(st.sampled_from(others))
            bad.discard(version)
            told.append(decision("promote", version, "production"))
        held = replay(told)
        assert held["production"].decision == told[-1] and held["production"].version not in bad
        assert "previous" not in held or held["previous"].version not in bad | {held["production"].version}


def test_a_bare_date_is_the_whole_of_that_day() -> None:
    assert moment("2026-01-31", end_of_day=True) > moment("2026-01-31T23:59:59+00:00")
    assert moment("2026-01-31T12:00", end_of_day=True) == moment("2026-01-31T12:00:00+00:00")
    with pytest.raises(RegistryError, match="expected a date or a moment"):
        moment("yesterday")
