"""Evidently on profiles of real digits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.artifacts import Dataset
from components.config import DatasetConfig, DriftConfig
from components.data.drift import EMBEDDING_COLUMNS, DriftReport, compare, describe, profile
from components.data.errors import DataError
from components.data.loading import load_split


def test_the_first_run_says_that_there_is_no_reference(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    report = compare(profile(digits[0], sample=50), None, DriftConfig(), tmp_path)
    assert (report.reference, report.drifted, report.share) == (False, None, None)
    assert "no reference yet" in report.message
    assert DriftReport.load(tmp_path) == report


def test_two_samples_of_the_same_data_do_not_drift(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    one, other = (profile(digits[0], "train", sample=500, seed=seed) for seed in (0, 1))
    report = compare(one, other, DriftConfig(), tmp_path)
    assert report.drifted is False
    assert (tmp_path / "drift.html").stat().st_size > 100_000


def test_darker_images_drift_and_the_columns_are_named(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    arrays = load_split(digits[0], "train", limit=500)
    dark = replace(arrays, images=arrays.images // 3)
    classes = digits[0].card.classes
    report = compare(describe(dark, classes), describe(arrays, classes), DriftConfig(), tmp_path)
    assert report.drifted is True
    assert report.columns["brightness"].drifted
    assert not report.columns["label"].drifted
    assert "brightness" in report.message


def test_a_change_of_labels_alone_is_seen_in_their_column(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    arrays = load_split(digits[0], "train", limit=500)
    classes = digits[0].card.classes
    skewed = replace(arrays, targets=np.where(np.arange(len(arrays)) % 2, arrays.targets, 1))
    report = compare(describe(skewed, classes), describe(arrays, classes), DriftConfig(share=0.1), tmp_path)
    assert [name for name, column in report.columns.items() if column.drifted] == ["label"]
    assert report.drifted is True


def test_masks_are_profiled_by_the_share_of_each_class(scenes: tuple[Dataset, DatasetConfig]) -> None:
    table = profile(scenes[0], "train", sample=20)
    shares = table[[f"share_{name}" for name in scenes[0].card.classes]]
    assert "label" not in table
    assert shares.sum(axis=1).to_numpy() == pytest.approx(np.ones(len(table)))


def test_what_a_model_sees_is_compared_too_and_is_not_hundreds_of_columns(
    digits: tuple[Dataset, DatasetConfig], tmp_path: Path
) -> None:
    def embed(images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1) / 255.0

    arrays, classes = load_split(digits[0], "train", limit=400), digits[0].card.classes
    reference = describe(arrays, classes, embed)
    mirrored = describe(replace(arrays, images=arrays.images[:, :, ::-1]), classes, embed)
    names = [name for name in reference if name.startswith("embedding_")]
    assert len(names) == EMBEDDING_COLUMNS
    report = compare(mirrored, reference, DriftConfig(), tmp_path)
    drifted = {name for name, column in report.columns.items() if column.drifted}
    assert not report.columns["brightness"].drifted
    assert len(drifted & set(names)) > 4


def test_columns_of_one_side_are_said_to_be_left_out(digits: tuple[Dataset, DatasetConfig], tmp_path: Path) -> None:
    table = profile(digits[0], sample=200)
    report = compare(table.assign(extra=1.0), table, DriftConfig(), tmp_path)
    assert "not compared, since only one side has them: extra" in report.message


def test_profiles_without_a_common_column_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="columns in common"):
        compare(pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]}), DriftConfig(), tmp_path)
