"""Every kind of picture against values worked out by hand, and everything else against the words that refuse it."""

from __future__ import annotations

import io
import os
import re
import resource
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from components import decoding
from components.decoding import UndecodableError
from tests.components.picture_builders import chunk, encoded, exif, noise, png, tiff, with_exif

SMALL = Image.fromarray(noise(20, 24))
JPEG = encoded(SMALL, "JPEG")


def read(content: bytes, **how: Any) -> list[Any]:
    """The pixels, as lists."""
    values: list[Any] = np.asarray(decoding.decode(content, **how).image).tolist()
    return values


def refusal(content: bytes, **how: Any) -> str:
    with pytest.raises(UndecodableError) as caught:
        decoding.decode(content, **how)
    said = str(caught.value)
    assert "0x" not in said and "\n" not in said and len(said) < 400
    return said


# -- right values ----------------------------------------------------------------------------------------------------

BE = ">HHHH"
WIDE = struct.pack(BE, 0, 257, 32896, 65535)
TRNS = chunk(b"tRNS", struct.pack(">H", 1))
PLTE = chunk(b"PLTE", bytes([10, 20, 30, 40, 50, 60, 70, 80, 90]))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # PNG, by bit depth and colour type; keys count in the units of the file
        (png(8, 1, 1, 0, [b"\xa0"]), [[255, 0, 255, 0, 0, 0, 0, 0]]),
        (png(4, 1, 2, 0, [b"\x1b"]), [[0, 85, 170, 255]]),
        (png(2, 1, 4, 0, [b"\x1f"]), [[17, 255]]),
        (png(3, 1, 8, 0, [b"\x00\x01\xff"]), [[0, 1, 255]]),
        (png(4, 1, 16, 0, [WIDE]), [[0, 1, 128, 255]]),
        (png(8, 1, 1, 0, [b"\x40"], chunk(b"tRNS", b"\0\0")), [[255] * 8]),
        (png(8, 1, 1, 0, [b"\x40"], TRNS), [[0, 255, 0, 0, 0, 0, 0, 0]]),
        (png(4, 1, 2, 0, [b"\x1b"], TRNS), [[0, 255, 170, 255]]),
        (png(2, 1, 4, 0, [b"\x12"], TRNS), [[255, 34]]),
        (png(3, 1, 8, 0, [b"\x00\x01\x02"], TRNS), [[0, 255, 2]]),
        (png(4, 1, 16, 0, [WIDE], chunk(b"tRNS", struct.pack(">H", 257))), [[0, 255, 128, 255]]),
        (png(2, 1, 8, 2, [bytes([1, 2, 3, 1, 2, 4])]), [[[1, 2, 3], [1, 2, 4]]]),
        (
            png(2, 1, 8, 2, [bytes([1, 2, 3, 1, 2, 4])], chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))),
            [[[255, 255, 255], [1, 2, 4]]],
        ),
        (png(1, 1, 16, 2, [struct.pack(">HHH", 0x0102, 0xFF00, 0x00FF)]), [[[1, 255, 0]]]),
        (png(3, 1, 8, 3, [b"\0\1\2"], PLTE), [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]),
        (
            png(3, 1, 8, 3, [b"\0\1\2"], PLTE, chunk(b"tRNS", b"\xff\x00")),
            [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]],
        ),
        (png(2, 1, 4, 3, [b"\x12"], PLTE, chunk(b"tRNS", b"\xff\x00")), [[[255, 255, 255], [70, 80, 90]]]),
        (png(3, 1, 8, 4, [bytes([9, 255, 9, 0, 9, 51])]), [[9, 255, 206]]),  # 9 · 0.2 + 255 · 0.8
        (png(2, 1, 8, 6, [bytes([9, 8, 7, 0, 100, 50, 0, 51])]), [[[255, 255, 255], [224, 214, 204]]]),
        # TIFF: either order of bytes, 12 bits, signs, floating point, 0 that is white
        (tiff(2, 1, struct.pack("<HH", 257, 65535), bits=16), [[1, 255]]),
        (tiff(2, 1, struct.pack(">HH", 257, 65535), ">", bits=16), [[1, 255]]),
        (tiff(2, 1, struct.pack("<HH", 257, 65535), bits=16, photometric=0), [[254, 0]]),
        (tiff(2, 1, b"\xff\xf0\x00", bits=12), [[255, 0]]),
        (tiff(2, 1, b"\x80\x0f\xff", bits=12), [[128, 255]]),  # 2048 / 4095 · 255 = 127.5
        (tiff(4, 1, struct.pack("<4f", 0, 0.2, 0.5, 1), bits=32, format=3), [[0, 51, 128, 255]]),
        (tiff(2, 1, struct.pack(">2f", 0.2, 1), ">", bits=32, format=3), [[51, 255]]),
        (tiff(2, 1, struct.pack("<2f", 0.2, 1), bits=32, format=3, photometric=0), [[204, 0]]),
        (tiff(8, 1, b"\xa0", bits=1, photometric=0), [[0, 255, 0, 255, 255, 255, 255, 255]]),
        (tiff(2, 1, b"\x00\x05", photometric=0), [[255, 250]]),
        (tiff(1, 1, bytes([9, 8, 7, 0]), photometric=2, samples=4, extra=2), [[[255, 255, 255]]]),
        (tiff(1, 1, struct.pack("<HHH", 0x0102, 0xFF00, 0x00FF), bits=16, photometric=2, samples=3), [[[1, 255, 0]]]),
        # CMYK: each colour times black; the PPM family
        (tiff(1, 1, bytes([0, 51, 255, 0]), photometric=5, samples=4), [[[255, 204, 0]]]),
        (b"P5 2 1 65535\n" + struct.pack(">HH", 257, 65535), [[1, 255]]),
        (b"P5 2 1 1023\n" + struct.pack(">HH", 0, 1023), [[0, 255]]),
        (b"P5 2 1 255\n\x07\xff", [[7, 255]]),
        (b"P6 1 1 255\n\x07\x08\xff", [[[7, 8, 255]]]),
        (b"P4 8 1\n\xa0", [[0, 255, 0, 255, 255, 255, 255, 255]]),
        (b"Pf 2 1 -1.0\n" + struct.pack("<ff", 0.2, 1.0), [[51, 255]]),
    ],
)
def test_a_picture_has_the_values_that_its_numbers_mean(content: bytes, expected: list[Any]) -> None:
    assert read(content) == expected
    header, picture = decoding.header(content), decoding.decode(content)
    assert header == picture.header and header.size == picture.image.size
    assert decoding.is_grey(header.mode) == (picture.image.mode == "L")


