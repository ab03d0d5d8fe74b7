"""Thumbnails are those of a trusted resampler, whole numbers, and do not depend on how they were gathered."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.data.inspection.eyes.thumbnails import luminance, preview, shrink
from components.data.inspection.rows import Pieces, Rows
from tests.components.data.inspection.inspection_builders import photographs


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (32, 32), (33, 47), (200, 120), (31, 640)])
def test_a_thumbnail_is_within_a_grey_value_of_pillows(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (*size, 3), dtype=np.uint8)

    ours = shrink(picture[None], 3)[0]

    theirs = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_picture_of_32_pixels_is_its_own_thumbnail() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)

    np.testing.assert_array_equal(shrink(picture, 3), picture)


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_one_value_stays_that_value_at_any_size(value: int) -> None:
    for side in (5, 28, 100, 3000):
        assert (shrink(np.full((1, side, 7, 1), value, dtype=np.uint8), 1) == value).all()


def test_a_thumbnail_does_not_depend_on_the_pictures_beside_it() -> None:
    pictures = photographs(6, side=600)  # more than fit into one go

    together = shrink(pictures, 3)

    np.testing.assert_array_equal(together, np.concatenate([shrink(one[None], 3) for one in pictures]))


def test_colour_becomes_grey_as_pillow_has_it_and_grey_becomes_colour() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)

    grey = shrink(picture[None], 1)

    np.testing.assert_array_equal(grey[0, ..., 0], np.asarray(Image.fromarray(picture).convert("L")))
    np.testing.assert_array_equal(luminance(shrink(grey, 3)), grey)


def test_rows_come_back_as_they_were_written_and_leave_no_file(tmp_path: Path) -> None:
    values = np.arange(7 * 6, dtype=np.int16).reshape(7, 2, 3)

    with Rows(tmp_path, (2, 3), np.int16) as rows:
        rows.append(values[:3])
        assert len(rows) == 3
        np.testing.assert_array_equal(rows.take(np.array([2, 0])), values[[2, 0]])
        rows.append(values[3:])
        np.testing.assert_array_equal(np.concatenate([batch for _, batch in rows.batches(2)]), values)
        assert not list(tmp_path.iterdir())  # nothing that a killed process could leave


def test_previews_come_back_and_are_only_made_where_they_show_more(tmp_path: Path) -> None:
    large = Image.fromarray(photographs(1, side=300)[0])

    with Pieces(tmp_path) as previews:
        previews.append([preview(large), preview(large.resize((32, 20)))])
        previews.append([preview(large.resize((50, 100)))])

        assert previews[1] == b""
        assert Image.open(io.BytesIO(previews[0])).size == (96, 96)
        assert Image.open(io.BytesIO(previews[2])).size == (48, 96)
