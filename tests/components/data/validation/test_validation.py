"""Great Expectations on real defects: each one must be found, named, and of the right severity."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from components.artifacts import SPLITS, Dataset
from components.config import ChecksDeclaration, DatasetConfig
from components.data.errors import DataError
from components.data.validation import suite, tables
from components.data.validation import validate as validation
from components.data.validation.validate import ValidationReport
from components.inputs.protocol import Expectation
from components.targets import class_
from tests.components.data.data_builders import DIGITS, build, folder_entry, judge

ACROSS = tables.Across(frozenset({"a", "b"}), 3, 1)


def _failed(report: ValidationReport, severity: str = "error") -> dict[str, validation.Result]:
    results = [result for result in report.results if not result.success and result.severity == severity]
    return {result.expectation: result for result in results}


def _validate_folder(folder: Path, base: Path, **changes: Any) -> ValidationReport:
    dataset, config = build(base, "mine", **folder_entry(folder, **changes))
    return judge(dataset, config, base / "validation")


def test_good_data_passes_and_the_report_and_page_are_there(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    report = judge(*digits, tmp_path)
    assert report.passed
    assert len(report.warnings) <= 2
    assert all("checks.outliers" in line or "checks.label_noise" in line for line in report.warnings)
    assert ValidationReport.load(tmp_path) == report
    assert "samples" in (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")


def test_masks_are_held_to_their_tasks_expectations(scenes: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    report = judge(*scenes, tmp_path)
    assert report.passed, report.explanation
    assert "every mask has its image's size" in [result.expectation for result in report.results]


def test_defects_of_pictures_are_errors_that_name_them(pictures: Callable[..., Path], tmp_path: Path) -> None:
    # given one picture that is no picture, one of another size, one in another colour mode, one in two splits
    folder = pictures(under="train")
    pictures(under="test")
    shutil.copy(folder / "train" / "dog" / "001.png", folder / "test" / "dog" / "copied.png")
    (folder / "train" / "cat" / "007.png").write_bytes(b"not a picture")
    Image.new("RGB", (5, 5), (1, 2, 3)).save(folder / "train" / "cat" / "small.png")
    Image.effect_noise((12, 10), 50).convert("RGBA").save(folder / "train" / "cat" / "alpha.png")
    # when
    report = _validate_folder(folder, tmp_path, split={"validation": 0.2})
    # then each is found, once, by its id, and nothing else is
    assert not report.passed
    found = {words: [example.split(" ")[0] for example in result.examples] for words, result in _failed(report).items()}
    by_start = {words.split(" (")[0]: examples for words, examples in found.items()}
    assert by_start == {
        "every image can be decoded": ["train/cat/007.png"],
        "every image is 12 pixels wide": ["train/cat/small.png"],
        "every image is 10 pixels high": ["train/cat/small.png"],
        "every image has mode RGB": ["train/cat/alpha.png"],
        "no image is in two splits": by_start["no image is in two splits"],
        "no image has a near-duplicate in another split": ["train/dog/001.png"],
    }
    assert set(by_start["no image is in two splits"]) == {"train/dog/001.png", "test/dog/copied.png"}
    assert "every image can be decoded: 1 of" in report.explanation
    assert "train/cat/007.png (is text, not a picture: 'not a picture')" in report.explanation


def test_a_constant_picture_and_few_samples_warn_and_let_the_line_go_on(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    folder = pictures(each=30)
    Image.new("RGB", (12, 10), (7, 7, 7)).save(folder / "cat" / "flat.png")
    report = _validate_folder(folder, tmp_path)
    assert report.passed
    assert set(_failed(report, "warning")) == {
        "no image is of one value, or nearly so",
        "every class has at least 10 samples in every split",
    }
    assert any("cat/flat.png" in line for line in report.warnings)


def test_a_label_that_is_not_declared_is_an_error(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures(classes=("cat", "dog", "ufo"), each=15)
    report = _validate_folder(folder, tmp_path, classes=["cat", "dog"])
    unknown = _failed(report)["every label is one of the 2 known classes"]
    assert unknown.unexpected_count == 15
    assert all(example.startswith("ufo/") for example in unknown.examples)


def test_a_class_without_test_samples_is_an_error(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures(under="train")
    pictures(classes=("cat",), under="test")
    report = _validate_folder(folder, tmp_path, split={"validation": 0.2})
    assert _failed(report)["every class is in every split and fold"].examples == ("test/dog (0)",)


def test_a_class_without_test_samples_is_a_warning_where_it_is_kept(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    folder = pictures(under="train")
    pictures(classes=("cat",), under="test")
    report = _validate_folder(folder, tmp_path, split={"validation": 0.2}, checks={"small_classes": "keep"})
    told = _failed(report, "warning")["every class is in every split and fold (checks.small_classes: keep)"]
    assert told.examples == ("test/dog (0)",) and not _failed(report)
    # and one that nothing can be learnt of stays an error
    pictures(classes=("newt",), under="test")
    report = _validate_folder(folder, tmp_path / "b", split={"validation": 0.2}, checks={"small_classes": "keep"})
    assert _failed(report)["every class is in the training split"].examples == ("train/newt (0.0)",)


def test_the_wrong_kind_of_target_fails_rather_than_crashes(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    report = judge(digits[0], digits[1].model_copy(update={"task": "segmentation"}), tmp_path)
    assert list(_failed(report)) == ["targets are a mask each"]


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        ("ExpectColumnValuesToBeGood", {"column": "mean"}, "name of a Great Expectations class"),
        ("ExpectColumnValuesToBeBetween", {"column": "mean", "at_least": 3}, "does not take"),
        ("ExpectColumnValuesToBeBetween", {"column": "absent", "min_value": 3}, "could not be evaluated"),
    ],
)
@pytest.mark.parametrize("severity", ["error", "warning"])
def test_what_cannot_be_judged_raises_whatever_its_severity(
    digits: tuple[Dataset, DatasetConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    arguments: dict[str, Any],
    says: str,
    severity: Any,
) -> None:
    asked = Expectation(kind, arguments, severity, "it is good")
    monkeypatch.setattr(class_.Class, "expectations", lambda self, card: [asked])
    with pytest.raises(DataError, match=says):
        judge(*digits, tmp_path)
    assert not (tmp_path / "validation.json").exists()


def test_ids_that_repeat_are_an_error(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    dataset, config = build(tmp_path, "digits", **DIGITS)
    for shard in dataset.shards("validation"):  # the test split's rows once more, under the other name
        shard.write_bytes(dataset.shards("test")[0].read_bytes())
    report = judge(replace(dataset, digest="changed"), config, tmp_path / "validation")
    assert _failed(report)["ids are unique"].unexpected_count == 2 * dataset.card.splits["test"]


def test_every_expectation_says_something_of_its_own() -> None:
    config = DatasetConfig.model_validate(DIGITS)
    words = [
        item.says
        for item in (
            *suite.of_samples(config, "class", ["group_site"], ACROSS),
            *suite.of_counts(config.checks),
            *suite.of_counts(ChecksDeclaration(small_classes="keep"))[:2],
            *suite.of_groups(),
        )
    ]
    assert len(words) == len(set(words))


# -- tables in parts -------------------------------------------------------------------------------------------------


def test_many_parts_are_judged_as_one_table(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = judge(*digits, tmp_path / "whole")
    monkeypatch.setattr(tables, "CHUNK_ROWS", 300)
    parts = judge(*digits, tmp_path / "parts")
    assert parts == whole
    assert parts.results[0].rows == 1797


OWN = """
- kind: ExpectColumnValuesToBeBetween
  column: mean
  max_value: 0.3
  mostly: 0.5
  severity: warning
  says: most are dark