@pytest.mark.parametrize(
    ("mode", "limits", "words"),
    [
        ("RGB", None, None),
        ("P", None, None),
        ("I;16B", None, "0 is black and 65,535 is white"),
        ("F", None, "0 is black and 1 is white"),
        ("F", (-1.5, 400), "-1.5 is black and 400 is white"),
        ("CMYK", None, "converted to sRGB, embedded colour profiles aside"),
        ("RGBA", None, "what is see-through is laid over white"),
        ("I;16 with transparency", None, "0 is black and 65,535 is white; what is see-through is laid over white"),
    ],
)
def test_how_a_mode_is_read_is_said(mode: str, limits: tuple[float, float] | None, words: str | None) -> None:
    assert decoding.read_as(mode, limits) == words


def test_a_tile_is_read_as_a_strip_is() -> None:
    pixels = noise(16, 16, 1)
    assert read(tiff(16, 16, pixels.tobytes(), tile=16)) == read(tiff(16, 16, pixels.tobytes())) == pixels.tolist()


def test_a_photograph_for_print_keeps_its_colours() -> None:
    # given flat ink in a JPEG with Adobe's marker, which stores it inverted
    ink = encoded(Image.new("CMYK", (16, 16), (0, 51, 102, 51)), "JPEG", quality=100)
    assert b"Adobe" in ink
    # then each colour is (1 - ink) · (1 - black)
    assert np.abs(np.asarray(decoding.decode(ink).image)[8, 8].astype(int) - [204, 163, 122]).max() <= 2


