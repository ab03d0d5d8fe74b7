"""Any number of labels goes through every room of data: split, prepared, judged, followed for drift and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from components.artifacts import SPLITS, Dataset
from components.config import DatasetConfig, DriftConfig
from components.data import places
from components.data.card.page import write_card
from components.data.card.summary import summarise
from components.data.checking.check import Wanted, check
from components.data.drift.comparison import compare
from components.data.drift.profile import profile
from components.data.reading.folds import folds_of
from components.data.reading.loading import load_split
from components.data.stages import stages
from components.targets.labels import NO_LABEL
from tests.components.data.data_builders import build, judge

ENTRY: dict[str, Any] = {
    "task": "multilabel",
    "source": {"kind": "topics", "notes": 400},
    "text": {"unit": "word", "length": 40},
    "split": {"validation": 0.2, "test": 0.2},
}


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, DatasetConfig]:
    return build(tmp_path_factory.mktemp("labels"), "notes", **ENTRY)


def test_each_split_and_fold_has_its_share_of_each_label(notes: tuple[Dataset, DatasetConfig]) -> None:
    dataset, _ = notes
    targets = {split: load_split(dataset, split).targets for split in SPLITS}
    every = np.concatenate(list(targets.values()))
    assert every.shape == (400, 5) and every.dtype == np.float32 and (every.sum(axis=1) == 0).any()
    for split, share in (("test", 0.2), ("validation", 0.2), ("train", 0.6)):
        np.testing.assert_allclose(targets[split].sum(axis=0), share * every.sum(axis=0), atol=4)
    folds = folds_of(dataset, 4)
    for number in range(4):
        np.testing.assert_allclose(
            targets["train"][folds == number].sum(axis=0), targets["train"].sum(axis=0) / 4, atol=5
        )


def test_sound_labels_are_valid_and_those_of_no_class_are_named(
    notes: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    report = judge(*notes, tmp_path / "sound")
    assert report.passed, report.explanation
    assert {each.expectation for each in report.results if each.success} >= {
        "every label is one of the 5 known classes",
        "at least 50% of the samples have a label",
    }
    dataset, config = build(tmp_path, "four", **ENTRY | {"classes": ["food", "place", "price", "room"]})
    failed = [each for each in judge(dataset, config, tmp_path / "four").results if not each.success]
    assert [each.expectation for each in failed if each.severity == "error"] == [
        "every label is one of the 4 known classes"
    ]


def test_samples_of_which_most_have_no_label_are_a_warning(tmp_path: Path) -> None:
    lines = ["text,topics", *(f"note {n} of day {n * 7},{('', 'a', '', 'b', '')[n % 5]}" for n in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    source = {"kind": "manifest", "path": str(tmp_path / "t.csv"), "text": "text", "labels": "topics", "separator": ";"}
    dataset, config = build(tmp_path, "few", **ENTRY | {"source": source})
    report = judge(dataset, config, tmp_path / "judged")
    assert report.passed
    (warned,) = [each for each in report.results if not each.success and "have a label" in each.expectation]
    assert (warned.severity, warned.unexpected_count) == ("warning", 36)


def test_drift_is_found_in_which_labels_there_are(notes: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    reference = profile(notes[0], sample=200)
    assert {"value_labels", "share_food", "share_service"} <= set(reference.columns)
    config = DriftConfig(sample=200, false_alarms=0.01)
    other, _ = build(tmp_path, "other", **ENTRY | {"source": ENTRY["source"] | {"seed": 1}})
    assert not compare(profile(other, sample=200), reference, config, tmp_path / "same").drifted
    changed = profile(other, sample=200)
    changed["share_food"] = 1.0 - changed["share_food"] * 0.2
    report = compare(changed, reference, config, tmp_path / "other")
    assert report.drifted and report.columns["share_food"].drifted


def test_the_card_counts_samples_by_label_and_names_those_of_each(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"datasets": {"notes": ENTRY}}))
    for stage in ("watch", "ingest", "inspect", "prepare"):
        stages.run(stage, "notes", tmp_path)
    dataset = Dataset.load(places.prepared(tmp_path, "notes"))
    summary = summarise(tmp_path, "notes")
    targets = load_split(dataset, "train").targets
    counted = {name: counts["train"] for name, counts in summary.counts.parts.items()}
    expected = dict(zip(dataset.card.classes, targets.sum(axis=0).astype(int).tolist(), strict=True))
    assert counted == expected | {NO_LABEL: int((targets.sum(axis=1) == 0).sum())}
    page = write_card(summary).read_text(encoding="utf-8")
    assert "with any of 5 labels" in page and NO_LABEL in page


def test_the_check_foresees_what_validation_says(tmp_path: Path) -> None:
    checked = check("topics", Wanted(settings=("notes=200",)), tmp_path, tmp_path / "temporary")
    assert checked.looked.entry["task"] == "multilabel" and checked.errors == 0, checked.refusals
    fewer = check("topics", Wanted(settings=("notes=200", "classes=[food]")), tmp_path, tmp_path / "again")
    assert any("every label is one of the 1 known classes" in each for each in fewer.refusals)
    sheets = check("digit-sheets", Wanted(settings=("sheets=200",)), tmp_path, tmp_path / "sheets")
    assert sheets.looked.entry["task"] == "multilabel" and sheets.errors == 0, sheets.refusals
