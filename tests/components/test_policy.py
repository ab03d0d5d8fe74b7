"""What a project demands of every run holds, whatever a recipe or the command line says."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import pytest

from components.config import ConfigurationError, Gate, load, recipes
from components.config.gates import ApprovalsGate, FloorGate, WorstGroupGate
from components.config.policy import STRICTER, PolicyConfig, problems

ROOT = Path(__file__).parents[2]


def test_every_recipe_of_the_project_keeps_its_policy() -> None:
    for recipe in (None, *recipes(ROOT)):
        assert any(gate.gate == "approvals" for gate in load(ROOT, recipe).line.gates), recipe


@pytest.mark.parametrize("override", ["gates.approvals=null", "gates=[{gate: floor, limit: 0.1}]"])
def test_the_second_pair_of_eyes_cannot_be_taken_away(override: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"line\.gates\.approvals: expected required 1 or more, as `policy:`"):
        load(ROOT, None, [override])
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text("line: {gates: {approvals: null}}")
    with pytest.raises(ConfigurationError, match="received no such gate"):
        load(tmp_path, "mine")


def test_what_was_overridden_is_known_and_changes_no_digest() -> None:
    plain, told = load(ROOT), load(ROOT, None, ["gates.floor.limit=0.88", "seed=0"])
    assert told.overrides == ("gates.floor.limit=0.88", "seed=0")
    assert plain.digest() == load(ROOT, None, ["seed=0"]).digest()


def test_as_strict_or_stricter_is_allowed() -> None:
    policy = PolicyConfig(gates=(ApprovalsGate(gate="approvals", required=1), FloorGate(gate="floor", limit=0.9)))
    two = ApprovalsGate(gate="approvals", required=2)
    assert problems(policy, (two, FloorGate(gate="floor", limit=0.95))) == []
    assert problems(policy, (two, FloorGate(gate="floor", limit=0.85))) == [
        "line.gates.floor: expected limit 0.9 or more, as `policy:` of params.yaml demands of every run, received "
        "limit 0.85"
    ]
    # A floor of another metric is another gate.
    assert problems(policy, (two, FloorGate(gate="floor", limit=0.95, metric="macro_f1")))
    groups = PolicyConfig(gates=(WorstGroupGate(gate="worst_group", limit=0.8),))
    assert problems(groups, (WorstGroupGate(gate="worst_group", limit=0.8),)) == []
    assert problems(groups, (WorstGroupGate(gate="worst_group", limit=0.9),))  # of an error more would be less


def test_every_gate_with_a_direction_is_known() -> None:
    kinds = [each.model_fields["gate"].annotation for each in get_args(get_args(Gate)[0])]
    names = {get_args(kind)[0] for kind in kinds}
    assert names - STRICTER.keys() == {"worst_group", "robustness"}