def test_lab_is_told_apart_from_rgb_and_becomes_it() -> None:
    to_lab = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    lab = ImageCms.profileToProfile(Image.new("RGB", (9, 9), (200, 40, 90)), *to_lab, outputMode="LAB")
    content = encoded(lab, "TIFF")  # type: ignore[arg-type]
    picture = decoding.decode(content)
    assert picture.header.mode == "LAB"
    assert np.abs(np.asarray(picture.image).astype(int) - [200, 40, 90]).max() <= 3
    pixels, _ = decoding.read(content, decoding.Form(9, 9, 1, resize=True))  # grey from it, too
    assert abs(int(pixels[4, 4, 0]) - (299 * 200 + 587 * 40 + 114 * 90) / 1000) <= 3


@pytest.mark.parametrize("form", ["JPEG2000", "AVIF", "WEBP"])
def test_a_format_is_known_by_its_content_and_not_by_its_name(form: str) -> None:
    options = {"JPEG2000": {}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}, "WEBP": {"lossless": True}}[form]
    picture = decoding.decode(encoded(SMALL, form, **options))
    assert picture.header.format == form
    assert np.abs(np.asarray(picture.image).astype(int) - np.asarray(SMALL)).max() <= (4 if form == "AVIF" else 0)


def test_a_large_picture_is_converted_as_its_parts_are() -> None:
    # given more pixels than are converted at a time
    pixels = noise(1030, 1024, 4)
    whole = np.asarray(decoding.decode(encoded(Image.fromarray(pixels), "PNG", compress_level=1)).image)
    last = encoded(Image.fromarray(pixels[1020:]), "PNG")
    assert np.array_equal(whole[1020:], np.asarray(decoding.decode(last).image))
    deep = np.random.default_rng(0).integers(0, 2**16, (1030, 1024), dtype=np.uint16)
    scaled = np.asarray(decoding.decode(encoded(Image.fromarray(deep), "PNG", compress_level=1)).image)
    assert np.array_equal(scaled, deep // 257)


# -- numbers without a range of their own ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tiff(2, 1, struct.pack("<hh", -5, 300), bits=16, format=2), "16-bit signed whole numbers (-5 to 300)"),
        (tiff(2, 1, struct.pack("<ii", -5, 300), bits=32, format=2), "32-bit signed whole numbers (-5 to 300)"),
        (tiff(2, 1, struct.pack("<II", 5, 4 * 10**9), bits=32), "32-bit whole numbers (5 to 4,000,000,000)"),
        (tiff(2, 1, struct.pack("<bb", -5, 30), bits=8, format=2), "8-bit signed whole numbers (-5 to 30)"),
        (tiff(2, 1, struct.pack("<ff", 0, 255), bits=32, format=3), "from 0 to 255, outside of [0, 1]"),
        (tiff(2, 1, struct.pack("<ff", -0.25, 1), bits=32, format=3), "from -0.25 to 1, outside of [0, 1]"),
    ],
)
def test_numbers_without_a_range_are_refused_with_the_key_that_gives_one(content: bytes, words: str) -> None:
    assert words in refusal(content)
    assert "`image.range: [LOW, HIGH]`" in refusal(content)
    assert decoding.decode(content, range=(-1000.0, 1000.0)).image.mode == "L"  # which is then read


