"""Altered copies of pictures, from a folder to data that has been judged: kept together, dropped, moved or kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from components.artifacts import SPLITS, Dataset, DatasetCard
from components.config import DatasetConfig
from tests.components.data.data_builders import build, folder_entry, judge

IMAGE = {"height": 40, "width": 40, "channels": 3, "resize": True}
SPLIT = {"validation": 0.2, "test": 0.2}


def _picture(number: int) -> Image.Image:
    """A picture with coarse structure, as photographs have it, unlike all of other numbers."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)


def _save(folder: Path, number: int, ways: Iterable[str] = ()) -> None:
    """A picture, and copies of it that bear the way they were altered in their names."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = _picture(number)
    picture.save(folder / f"{number:03d}.png")
    altered = {
        "again": lambda: picture.save(folder / f"{number:03d}-again.jpg", quality=85),
        "brighter": lambda: ImageEnhance.Brightness(picture).enhance(1.1).save(folder / f"{number:03d}-brighter.png"),
        "smaller": lambda: picture.resize((40, 40)).save(folder / f"{number:03d}-smaller.png"),
    }
    for way in ways:
        altered[way]()


def _places(dataset: Dataset) -> dict[str, str]:
    return {name: split for split in SPLITS for name in dataset.table(split, ["id"]).column("id").to_pylist()}


def _number(name: str) -> str:
    """What a picture shows, whatever was made of it."""
    return Path(name).stem.split("-")[0]


def _entry(folder: Path, **changes: Any) -> dict[str, Any]:
    return folder_entry(folder, **{"image": IMAGE, "split": SPLIT, **changes})


def test_altered_copies_are_in_no_two_splits_and_the_line_goes_on(tmp_path: Path) -> None:
    # given 60 pictures in two classes, of 20 of them copies: one, two or three
    for number in range(60):
        ways = ("again", "brighter", "smaller")[: number % 3 + 1] if number < 20 else ()
        _save(tmp_path / "source" / ("cat", "dog")[number % 2], number, ways)

    dataset, config = build(tmp_path, "mine", **_entry(tmp_path / "source", split={**SPLIT, "folds": 3}))
    report = judge(dataset, config, tmp_path / "validation")

    place = _places(dataset)
    seen: dict[str, set[str]] = {}
    for name, split in place.items():
        seen.setdefault(_number(name), set()).add(split)
    assert all(len(splits) == 1 for splits in seen.values())
    assert len(place) == 60 + 7 + 2 * 7 + 3 * 6
    assert report.passed, report.explanation
    rows = dataset.table("train", ["id", "fold"]).to_pylist()
    folds = {(_number(row["id"]), row["fold"]) for row in rows}
    assert len(folds) == len({number for number, _ in folds}) < len(rows)
    assert (dataset.card.twins, dataset.card.moved, dataset.card.dropped) == ({}, {}, {})
    # of each class the shares are met within one sample
    for label in ("cat", "dog"):
        count = Counter(split for name, split in place.items() if name.startswith(label))
        assert count["test"] == pytest.approx(0.2 * count.total(), abs=1)
        assert count["validation"] == pytest.approx(0.2 * count.total(), abs=1)
    # and nothing is said in the card that was not said before there were twins
    assert not {"twins", "moved"} & json.loads((dataset.folder / "dataset.json").read_text()).keys()


def _published(tmp_path: Path) -> Path:
    """40 pictures to train on, two of them twice, and 20 to test on, five of which are copies of the first five."""
    base = tmp_path / "source"
    for number in range(40):
        _save(base / "train" / ("cat", "dog")[number % 2], number, ("smaller",) if number < 2 else ())
    for number in range(5):
        folder = base / "test" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        _picture(number).save(folder / f"{number:03d}-again.jpg", quality=85)
    for number in range(100, 115):
        _save(base / "test" / ("cat", "dog")[number % 2], number)
    return base


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _published(tmp_path_factory.mktemp("published"))


LEARNT = {f"train/{('cat', 'dog')[number % 2]}/{number:03d}.png" for number in range(5)}
LEARNT |= {"train/cat/000-smaller.png", "train/dog/001-smaller.png"}
JUDGED = {f"test/{('cat', 'dog')[number % 2]}/{number:03d}-again.jpg" for number in range(5)}


def _made(published: Path, base: Path, leakage: str, **changes: Any) -> tuple[Dataset, DatasetConfig]:
    return build(base, "mine", **_entry(published, checks={"leakage": leakage}, **changes))


def test_what_the_publisher_has_put_into_two_splits_stops_the_line_with_four_ways_on(
    published: Path, tmp_path: Path
) -> None:
    dataset, config = _made(published, tmp_path, "error")
    report = judge(dataset, config, tmp_path / "validation")

    (failed,) = [result for result in report.results if result.severity == "error" and not result.success]
    assert failed.unexpected_count == len(LEARNT) == 7
    for said in (
        "`error` stops here",
        "`drop` leaves 7 samples out of what is learnt from",
        "`move` puts 7 samples into the later split",
        "`keep` learns from them and gives the metric without 5 samples of the test split too",
    ):
        assert said in report.explanation, said
    # copies that the publisher trains on are not torn apart by the validation split that is drawn beside it
    place = _places(dataset)
    assert place["train/cat/000.png"] == place["train/cat/000-smaller.png"]


def test_what_is_dropped_leaves_nothing_to_be_learnt_by_heart(published: Path, tmp_path: Path) -> None:
    dataset, _ = _made(published, tmp_path, "drop")
    assert set(dataset.card.dropped) == LEARNT
    assert dataset.card.twins == dataset.card.moved == {}


def test_what_is_moved_is_not_lost_and_the_card_says_from_where_to_where(published: Path, tmp_path: Path) -> None:
    before, _ = _made(published, tmp_path / "before", "error")
    dataset, config = _made(published, tmp_path, "move")
    assert judge(dataset, config, tmp_path / "validation").passed

    assert dataset.card.dropped == dataset.card.twins == {}
    assert set(dataset.card.moved) == LEARNT
    was, now = _places(before), _places(dataset)
    assert now == was | dict.fromkeys(LEARNT, "test")
    for name, why in dataset.card.moved.items():
        twin = f"test/{'dog' if int(_number(name)) % 2 else 'cat'}/{_number(name)}-again.jpg"
        assert why == f"{was[name]} → test: all but the same picture as {twin}"
    assert dataset.card.splits["test"] == before.card.splits["test"] + 7
    assert DatasetCard.read(dataset.folder / "dataset.json") == dataset.card


def test_what_is_kept_is_known_to_whoever_measures(published: Path, tmp_path: Path) -> None:
    dataset, config = _made(published, tmp_path, "keep")
    report = judge(dataset, config, tmp_path / "validation")
    assert report.passed and any("checks.leakage: keep" in line for line in report.warnings)
    assert set(dataset.card.twins) == JUDGED
    assert all(_number(twin) == _number(name) and twin in LEARNT for name, twin in dataset.card.twins.items())


def test_a_group_goes_along_with_what_is_moved(tmp_path: Path) -> None:
    # given twelve patients of four pictures, a copy of one of which the publisher tests on
    folder, lines = tmp_path / "source", ["path,target,split,group_patient"]
    folder.mkdir()
    for number in range(48):
        _picture(number).save(folder / f"{number:03d}.png")
        split = "test" if number >= 36 else "train"
        lines.append(f"{number:03d}.png,{('cat', 'dog')[number % 2]},{split},p{number // 4:02d}")
    _picture(5).save(folder / "005-again.jpg", quality=85)
    lines.append("005-again.jpg,dog,test,p99")
    (folder / "table.csv").write_text("\n".join(lines), encoding="utf-8")
    entry = _entry(
        folder,
        source={"kind": "manifest", "path": str(folder / "table.csv")},
        split={"validation": 0.2, "group": "group_patient"},
        checks={"leakage": "move"},
    )

    dataset, _ = build(tmp_path, "mine", **entry)

    place = _places(dataset)
    assert {place[f"{number:03d}.png"] for number in range(4, 8)} == {place["005-again.jpg"]} == {"test"}
    moved = dataset.card.moved
    assert set(moved) == {f"{number:03d}.png" for number in range(4, 8)}
    assert moved["005.png"].endswith("all but the same picture as 005-again.jpg")
    assert moved["004.png"].endswith("it goes with its group")
    # and no patient is in two splits
    rows = [row for split in SPLITS for row in dataset.table(split, ["group_patient", "split"]).to_pylist()]
    assert len({(row["group_patient"], row["split"]) for row in rows}) == 13
