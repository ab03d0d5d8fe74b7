"""`convoy config show`: the effective values and where they come from, in 80 columns and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVOY_ROOT", str(ROOT))


def show(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, ["config", "show", *words], env={"COLUMNS": "80"})
    assert done.exit_code == code, done.output
    return done


def test_the_table_fits_and_names_the_origin() -> None:
    lines = show("-r", "digits", "-S", "training.batch_size=8").stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines]
    assert ["training.batch_size", "8", "-S"] in rows
    assert ["augment.rotation", "8.0", "recipes/digits.yaml"] in rows
    assert ["members.networks.residual.arguments.width", "16", "recipes/digits.yaml"] in rows


def test_a_key_chooses_those_below_it() -> None:
    told = json.loads(show("line.gates.floor", "--json").stdout)
    assert told["recipe"] == "default"
    assert told["values"] == {
        "gates.floor.limit": {"value": 0.88, "origin": "params.yaml"},
        "gates.floor.metric": {"value": None, "origin": "default"},
    }


def test_what_is_wrong_is_told_and_ends_in_2() -> None:
    assert "did you mean gates.floor.limit?" in show("gates.flor.limit", code=2).stderr
    assert "line.seed: expected" in show("-S", "seed=x", code=2).stderr