- {kind: ExpectColumnMeanToBeBetween, column: mean, min_value: 0.9, says: the set is bright}
- {kind: ExpectColumnValuesToBeUnique, column: id}
- {kind: ExpectTableRowCountToBeBetween, max_value: 1797}
- {table: counts, kind: ExpectColumnMaxToBeBetween, column: samples, max_value: 1}
"""


@pytest.mark.parametrize("rows", [300, 100_000])
def test_a_users_own_expectations_are_judged_beside_ours(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    # given expectations of rows and of whole columns, and a table that is read in one part or in many
    monkeypatch.setattr(tables, "CHUNK_ROWS", rows)
    own = digits[0].folder.parent.parent / "own.yaml"
    own.write_text(OWN, encoding="utf-8")
    config = digits[1].model_copy(update={"checks": ChecksDeclaration(expectations="own.yaml")})
    means = pa.concat_tables([digits[0].table(split, ["mean"]) for split in SPLITS]).column("mean").to_numpy()
    # when
    report = judge(digits[0], config, tmp_path)
    # then what is true is true and what is not is not, by the columns themselves
    by_words = {result.expectation: result for result in report.results}
    assert by_words["most are dark"].unexpected_count == int((means > 0.3).sum())
    assert by_words["most are dark"].success == ((means <= 0.3).mean() >= 0.5)
    assert by_words["the set is bright"].examples == (f"received {means.mean()}",)
    assert set(_failed(report)) == {
        "the set is bright",
        "ExpectColumnMaxToBeBetween (column samples, max_value 1)",
    }
    assert by_words["ExpectColumnValuesToBeUnique (column id)"].rows == 1797


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("kind: x", "expected a list of expectations, received dict"),
        ("- [1]", r"own.yaml, entry 1: expected a mapping with a `kind`"),
        ("- {column: mean}", "entry 1: expected a mapping with a `kind`"),
        ("- {kind: ExpectColumnToExist, column: id}\n- {kind: E, severity: bad}", "entry 2: expected severity"),
        ("- {kind: ExpectColumnToExist, column: id, table: rows}", "expected table samples, counts, groups"),
        ("- {kind: ExpectColumnToExist, column: id, table: groups}", "received expectations of groups"),
        ("- {kind: ExpectNothing, column: id}", "name of a Great Expectations class, received 'ExpectNothing'"),
        ("- {kind: [", "expected YAML"),
        (None, "checks.expectations: expected a file at"),
    ],
)
def test_what_is_wrong_in_the_users_file_is_named(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path, content: str | None, says: str
) -> None:
    own = digits[0].folder.parent.parent / "own.yaml"
    own.unlink(missing_ok=True)
    if content is not None:
        own.write_text(content, encoding="utf-8")
    config = digits[1].model_copy(update={"checks": ChecksDeclaration(expectations="own.yaml")})
    with pytest.raises(DataError, match=says):
        judge(digits[0], config, tmp_path)


# -- findings --------------------------------------------------------------------------------------------------------


def _leaky(pictures: Callable[..., Path]) -> Path:
    """Two published splits, and a picture of the first re-encoded in the second."""
    folder = pictures(under="train", each=40)
    pictures(under="test", each=20)
    shape = (48, 64)
    for path in folder.rglob("*.png"):  # larger, and with structure, as pictures have it
        seed = zlib.crc32(path.relative_to(folder).as_posix().encode())
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(shape[::-1], Image.Resampling.BICUBIC).save(path)
    Image.open(folder / "train" / "dog" / "001.png").save(folder / "test" / "dog" / "again.jpg", quality=85)
    return folder


@pytest.mark.parametrize(
    ("leakage", "passed", "left"),
    [("error", False, 80), ("keep", True, 80), ("drop", True, 79)],
    ids=str,
)
def test_a_re_encoded_picture_in_two_splits_is_an_error_unless_the_catalogue_says_otherwise(
    pictures: Callable[..., Path], tmp_path: Path, leakage: str, passed: bool, left: int
) -> None:
    image = {"height": 48, "width": 64, "channels": 3}
    entry = folder_entry(_leaky(pictures), image=image, split={"validation": 0.2}, checks={"leakage": leakage})
    dataset, config = build(tmp_path, "mine", **entry)
    report = judge(dataset, config, tmp_path / "validation")
    assert report.passed is passed, report.explanation
    if not passed:
        assert "train/dog/001.png" in report.explanation
    assert sum(dataset.card.splits[split] for split in ("train", "validation")) == left
    assert sum(dataset.card.splits.values()) + len(dataset.card.dropped) == 121
    assert list(dataset.card.dropped) == (["train/dog/001.png"] if leakage == "drop" else [])
    for shard in dataset.folder.glob("dropped-*.parquet"):
        assert pq.read_table(shard).column("id").to_pylist() == ["train/dog/001.png"]


def test_a_group_that_tells_the_class_warns_and_a_missing_group_is_an_error(tmp_path: Path) -> None:
    # given a scanner a class, and a sample of no scanner
    images, labels = load_digits(return_X_y=False).images[:400], load_digits().target[:400] % 2
    scanners = np.where(labels == 1, "north", "south").astype(object)
    folder = tmp_path / "source"
    folder.mkdir()
    rows = ["path,target,group_scanner"]
    for index, pixels in enumerate(images):
        Image.fromarray((pixels * 15).astype(np.uint8)).save(folder / f"{index:03d}.png")
        rows.append(f"{index:03d}.png,{'odd' if labels[index] else 'even'},{'' if index == 7 else scanners[index]}")
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    # when
    report = _validate_folder(
        folder,
        tmp_path,
        source={"kind": "manifest", "path": str(folder / "manifest.csv")},
        image={"height": 8, "width": 8, "channels": 1},
    )
    # then
    (missing,) = (result for words, result in _failed(report).items() if "has a group_scanner" in words)
    assert missing.examples == ("007.png (None)",)
    assert "no group all but tells the class (checks.confounding)" in _failed(report, "warning")


def test_a_review_stops_the_line_until_a_person_has_spoken(tmp_path: Path) -> None:
    # given digits of which some labels are wrong, and a catalogue that asks for a review
    labels = load_digits().target.copy()
    wrong = np.random.default_rng(0).choice(len(labels), 40, replace=False)
    labels[wrong] = (labels[wrong] + 3) % 10
    source = tmp_path / "arrays"
    source.mkdir()
    np.save(source / "images.npy", (load_digits().images * 15).astype(np.uint8))
    np.save(source / "labels.npy", labels)
    entry = {**DIGITS, "source": {"kind": "arrays", "path": str(source)}, "checks": {"label_noise": "review"}}
    # when nobody has looked at them
    dataset, config = build(tmp_path, "mine", **entry)
    report = judge(dataset, config, tmp_path / "validation")
    (asked,) = (result for words, result in _failed(report).items() if "a person has a verdict" in words)
    # then the line stops; and it goes on when each has a verdict, without those that are to go
    review = pd.read_csv(tmp_path / "inspected" / "mine" / "review.csv", dtype=str)
    assert len(review) == asked.unexpected_count >= 20
    review["verdict"] = np.where(np.arange(len(review)) % 2, "keep", "drop")
    review.to_csv(tmp_path / "reviewed.csv", index=False)
    entry["checks"] = {"label_noise": "review", "reviewed": "reviewed.csv"}
    dataset, config = build(tmp_path, "mine", **entry)
    assert judge(dataset, config, tmp_path / "validation").passed
    assert set(dataset.card.dropped) == set(review.loc[review["verdict"] == "drop", "id"])
    assert set(dataset.card.dropped.values()) == {"a person has said so"}
