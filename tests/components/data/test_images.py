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
from components.data import images


def _random(*shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(1, 5))
def test_another_decoder_sees_the_same_pixels(height: int, width: int, channels: int, count: int) -> None:
    batch = _random(count, height, width, channels)
    encoded = images.encode(batch)
    for content, expected in zip(encoded.to_pylist(), batch, strict=True):
        assert np.array_equal(decoding.to_array(Image.open(io.BytesIO(content))), expected)
    unpacked = images.decode_stored(encoded)
    assert unpacked is not None
    assert np.array_equal(unpacked, batch)


def test_pictures_larger_than_one_block_of_zlib_survive() -> None:
    batch = _random(2, 200, 180, 3)  # 108,200 bytes each: two blocks
    encoded = images.encode(batch)
    assert np.array_equal(decoding.to_array(Image.open(io.BytesIO(encoded[1].as_py()))), batch[1])
    unpacked = images.decode_stored(encoded)
    assert unpacked is not None
    assert np.array_equal(unpacked, batch)


def test_a_slice_of_a_column_is_not_read_from_its_start() -> None:
    batch = _random(6, 5, 4)
    unpacked = images.decode_stored(images.encode(batch).slice(2, 3))
    assert unpacked is not None
    assert np.array_equal(unpacked[..., 0], batch[2:5])


@pytest.mark.parametrize("position", [20, 60, 100])
def test_a_flipped_byte_is_not_taken_for_a_picture(position: int) -> None:
    contents = images.encode(_random(3, 9, 9)).to_pylist()
    damaged = bytearray(contents[1])
    damaged[position] ^= 1
    assert images.decode_stored(pa.array([contents[0], bytes(damaged), contents[2]], pa.binary())) is None


def test_somebody_elses_png_is_left_to_the_decoder() -> None:
    file = io.BytesIO()
    Image.fromarray(_random(9, 9)).save(file, "PNG")
    assert images.decode_stored(pa.array([file.getvalue()], pa.binary())) is None


def test_masks_that_cannot_be_read_are_none_and_the_others_stay() -> None:
    mask = _random(1, 4, 4)
    good = images.encode(mask)[0].as_py()
    decoded = list(images.decode_masks(pa.array([good, b"no mask", None], pa.binary())))
    assert decoded[1] is None
    assert decoded[2] is None
    assert decoded[0] is not None
    assert np.array_equal(decoded[0], mask[0])