def test_a_declared_range_is_linear_and_cut_off_beyond_it() -> None:
    signed = tiff(4, 1, struct.pack("<4h", -2000, -1000, 0, 3000), bits=16, format=2)
    assert read(signed, range=(-1000, 1000)) == [[0, 0, 128, 255]]
    assert read(tiff(2, 1, struct.pack("<II", 10**9, 4 * 10**9), bits=32), range=(0, 4e9)) == [[64, 255]]
    assert read(tiff(2, 1, struct.pack("<ff", 0, 255), bits=32, format=3), range=(0, 255)) == [[0, 255]]
    scanned = tiff(3, 1, struct.pack("<3H", 0, 2048, 4095), bits=16)
    assert read(scanned) == [[0, 7, 15]]
    assert read(scanned, range=(0, 4095)) == [[0, 128, 255]]
    assert read(tiff(2, 1, b"\x00\x09"), range=(0, 10)) == [[0, 9]]  # 8 bits have a range of their own


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_whatever_the_range(value: float) -> None:
    content = tiff(2, 1, struct.pack("<ff", 0.5, value), bits=32, format=3)
    assert "not numbers (NaN or infinite)" in refusal(content)
    assert "not numbers (NaN or infinite)" in refusal(content, range=(0, 1))


def test_how_much_of_sixteen_bits_is_used_is_told() -> None:
    assert decoding.decode(tiff(2, 1, struct.pack("<HH", 0, 4095), bits=16)).peak == 4095
    assert decoding.decode(tiff(2, 1, struct.pack("<HH", 0, 4095), bits=16), range=(0, 4095)).peak is None
    assert decoding.decode(JPEG).peak is None


def test_a_colour_key_of_sixteen_bits_is_refused_rather_than_compared_at_eight() -> None:
    key = chunk(b"tRNS", struct.pack(">HHH", 0x0102, 0, 0))
    content = png(2, 1, 16, 2, [struct.pack(">6H", 0x0102, 0, 0, 0x0103, 0, 0)], key)
    assert "save it with an alpha channel" in refusal(content)


# -- orientation -----------------------------------------------------------------------------------------------------

