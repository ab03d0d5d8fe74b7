"""Profiles of real digits and of images made to measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.artifacts import Dataset
from components.config import DatasetConfig
from components.data.drift.profile import EMBEDDING_COLUMNS, MISSING, describe, profile, seen
from components.data.errors import DataError
from components.data.reading.loading import Arrays, load_split
from components.data.sources import digits as digits_source
from tests.components.data.data_builders import build
from tests.components.data.drift.drift_builders import SITES, embed, told


def test_what_a_model_sees_is_taken_from_rows_that_it_was_not_fitted_to(digits: tuple[Dataset, DatasetConfig]) -> None:
    whole = profile(digits[0], sample=150, embed=embed)
    embedded = whole[whole["embedding_00"].notna()]
    assert set(embedded["id"]) <= set(digits[0].table("validation").column("id").to_pylist())
    assert set(whole.loc[whole["brightness"].notna(), "id"]) <= set(digits[0].table("train").column("id").to_pylist())
    assert (len(embedded), len(whole)) == (150, 300)


def test_an_embedding_of_64_is_not_64_columns(digits: tuple[Dataset, DatasetConfig]) -> None:
    whole = profile(digits[0], sample=50, embed=embed)
    assert sum(name.startswith("embedding_") for name in whole) == EMBEDDING_COLUMNS


def test_an_embedding_of_another_shape_is_refused(digits: tuple[Dataset, DatasetConfig]) -> None:
    with pytest.raises(DataError, match=r"expected \(10, D\) values, received \(10, 8, 8, 1\)"):
        seen(load_split(digits[0], "validation", limit=10), lambda images: images)


def test_masks_are_profiled_by_the_share_of_each_class(scenes: tuple[Dataset, DatasetConfig]) -> None:
    whole = profile(scenes[0], sample=20)
    shares = whole[[f"share_{name}" for name in scenes[0].card.classes]]
    assert "label" not in whole
    assert shares.sum(axis=1).to_numpy() == pytest.approx(np.ones(len(whole)))


def test_noise_is_measured_as_it_was_added() -> None:
    random = np.random.default_rng(0)
    images = np.clip(np.rint(random.normal(128, 12, (40, 64, 64, 1))), 0, 255).astype(np.uint8)
    rows = Arrays(np.arange(40).astype(str), images, np.zeros(40, np.int64), {})
    assert describe(rows, told(rows, ("only",)))["noise"].mean() * 255 == pytest.approx(12, rel=0.03)


def test_images_too_small_for_neighbours_are_profiled_without_them() -> None:
    rows = Arrays(np.array(["a"]), np.full((1, 2, 2, 3), 51, np.uint8), np.zeros(1, np.int64), {})
    found = describe(rows, told(rows, ("only",))).iloc[0]
    assert (found["brightness"], found["red"]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert "noise" not in found


def test_a_missing_group_is_a_category_of_its_own(tmp_path: Path) -> None:
    images, labels = digits_source.load()
    sites = [None if row % 4 == 0 else SITES[row % 2] for row in range(len(labels))]
    rows = pd.DataFrame({"id": [f"{row:04d}" for row in range(len(labels))], "target": labels, "group_site": sites})
    rows["path"] = rows["id"] + ".png"
    source = tmp_path / "pictures"
    source.mkdir()
    for name, image in zip(rows["path"], images, strict=True):
        Image.fromarray(image).save(source / name)
    rows.to_csv(source / "manifest.csv", index=False)
    dataset, _ = build(
        tmp_path,
        "sites",
        task="classification",
        image={"height": 8, "width": 8, "channels": 1},
        source={"kind": "manifest", "path": str(source / "manifest.csv"), "id": "id"},
    )

    found = profile(dataset, sample=400)

    truth = dict(zip(rows["id"], rows["group_site"].fillna(MISSING), strict=True))
    assert found["group_site"].tolist() == [truth[name] for name in found["id"]]
    assert (found["group_site"] == MISSING).mean() == pytest.approx(0.25, abs=0.07)
