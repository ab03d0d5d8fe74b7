"""Splits in memory."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components import decoding
from components.artifacts import Dataset, ImageSpec
from components.config import DatasetConfig
from components.data.errors import DataError
from components.data.reading.loading import load_split
from components.inputs.image import decode
from tests.components.data.data_builders import build, folder_entry

SPEC = ImageSpec(height=10, width=12, channels=3, mean=(0.5,) * 3, std=(0.2,) * 3)


def test_a_limit_takes_a_seeded_subset_in_order(digits: tuple[Dataset, DatasetConfig]) -> None:
    everything = load_split(digits[0], "train")
    some, again, other = (load_split(digits[0], "train", limit=50, seed=seed) for seed in (1, 1, 2))
    assert len(some) == 50
    assert some.ids.tolist() == again.ids.tolist()
    assert some.ids.tolist() != other.ids.tolist()
    positions = [everything.ids.tolist().index(sample) for sample in some.ids]
    assert positions == sorted(positions)
    assert np.array_equal(some.inputs, everything.inputs[positions])
    assert np.array_equal(some.targets, everything.targets[positions])


def test_masks_come_as_classes_a_pixel(scenes: tuple[Dataset, DatasetConfig]) -> None:
    arrays = load_split(scenes[0], "validation")
    assert arrays.inputs.shape == (len(arrays), 32, 32, 1)
    assert arrays.targets.shape == (len(arrays), 32, 32)
    assert arrays.targets.dtype == np.uint8
    assert arrays.targets.max() <= 10


def test_files_of_other_encoders_are_decoded_alike(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures(each=6)
    dataset, _ = build(tmp_path, "mine", **folder_entry(folder))
    arrays = load_split(dataset, "train")
    for sample, image in zip(arrays.ids, arrays.inputs, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(folder / sample)))


def test_a_broken_sample_is_named(pictures: Callable[..., Path], tmp_path: Path) -> None:
    folder = pictures(each=6)
    for label in ("cat", "dog"):
        for path in (folder / label).iterdir():
            path.write_bytes(b"nothing")
    dataset, _ = build(tmp_path, "mine", **folder_entry(folder))
    with pytest.raises(DataError, match=r"(cat|dog)/00\d\.png: is text, not a picture"):
        load_split(dataset, "train")


def test_another_size_is_refused_unless_it_may_be_resized() -> None:
    file = io.BytesIO()
    Image.new("RGB", (24, 20), (9, 9, 9)).save(file, "PNG")
    with pytest.raises(decoding.UndecodableError, match="expected an image of 12×10 in mode RGB, received 24×20"):
        decode(file.getvalue(), SPEC)
    assert decode(file.getvalue(), SPEC, resize=True).shape == (10, 12, 3)
