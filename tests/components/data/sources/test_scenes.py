"""Composed scenes for detection: what is told of each thing is what its pixels show, and no thing is in two splits."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from components import decoding
from components.config import ScenesSource
from components.data.errors import DataError
from components.data.sources import fashion_mnist, scenes
from components.data.sources.places.download import Expected
from components.targets.flat_boxes import Flat, flat
from tests.components.data.sources.source_builders import idx_bytes, read

PLAIN = {"kind": "scenes", "scenes": 80, "size": 64}


def table(**changes: Any) -> pa.Table:
    data = scenes.read(ScenesSource.model_validate(PLAIN | changes), Path())
    return pa.concat_tables(data.tables)


def boxes(**changes: Any) -> Flat:
    return flat(table(**changes).column("target").combine_chunks())


def test_boxes_and_shares_are_those_of_the_pixels(tmp_path: Path) -> None:
    """Where a class is there once, the mask has every pixel of it that is seen."""
    told, masks = table(), table(take="masks")
    assert told.column("image").equals(masks.column("image"))
    whole = hidden = 0
    for objects, mask in zip(told.column("target").to_pylist(), masks.column("target").to_pylist(), strict=True):
        pixels = decoding.indices(mask)
        assert set(np.unique(pixels)) - {0} == {each["label"] + 1 for each in objects}
        for each in objects:
            rows, columns = np.nonzero(pixels == each["label"] + 1)
            if [other["label"] for other in objects].count(each["label"]) > 1:
                continue
            sides = [each[side] for side in ("left", "top", "right", "bottom")]
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert found[0] >= sides[0] and found[1] >= sides[1] and found[2] <= sides[2] and found[3] <= sides[3]
            assert 0 <= sides[0] < sides[2] <= 64 and 0 <= sides[1] < sides[3] <= 64
            if each["visible"] == 1:
                assert found == sides
                whole += 1
            else:  # so many pixels of a whole number of them
                number = len(rows) / each["visible"]
                assert number == pytest.approx(round(number), abs=1e-3) and round(number) > len(rows)
                hidden += 1
    assert whole > 30 and hidden > 30


def test_a_tenth_at_least_is_half_hidden_and_nothing_wholly() -> None:
    found = boxes(scenes=300, size=96)
    assert found.visible.min() >= 0.2
    assert 0.1 <= (found.visible <= 0.5).mean() <= 0.35
    assert set(found.counts.tolist()) == {1, 2, 3, 4, 5, 6}
    assert np.bincount(found.labels, minlength=10).min() > 50
    assert (boxes(hidden=0.0).visible >= 0.2).all() and (boxes(hidden=0.0).visible <= 0.5).mean() < 0.1


def test_scenes_are_split_as_their_things_are_and_depend_on_the_seed_alone() -> None:
    published = table().column("published").to_pylist()
    assert {name: published.count(name) for name in set(published)} == {"train": 56, "validation": 8, "test": 16}
    assert table().equals(table())
    longer, shorter = table(scenes=160).to_pylist(), table().to_pylist()
    assert longer[:56] == shorter[:56]
    assert table(seed=1).column("image")[0] != table().column("image")[0]
    source = ScenesSource.model_validate(PLAIN)
    parts = {
        split: {each.thing(number).ink.tobytes() for number in range(len(each.classes))}
        for split, each in scenes._digits(source).items()
    }
    assert {name: len(each) for name, each in parts.items()}["train"] > 1000
    assert not parts["train"] & parts["test"] and not parts["validation"] & (parts["train"] | parts["test"])


def test_grey_scenes_have_one_channel_and_differ_in_light_and_ground() -> None:
    pictures = [decoding.to_array(decoding.decode(each.as_py()).image) for each in table(channels=1).column("image")]
    assert pictures[0].shape == (64, 64, 1)
    means = np.array([each.mean() for each in pictures])
    assert means.std() > 25 and means.min() < 80 and means.max() > 170


def cut_outs(base: Path, each: int = 5) -> dict[str, Any]:
    for number, name in enumerate(("disc", "bar")):
        for index in range(each):
            down, across = np.mgrid[:40, :40] - 20
            inside = down**2 + across**2 < 150 if name == "disc" else (abs(down) < 18) & (abs(across) < 5)
            pixels = np.zeros((40, 40, 4), np.uint8)
            pixels[inside] = (250 * number, 40 * index, 250 - 250 * number, 255)
            (base / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(base / name / f"{index}.png")
    return {"kind": "cut-outs", "path": str(base), "scenes": 30, "size": 64, "scale": [0.3, 0.4], "noise": 0.0}


def test_cut_outs_keep_their_form_and_colour(tmp_path: Path) -> None:
    data, rows = read({**cut_outs(tmp_path / "stamps"), "hidden": 0.0, "objects": [1, 1]})
    assert (data.classes, data.target) == (("bar", "disc"), "boxes")
    forms: dict[int, list[float]] = {0: [], 1: []}
    for row in rows:
        (each,) = row["target"]
        pixels = np.asarray(decoding.decode(row["image"]).image).astype(int)
        left, top, right, bottom = (int(each[side]) for side in ("left", "top", "right", "bottom"))
        middle = pixels[(top + bottom) // 2, (left + right) // 2]
        assert middle[2 if each["label"] else 0] > middle[0 if each["label"] else 2] + 60
        if each["visible"] == 1:
            forms[each["label"]].append((right - left) / (bottom - top))
    assert np.mean(forms[1]) == pytest.approx(1.0, abs=0.15) and np.mean(forms[0]) == pytest.approx(9 / 35, abs=0.1)


def test_what_is_no_cut_out_is_named(tmp_path: Path) -> None:
    source = cut_outs(tmp_path / "stamps", each=2)
    with pytest.raises(DataError, match="for three splits, received 2 of class 0"):
        read(source)
    source = cut_outs(tmp_path / "stamps")
    (tmp_path / "stamps" / "notes").mkdir()
    assert read({**source, "without": ["bar", "notes"]})[0].classes == ("disc",)
    for path in (tmp_path / "stamps" / "bar").iterdir():
        Image.new("RGB", (20, 20)).save(path)
    with pytest.raises(DataError, match=r"bar/\d\.png: expected a cut-out, .* received one without transparency"):
        read(source)


def test_fashion_mnist_s_own_test_items_are_those_of_the_test_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given the four files, small, in which every picture of the test split is brighter than any other
    folder, files = tmp_path / fashion_mnist.FOLDER, {}
    folder.mkdir(parents=True)
    for stem, count, level in (("train", 120, 120), ("t10k", 40, 250)):
        pixels = np.full((count, 28, 28), level, np.uint8)
        parts = {"images-idx3-ubyte": pixels, "labels-idx1-ubyte": np.arange(count, dtype=np.uint8) % 10}
        for kind, values in parts.items():
            content = idx_bytes(values)
            files[f"{stem}-{kind}"] = Expected(hashlib.sha256(content).hexdigest(), len(content))
            (folder / f"{stem}-{kind}").write_bytes(content)
    monkeypatch.setattr(fashion_mnist, "FILES", files)
    source = ScenesSource.model_validate(PLAIN | {"items": "fashion-mnist"})
    things = scenes._clothes(source, tmp_path)
    assert {split: len(each.classes) for split, each in things.items()} == {"train": 110, "validation": 10, "test": 40}
    assert {round(each.thing(0).ink.max() * 255) for each in things.values()} == {120, 250}
    assert things["test"].thing(3).ink.min() * 255 == pytest.approx(250)
    data = scenes.read(source, tmp_path)
    assert data.classes == fashion_mnist.CLASSES and sum(map(len, data.tables)) == 80
