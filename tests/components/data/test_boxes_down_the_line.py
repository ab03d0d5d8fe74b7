"""Boxes go through every room of data: ingested, inspected, prepared, judged, followed for drift, checked and shown."""

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
from components.data.reading.loading import load_split
from components.data.stages import stages
from components.members import TASKS
from components.targets.flat_boxes import flat
from tests.components.data.data_builders import build, judge
from tests.components.data.sources.source_builders import save

ENTRY: dict[str, Any] = {
    "task": "detection",
    "source": {"kind": "digit-scenes", "scenes": 90, "size": 32, "take": "boxes", "digits": [1, 3]},
    "image": {"height": 24, "width": 48, "channels": 1, "resize": True},
    "split": {"validation": 0.2, "test": 0.2},
}
judged = pytest.mark.skipif("detection" not in TASKS.names(), reason="what is judged depends on the task")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, DatasetConfig]:
    return build(tmp_path_factory.mktemp("boxes"), "scenes", **ENTRY)


def test_boxes_are_stretched_with_their_pictures_and_read_as_arrays(scenes: tuple[Dataset, DatasetConfig]) -> None:
    plain, _ = build(
        scenes[0].folder.parent.parent, "plain", **ENTRY | {"image": {**ENTRY["image"], "height": 32, "width": 32}}
    )
    dataset = scenes[0]
    counts = [flat(dataset.table(split).column("target").combine_chunks()).counts for split in SPLITS]
    most = max(each.max() for each in counts)
    assert dataset.card.target == {"kind": "boxes", "most": most}
    for split in SPLITS:
        told, before = load_split(dataset, split), load_split(plain, split)
        assert told.targets.shape == (dataset.card.splits[split], most, 7)
        scale = np.array([1, 48 / 32, 24 / 32, 48 / 32, 24 / 32, 1, 1], np.float32)
        np.testing.assert_allclose(told.targets, before.targets * scale, rtol=1e-6)
        for image, boxes in zip(told.inputs[..., 0], told.targets, strict=True):
            for _, left, top, right, bottom, *_ in boxes[boxes[:, 0] >= 0]:
                inside = image[round(float(top)) : round(float(bottom)), round(float(left)) : round(float(right))]
                assert inside.mean() > image.mean()


def test_arrays_have_room_for_the_most_boxes_of_any_split(tmp_path: Path) -> None:
    for number in range(8):
        split = ("train", "val", "test", "train")[number % 4]
        save(tmp_path / "set" / split / f"{number}.png", number, (40, 30))
        text = "0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.25 0.5\n" + "1 0.25 0.25 0.1 0.1\n" * (4 * (split == "test"))
        (tmp_path / "set" / split / f"{number}.txt").write_text(text)
    entry = {"task": "detection", "source": {"kind": "yolo", "path": str(tmp_path / "set")}}
    dataset, _ = build(tmp_path, "set", **entry, image={"height": 30, "width": 40, "channels": 3})
    assert dataset.card.target["most"] == 6
    assert {split: load_split(dataset, split).targets.shape[1] for split in SPLITS} == dict.fromkeys(SPLITS, 6)


def test_drift_is_found_in_how_many_and_how_large_objects_are(
    scenes: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    source = ENTRY["source"] | {"digits": [6, 8], "seed": 1}
    other, _ = build(tmp_path, "other", **ENTRY | {"source": source})
    reference, current = profile(scenes[0], sample=100), profile(other, sample=100)
    assert {"value_objects", "value_area", "value_aspect", "share_3"} <= set(reference.columns)
    config = DriftConfig(sample=100, false_alarms=0.01)
    assert not compare(profile(scenes[0], sample=100), reference, config, tmp_path / "same").drifted
    report = compare(current, reference, config, tmp_path / "other")
    assert report.drifted and report.columns["value_objects"].drifted


def test_the_card_shows_boxes_and_counts_pictures_by_class(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"datasets": {"scenes": ENTRY}}))
    for stage in ("watch", "ingest", "inspect", "prepare"):
        stages.run(stage, "scenes", tmp_path)
    dataset = Dataset.load(places.prepared(tmp_path, "scenes"))
    summary = summarise(tmp_path, "scenes")
    shown = flat(dataset.table("train").column("target").combine_chunks())
    for number in range(10):
        assert summary.counts.parts[str(number)]["train"] == len(np.unique(shown.rows[shown.labels == number]))
    text = write_card(summary).read_text(encoding="utf-8")
    assert "in 10 classes of objects" in text and text.count("data:image/png") > 40


@judged
def test_sound_boxes_are_valid_and_those_of_no_class_are_named(
    scenes: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    report = judge(*scenes, tmp_path / "sound")
    assert report.passed, [each for each in report.results if not each.success]
    dataset, config = build(tmp_path, "nine", **ENTRY | {"classes": [str(number) for number in range(9)]})
    (failed,) = [
        each
        for each in judge(dataset, config, tmp_path / "nine").results
        if each.severity == "error" and not each.success
    ]
    assert failed.expectation == "every box is of one of the 9 known classes"
    assert failed.examples[0].startswith("scene-") and "of class -1, " in failed.examples[0]


@judged
def test_the_check_foresees_what_validation_says(tmp_path: Path) -> None:
    base = tmp_path / "set"
    for number in range(20):
        save(base / "images" / f"{number}.png", number, (40, 30))
        (base / "labels").mkdir(exist_ok=True)
        (base / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.25 0.5\n" if number else "")
    (base / "data.yaml").write_text("names: [cat, dog]\n")
    checked = check(str(base), Wanted(), tmp_path, tmp_path / "temporary")
    assert (checked.looked.entry["task"], checked.looked.entry["source"]["kind"]) == ("detection", "yolo")
    assert checked.errors == 0, checked.refusals
    checked = check(str(base), Wanted(settings=("classes=[cat]",)), tmp_path, tmp_path / "again")
    assert any("every box is of one of the 1 known classes" in each for each in checked.refusals)
    built = check("digit-scenes", Wanted(task="detection", settings=("scenes=40",)), tmp_path, tmp_path / "built")
    assert built.looked.entry["source"] == {"kind": "digit-scenes", "take": "boxes", "scenes": 40}
