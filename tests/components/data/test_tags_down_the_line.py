"""Entities go through every room of data: prepared, judged, read as tags of units, followed for drift and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import SPLITS, Dataset
from components.config import DatasetConfig
from components.data.card.samples import of_parts
from components.data.checking.check import Wanted, check
from components.data.drift.profile import profile
from components.data.reading.loading import load_split
from components.targets.tags import NOT_ASKED
from components.tokenizing import PADDING
from tests.components.data.data_builders import build, judge

ENTRY: dict[str, Any] = {
    "task": "tagging",
    "source": {"kind": "grammar-entities", "sentences": 200},
    "text": {"unit": "word", "length": 24, "lower": False},
    "split": {"validation": 0.2},
}


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, DatasetConfig]:
    return build(tmp_path_factory.mktemp("tags"), "sentences", **ENTRY)


def test_entities_become_tags_of_the_units_that_the_network_is_given(sentences: tuple[Dataset, DatasetConfig]) -> None:
    dataset = sentences[0]
    assert dataset.card.target == {"kind": "tags"} and min(dataset.card.splits.values()) > 20
    for split in SPLITS:
        told = load_split(dataset, split)
        assert told.targets.shape == told.inputs.shape
        assert np.array_equal(told.targets == NOT_ASKED, told.inputs == PADDING)
        entities = [len(each) for each in dataset.table(split).column("target").to_pylist()]
        assert (told.targets % 2 == 1).sum(axis=1).tolist() == entities
    columns = set(profile(dataset, sample=100).columns)
    assert {"value_entities", "value_length", "share_person", "share_money"} <= columns


def test_what_is_sound_is_valid_and_pages_show_entities_in_brackets(
    sentences: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    report = judge(*sentences, tmp_path / "sound")
    assert report.passed, [each.line for each in report.results if not each.success]
    shown = of_parts(sentences[0], ["person"], 3)["person"]
    assert len(shown) == 3 and all("|person]" in str(each.look.text) for each in shown)


def test_a_strangers_table_is_proposed_as_tagging_and_what_is_wrong_is_named(tmp_path: Path) -> None:
    rows = [{"text": f"Ann{n} Lee lives in Rome {n}", "entities": [[0, 7, "PER"]]} for n in range(30)]
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    checked = check(str(path), Wanted(settings=("text.length=3",)), tmp_path, tmp_path / "temporary")
    assert checked.errors == 0, checked.refusals
    assert checked.looked.entry["task"] == "tagging"
    assert checked.looked.entry["source"] == {
        "kind": "manifest",
        "path": "notes.jsonl",
        "text": "text",
        "spans": "entities",
    }
    dataset, config = build(tmp_path, "notes", **checked.looked.entry)
    (warned,) = [line for line in judge(dataset, config, tmp_path / "judged").warnings if "begins and ends" in line]
    assert "entity 1 of class 0, 0 to 7" in warned  # from `Ann10` on the seventh is within a word
    refused = check(str(path), Wanted(settings=("classes=[LOC]",)), tmp_path, tmp_path / "again").refusals
    assert any("every entity is of one of the 1 known classes" in each for each in refused)
