"""Great Expectations on real defects: each one must be found, named, and of the right severity."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from components.artifacts import Dataset
from components.config import DatasetConfig
from components.data import suite, validation
from components.data.errors import DataError
from components.data.validation import ValidationReport, validate
from components.tasks.protocol import Expectation
from tests.components.data.data_builders import DIGITS, build, folder_entry


def _failed(report: ValidationReport, severity: str = "error") -> dict[str, validation.Result]:
    results = [result for result in report.results if not result.success and result.severity == severity]
    return {result.expectation: result for result in results}


def _validate_folder(folder: Path, base: Path, **changes: Any) -> ValidationReport:
    dataset, config = build(base, "mine", **folder_entry(folder, **changes))
    return validate(dataset, config, base / "validation")


def test_good_data_passes_and_the_report_and_page_are_there(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    report = validate(*digits, tmp_path)
    assert report.passed
    assert report.warnings == ()
    assert ValidationReport.load(tmp_path) == report
    assert "samples" in (tmp_path / "docs" / "index.html").read_text(encoding="utf-8")


def test_masks_are_held_to_their_tasks_expectations(scenes: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    report = validate(*scenes, tmp_path)
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
    }
    assert set(by_start["no image is in two splits"]) == {"train/dog/001.png", "test/dog/copied.png"}
    assert "every image can be decoded: 1 of" in report.explanation
    assert "train/cat/007.png" in report.explanation


def test_a_constant_picture_and_few_samples_warn_and_let_the_line_go_on(
    pictures: Callable[..., Path], tmp_path: Path
) -> None:
    folder = pictures(each=30)
    Image.new("RGB", (12, 10), (7, 7, 7)).save(folder / "cat" / "flat.png")
    report = _validate_folder(folder, tmp_path)
    assert report.passed
    assert set(_failed(report, "warning")) == {
        "no image is of one constant value",
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
    assert _failed(report)["every class is in every split"].examples == ("test/dog (0)",)


def test_the_wrong_kind_of_target_fails_rather_than_crashes(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    report = validate(digits[0], digits[1].model_copy(update={"task": "segmentation"}), tmp_path)
    assert list(_failed(report)) == ["targets are a mask each"]


class _Demanding:
    """A task that asks for one more thing."""

    def __init__(self, task: Any, expectation: Expectation) -> None:
        self.spec, self.facts = task.spec, task.facts
        self.expectations = lambda card: [expectation]


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
    task = validation.tasks.get("classification")
    demanding = _Demanding(task, Expectation(kind, arguments, severity, "it is good"))
    monkeypatch.setattr(validation.tasks, "get", lambda name: demanding)
    with pytest.raises(DataError, match=says):
        validate(*digits, tmp_path)
    assert not (tmp_path / "validation.json").exists()


def test_ids_that_repeat_are_an_error(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    dataset, config = build(tmp_path, "digits", **DIGITS)
    for shard in dataset.shards("validation"):  # the test split's rows once more, under the other name
        shard.write_bytes(dataset.shards("test")[0].read_bytes())
    report = validate(replace(dataset, digest="changed"), config, tmp_path / "validation")
    assert {"ids are unique", "every class is in every split"} <= set(_failed(report))


def test_every_expectation_says_something_of_its_own() -> None:
    config = DatasetConfig.model_validate(DIGITS)
    words = [item.says for item in (*suite.of_samples(config.image, "class"), *suite.of_counts())]
    assert len(words) == len(set(words))
