"""Keys of the configuration under the names they had: understood wherever they stand, with a warning."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import yaml

from components import config
from components.config import RenamedWarning
from components.config.renamed import LINE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    return tmp_path


def recipe(root: Path, **line: object) -> str:
    (root / "recipes" / "mine.yaml").write_text(yaml.safe_dump({"line": line}), encoding="utf-8")
    return "mine"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("training.rollbacks=2", "training.checkpoint_restores=2", "training.rollbacks is called training.checkpoint"),
        ("ensemble.mirror=true", "ensemble.tta=hflip", "ensemble.mirror is called ensemble.tta: hflip now"),
        ("ensemble.mirror=false", "ensemble.tta=none", "ensemble.mirror is called ensemble.tta: none now"),
    ],
)
def test_an_old_key_is_the_new_one_with_a_warning(root: Path, old: str, new: str, said: str) -> None:
    with pytest.warns(RenamedWarning, match=said):
        found = config.load(root, None, [old])
    assert found.line == config.load(root, None, [new]).line


def test_what_is_laid_over_an_old_key_counts(root: Path) -> None:
    name = recipe(root, training={"rollbacks": 1}, ensemble={"mirror": True})
    with pytest.warns(RenamedWarning):
        found = config.load(root, name, ["training.checkpoint_restores=3"])
    assert (found.line.training.checkpoint_restores, found.line.ensemble.tta) == (3, "hflip")


def test_an_old_value_is_the_new_one(root: Path) -> None:
    name = recipe(root, prune={"kind": "structured", "target": "flops", "epochs": 1})
    with pytest.warns(RenamedWarning, match=r"prune\.target: flops is called prune\.target: macs now"):
        assert config.load(root, name).line.prune.target == "macs"  # type: ignore[union-attr]


def test_a_mistake_below_an_old_key_is_told_by_the_new_one(root: Path) -> None:
    with pytest.warns(RenamedWarning), pytest.raises(config.ConfigurationError) as told:
        config.load(root, None, ["ensemble.mirror=sometimes"])
    assert "ensemble.tta: expected" in str(told.value)


def test_an_old_key_of_a_data_set_is_the_new_one_with_a_warning() -> None:
    entry = {"task": "classification", "source": {"kind": "digits"}, "image": {"height": 8, "width": 8, "channels": 1}}
    with pytest.warns(RenamedWarning, match="published is called predefined now"):
        found = config.parse_entry("mine", {**entry, "split": {"published": "ignore"}})
    assert found.split.predefined == "ignore"


def test_our_own_recipes_have_the_present_names() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RenamedWarning)
        for each in (None, *config.recipes(ROOT)):
            config.load(ROOT, each)


def test_no_old_name_is_a_key() -> None:
    line = config.load(ROOT).line.model_dump()
    for old, new in LINE.items():
        part, _, key = old.partition(".")
        assert old == new.key or key not in (line[part] or {})