TURNED: dict[int, Callable[[Any], Any]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


def lying(orientation: int) -> Iterator[tuple[str, bytes]]:
    block = exif(orientation, ">")
    rows, late = [row.tobytes() for row in np.asarray(SMALL)], chunk(b"eXIf", block[6:])
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.format(orientation).encode()
    yield "JPEG", with_exif(JPEG, block)
    yield "JPEG by XMP", encoded(SMALL, "JPEG", xmp=XMP.format(orientation).encode())
    yield "PNG", png(24, 20, 8, 2, rows, late)
    yield "PNG, behind the pixels", png(24, 20, 8, 2, rows, after=late)
    yield "PNG by XMP", png(24, 20, 8, 2, rows, after=chunk(b"iTXt", text))
    yield "WEBP", encoded(SMALL, "WEBP", lossless=True, exif=block)
    yield "AVIF", encoded(SMALL, "AVIF", exif=block)
    for order in "<>":
        pixels = np.asarray(SMALL).tobytes()
        yield f"TIFF {order}", tiff(24, 20, pixels, order, photometric=2, samples=3, orientation=orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright_whatever_its_format(orientation: int) -> None:
    flat = dict(lying(1))
    for name, content in lying(orientation):
        expected = TURNED[orientation](np.asarray(decoding.decode(flat[name]).image))
        picture = decoding.decode(content)
        assert np.array_equal(np.asarray(picture.image), expected), name
        assert decoding.header(content).size == picture.image.size == expected.shape[1::-1], name  # not turned twice
        assert np.array_equal(np.asarray(decoding.load(content)), expected), name


def test_odd_exif_beside_a_readable_picture_is_no_damage() -> None:
    """24 tags by 17 types: Pillow's own way to turn a picture fails for 174 of them, since it writes all tags anew."""
    place = struct.pack("<I", 8 + 2 + 24 + 4)
    values = [
        *((10, 1, place, struct.pack("<ii", *pair)) for pair in ((-1, 0), (-72, 1))),
        *((5, count, place, struct.pack("<IIII", 72, 0, 72, 1)) for count in (1, 2)),
        *((9, 1, struct.pack("<i", -5), b""), (8, 1, struct.pack("<hh", -5, 0), b""), (6, 1, b"\xfb\0\0\0", b"")),
        *((11, 1, struct.pack("<f", np.inf), b""), (12, 1, place, struct.pack("<d", np.nan)), (2, 4, b"abc\0", b"")),
        *((7, 4, b"\xff\xfe\0\1", b""), (3, 4, place, struct.pack("<4H", 1, 2, 3, 4)), (4, 1, b"\xff" * 4, b"")),
        *((16, 1, place, struct.pack("<Q", 2**63)), (13, 1, struct.pack("<I", 9), b""), (1, 3, b"\1\2\3\0", b"")),
        (2, 0, b"\0" * 4, b""),
    ]
    tags = (0x010E, 0x010F, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x0213, 0x8298, 0x8769, 0x8825, 0x9286)
    upright = np.asarray(decoding.decode(with_exif(JPEG, exif(6))).image)
    for tag in (*tags, 0x829A, 0x9C9B, 0xA005, 0x927C, 0x4746, 0xEA1C, 0x02BC, 0x0201, 0x0103, 0x0111, 0x014A):
        for kind, count, value, extra in values:
            content = with_exif(JPEG, exif(6, "<", (tag, kind, count, value), extra=extra))
            assert np.array_equal(np.asarray(decoding.decode(content).image), upright), (tag, kind)


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", exif(9), exif(0), exif(6)[:20]])
def test_exif_that_cannot_be_read_leaves_the_picture_as_it_is_stored(block: bytes) -> None:
    assert read(with_exif(JPEG, block)) == read(JPEG)


def test_a_tiff_with_odd_tags_is_turned_all_the_same() -> None:
    odd = (0x8298, 10, 1, struct.pack("<I", 8))  # a copyright that is a signed fraction
    pixels = np.asarray(SMALL).tobytes()
    content = tiff(24, 20, pixels, photometric=2, samples=3, orientation=6, more=[odd])
    assert np.array_equal(np.asarray(decoding.decode(content).image), TURNED[6](np.asarray(SMALL)))


# -- more than one picture -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_several_frames_or_pages_are_refused_or_the_first_is_taken(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if form == "WEBP" else {}
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert f"more than one picture ({form}" in refusal(content) and "`image.frames: first`" in refusal(content)
    assert decoding.header(content).size == (16, 16)
    first = decoding.decode(content, frames="first")
    assert np.abs(np.asarray(first.image).astype(int) - [250, 0, 0]).max() <= 4 and not first.own
    single = encoded(frames[0], form, save_all=True, **options)
    assert decoding.decode(single).image.size == (16, 16)


def test_previews_behind_a_picture_do_not_count() -> None:
    telephone = encoded(SMALL, "MPO", save_all=True, append_images=[SMALL.resize((12, 10))])
    assert decoding.header(telephone).format == "MPO" and read(telephone) == read(JPEG)
    page, preview = tiff(24, 20, bytes(480)), tiff(12, 10, bytes(120), subfile=1)
    # given a TIFF whose second page calls itself reduced: its directory behind the first one's
    moved = bytearray(page + preview)
    count = struct.unpack_from("<H", moved, 8)[0]
    struct.pack_into("<I", moved, 10 + 12 * count, len(page) + 8)
    at = len(page) + 10
    for entry in range(at, at + 12 * struct.unpack_from("<H", moved, len(page) + 8)[0], 12):
        if struct.unpack_from("<H", moved, entry)[0] == 273:
            struct.pack_into("<I", moved, entry + 8, struct.unpack_from("<I", moved, entry + 8)[0] + len(page))
    assert Image.open(io.BytesIO(moved)).n_frames == 2  # type: ignore[attr-defined]
    assert decoding.decode(bytes(moved)).image.size == (24, 20)


def test_the_preview_in_a_cameras_raw_file_is_not_taken_for_the_picture() -> None:
    raw = tiff(8, 8, bytes(64), more=[(50706, 1, 4, b"\1\4\0\0")])
    assert "a camera's raw file" in refusal(raw)


# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height"), [(8001, 8000), (14_000, 13_000), (40_000, 30_000), (70_000, 2), (2, 2**31 - 1)]
)
def test_a_size_is_refused_by_the_header_and_named(width: int, height: int) -> None:
    content = png(width, height, 1, 0, [b"\0"])
    start = time.monotonic()
    said = refusal(content)
    assert said.startswith(f"has {width:,} × {height:,} pixels") and "64,000,000" in said
    with pytest.raises(UndecodableError, match="64,000,000"):
        decoding.header(content)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("least", [12_000, 60_000])  # within twice what Pillow takes by itself, and beyond
def test_a_gif_makes_no_room_for_a_frame_that_is_too_large(least: int) -> None:
    # given a screen of one pixel, and a frame that is to leave the background behind: Pillow fills it while it opens
    content = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    content += b"!\xf9\x04\x09\0\0\0\0" + b"," + struct.pack("<4HB", 0, 0, least, least, 0) + b"\x02\x02D\x01\0;"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    # then it is refused by its size, and by header and answer alike
    assert refusal(content).startswith(f"has {least**2:,} pixels, and at most 64,000,000")
    with pytest.raises(UndecodableError, match="64,000,000"):
        decoding.header(content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_a_picture_of_the_largest_size_is_read() -> None:
    whole = encoded(Image.new("1", (8000, 8000)), "PNG")
    pixels, size = decoding.read(whole, decoding.Form(4, 4, 1, resize=True))
    assert size == (8000, 8000) and not pixels.any()


def test_more_bytes_than_any_picture_needs_are_refused() -> None:
    assert "more than the 536,870,912 that are read" in refusal(bytes(decoding.LARGEST_BYTES + 1))


def test_texts_and_profiles_that_unpack_to_much_are_passed_over() -> None:
    # given a good picture beside a colour profile and a text that Pillow does not unpack for their size
    bomb = zlib.compress(bytes(2 * 2**20))
    rows = [row.tobytes() for row in np.asarray(SMALL)]
    loaded = png(24, 20, 8, 2, rows, chunk(b"iCCP", b"a\0\0" + bomb), chunk(b"zTXt", b"a\0\0" + bomb))
    assert read(loaded) == np.asarray(SMALL).tolist()
    assert decoding.header(loaded) == decoding.header(png(24, 20, 8, 2, rows))


def test_large_pictures_wait_for_each_other_and_small_ones_do_not() -> None:
    inside, most, guard = 0, 0, threading.Lock()

    def use() -> None:
        nonlocal inside, most
        with decoding.room(40_000_000), decoding.room(40_000_000):  # who has room is not kept waiting by itself
            with guard:
                inside, most = inside + 1, max(most, inside + 1)
            time.sleep(0.02)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=use) for _ in range(4)]
    with decoding.room(decoding.LARGEST_PIXELS):
        for thread in threads:
            thread.start()
        other = threading.Thread(target=decoding.decode, args=(JPEG,))
        other.start()
        other.join(5)
        assert not other.is_alive() and most == 0
    for thread in threads:
        thread.join(10)
    assert most == 1 and inside == 0


