"""Stored PNG against Pillow's decoder, and masks that cannot be read."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components import decoding
from components.inputs import png


def _random(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(1, 5))
def test_another_decoder_sees_the_same_pixels(height: int, width: int, channels: int, count: int) -> None:
    batch = _random(count, height, width, channels)
    encoded = png.encode(batch)
    for content, expected in zip(encoded.to_pylist(), batch, strict=True):
        assert np.array_equal(decoding.to_array(Image.open(io.BytesIO(content))), expected)
    unpacked = png.decode_stored(encoded)
    assert unpacked is not None
    assert np.array_equal(unpacked, batch)


def test_pictures_larger_than_one_block_of_zlib_survive() -> None:
    batch = _random(2, 200, 180, 3)  # 108,200 bytes each: two blocks
    encoded = png.encode(batch)
    assert np.array_equal(decoding.to_array(Image.open(io.BytesIO(encoded[1].as_py()))), batch[1])
    unpacked = png.decode_stored(encoded)
    assert unpacked is not None
    assert np.array_equal(unpacked, batch)


def test_a_slice_of_a_column_is_not_read_from_its_start() -> None:
    batch = _random(6, 5, 4)
    unpacked = png.decode_stored(png.encode(batch).slice(2, 3))
    assert unpacked is not None
    assert np.array_equal(unpacked[..., 0], batch[2:5])


@pytest.mark.parametrize("position", [20, 60, 100])
def test_a_flipped_byte_is_not_taken_for_a_picture(position: int) -> None:
    contents = png.encode(_random(3, 9, 9)).to_pylist()
    damaged = bytearray(contents[1])
    damaged[position] ^= 1
    assert png.decode_stored(pa.array([contents[0], bytes(damaged), contents[2]], pa.binary())) is None


def test_somebody_elses_png_is_left_to_the_decoder() -> None:
    file = io.BytesIO()
    Image.fromarray(_random(9, 9)).save(file, "PNG")
    assert png.decode_stored(pa.array([file.getvalue()], pa.binary())) is None


def test_masks_are_decoded_a_few_at_a_time_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    # given masks as others encode them, of different sizes, and two that cannot be read
    masks = [np.full((height, 30), height, dtype=np.uint8) for height in (3, 40, 5, 60, 7)]
    column = pa.array([b"no mask", None, *map(_compressed, masks)], pa.binary())
    at_once: list[int] = []
    in_threads = png.in_threads

    def counted(function: Any, some: Any) -> list[Any]:
        at_once.append(len(some))
        return in_threads(function, some)

    monkeypatch.setattr(png, "in_threads", counted)
    monkeypatch.setattr(png, "_MASK_PIXELS", 2000)
    # when two thousand pixels may be in memory together, then no more are, and the masks are the same
    decoded = list(png.decode_masks(column))
    assert decoded[0] is decoded[1] is None
    assert all(np.array_equal(found, mask) for found, mask in zip(decoded[2:], masks, strict=True))
    assert at_once == [5, 1, 1]
    # and classes are counted as NumPy does, also in masks larger than what is counted at a time
    monkeypatch.setattr(png, "_COUNTED", 100)
    mask = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    assert np.array_equal(png.class_counts(mask), np.bincount(mask.ravel(), minlength=256))


def _compressed(mask: png.Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, "PNG")
    return stream.getvalue()


def test_masks_that_cannot_be_read_are_none_and_the_others_stay() -> None:
    mask = _random(1, 4, 4)
    good = png.encode(mask)[0].as_py()
    decoded = list(png.decode_masks(pa.array([good, b"no mask", None], pa.binary())))
    assert decoded[1] is None
    assert decoded[2] is None
    assert decoded[0] is not None
    assert np.array_equal(decoded[0], mask[0])
