"""Where each value of the configuration comes from."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from components.config import effective, load, merge, recipes

ROOT = Path(__file__).parents[2]


def told(*overrides: str, recipe: str | None = None, root: Path = ROOT) -> dict[str, tuple[object, str]]:
    return {each.key: (each.value, each.origin) for each in effective(root, recipe, overrides)}


def test_the_last_that_says_it_is_named() -> None:
    found = told("training.batch_size=8", "line.seed=3", recipe="digits")
    assert found["training.batch_size"] == (8, "-S")
    assert found["seed"] == (3, "-S")
    assert found["training.learning_rate"] == (0.01, "recipes/digits.yaml")
    assert found["training.optimizer"] == ("adamw", "params.yaml")
    assert found["training.gradient_clip"] == (None, "default")
    assert found["datasets.digits.image.height"] == (8, "params.yaml")
    assert found["datasets.digits.image.resize"] == (False, "default")


def test_entries_are_told_by_the_names_that_address_them() -> None:
    found = told("gates.floor.limit=0.9", recipe="digits")
    assert found["gates.floor.limit"] == (0.9, "-S")
    assert found["gates.worst_group.limit"] == (0.7, "recipes/digits.yaml")
    assert found["gates.latency.limit"] == (20.0, "params.yaml")
    assert found["gates.floor.metric"] == (None, "default")
    assert "gates.floor.gate" not in found


def test_a_choice_replaces_what_is_below_it_and_the_rest_is_the_codes() -> None:
    found = told("student.network={name: densenet}")
    assert found["student.network.name"] == ("densenet", "-S")
    assert not [key for key in found if key.startswith("student.network.arguments.")]
    assert found["student.network.arguments"] == ({}, "default")


def test_a_list_is_replaced_as_a_whole_and_added_to_by_name() -> None:
    found = told("gates=[{gate: size, limit: 2.0}, {gate: approvals}]")
    assert [key for key in found if key.startswith("gates.")] == ["gates.size.limit", "gates.approvals.required"]
    assert found["gates.size.limit"] == (2.0, "-S")
    assert "gates.drift.limit" not in told("gates.drift=null")


def test_what_may_be_a_secret_is_not_shown(tmp_path: Path) -> None:
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["line"]["student"]["network"]["arguments"] = {"token": "abcdefgh"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    assert told(root=tmp_path)["student.network.arguments.token"] == ("(not shown)", "params.yaml")


@pytest.mark.parametrize("recipe", [None, *recipes(ROOT)])
def test_put_together_again_the_values_are_those_of_the_line(recipe: str | None) -> None:
    """Every value is there once: each said as `-S` says it, the same line comes out."""
    settings = load(ROOT, recipe)
    name = settings.line.dataset
    again: dict[str, object] = {}
    for each in effective(ROOT, recipe):
        if not each.key.startswith(f"datasets.{name}."):
            value = each.value
            for part in reversed(each.key.split(".")):
                value = {part: value}
            again = merge(again, value)  # type: ignore[arg-type]
    settled = load(ROOT, recipe, [f"{key}={yaml.safe_dump(value)}" for key, value in again.items()])
    assert settled.model_copy(update={"overrides": ()}) == settings