# -- what is no picture ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "is HEIC, as telephones write it"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf" + bytes(99), "is HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(9), "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(99), "is a video (MP4"),
        (b"%PDF-1.7\n%\xe2\xe3", "is a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n{} loop\n", "is PostScript, a program, which is not run"),
        (b"\n\n <!DOCTYPE html><html>", "is an HTML page"),
        ("\ufeff<html lang='fr'>é".encode(), "is an HTML page"),
        ("<html>".encode("utf-16"), "is an HTML page"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "is SVG"),
        (b"<?xml version='1.0'?><annotation/>", "is XML"),
        (b'{"image": 1}', "is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n", "run `git lfs pull`"),
        (b"8BPS\0\1" + bytes(50), "is a Photoshop document"),
        (b"PK\3\4" + bytes(50), "is a ZIP archive"),
        (bytes(128) + b"DICM", "is DICOM"),
        (bytes(344) + b"n+1\0", "is NIfTI"),
        (b"\x93NUMPY\1\0", "is a NumPy array"),
        (b"\x1f\x8b\x08\0", "is packed by gzip"),
        (bytes(2000), "nothing but zeros (2,000 bytes)"),
        (b"hello\x1b[31mred\nsecond line", r"is text, not a picture: 'hello\x1b[31mred'"),
        (b"x" * 5000, "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'…"),
        (b"\x89PNG\r\n\x1a\nrest", "begins like PNG, but its header is damaged"),
        (b"\xff\xd8\xff\xe0", "begins like JPEG"),
        (b"\x00\x02\x0a\x00\x00\x00\x99\x00" * 4, "begins with the bytes 00 02 0a"),
        (tiff(2, 1, bytes(6), bits=24), "is TIFF of a kind that Pillow does not read"),
    ],
)
def test_what_it_is_instead_is_told(content: bytes, words: str) -> None:
    assert words in refusal(content) == refusal(content)  # the same from run to run


def test_postscript_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a Ghostscript that would leave a mark, and Pillow ready to call it
    mark, program = tmp_path / "mark", tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    Image.init()
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"
    with pytest.raises((OSError, SyntaxError)):
        Image.open(io.BytesIO(script)).load()
    assert mark.exists()  # which plain Pillow does
    mark.unlink()
    assert "PostScript" in refusal(script)
    with pytest.raises(UndecodableError, match="PostScript"):
        decoding.header(script)
    assert not mark.exists()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_damage_of_any_kind_is_one_error(form: str) -> None:
    """Cut short, or with other bytes in it: another picture, or a reason; never another exception."""
    options = {"compression": "tiff_lzw"} if form == "TIFF" else {}
    content = encoded(SMALL, form, **options)
    rng = np.random.default_rng(0)
    cut = [content[: len(content) * part // 20] for part in range(1, 19)]
    changed = []
    for _ in range(60):
        other = bytearray(content)
        for place in rng.integers(0, min(len(other), 400), 3):
            other[place] = rng.integers(0, 256)
        changed.append(bytes(other))
    refused = 0
    for damaged in (*cut, *changed):
        for ask in (decoding.header, decoding.decode):
            try:
                ask(damaged)  # type: ignore[operator]
            except UndecodableError as error:
                assert not re.search(r"0x[0-9a-f]{6}|\n", str(error)), error
                refused += 1
    assert refused >= len(cut) // 2


def test_nothing_of_it_reaches_the_terminal() -> None:
    # given what Pillow warns of: a TIFF whose tag says more values than there are, and a very large picture
    warned = tiff(2, 1, b"\1\2", more=[(315, 2, 500, struct.pack("<I", 8)), (282, 3, 2, b"\1\0\1\0")])
    large = png(9500, 10_000, 1, 0, [b"\0"])
    logged = tiff(2, 1, b"\1\2").replace(struct.pack("<HHIH", 277, 3, 1, 1), struct.pack("<HHIH", 277, 3, 1, 5632))
    program = (
        "import sys; from components import decoding\n"
        "for content in map(bytes.fromhex, sys.argv[1:]):\n"
        "    try: decoding.decode(content)\n"
        "    except decoding.UndecodableError: pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, warned.hex(), large.hex(), logged.hex()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_masks_are_numbers_and_nothing_else() -> None:
    palette = png(3, 1, 8, 3, [b"\0\1\2"], PLTE, chunk(b"tRNS", b"\xff\x00"))
    assert decoding.indices(palette).tolist() == [[0, 1, 2]]
    with pytest.raises(UndecodableError, match="has mode RGB, not P or L"):
        decoding.indices(JPEG)
