"""Strangers' pictures, from the look before ingesting to what is prepared: read as meant, or told what they are."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from components import decoding
from components.config import FolderSource, ImageDeclaration
from components.data.checking.check import Checked, Wanted, check
from components.data.errors import DataError
from components.data.inspection.eyes.thumbnails import shrink
from components.data.reading.loading import load_split
from components.data.sources import folder
from components.data.sources.annotations import cut, frames
from tests.components.data.data_builders import build, folder_entry
from tests.components.picture_builders import chunk, encoded, exif, noise, png, tiff, with_exif

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99)


def written(base: Path, make: Callable[[int], bytes], suffix: str, each: int = 12) -> Path:
    """A folder of two classes; no two pictures alike."""
    for number, label in enumerate(("one", "zero")):
        (base / label).mkdir(parents=True)
        for index in range(each):
            (base / label / f"{index:03}{suffix}").write_bytes(make(2 * index + number))
    return base


def looked(base: Path, tmp_path: Path, name: str = "look", *settings: str) -> Checked:
    return check(str(base), Wanted(settings=settings), tmp_path, tmp_path / name)


def said(checked: Checked, kind: str) -> dict[str, str]:
    return {row["id"]: row["says"] for row in checked.findings.to_pylist() if row["kind"] == kind}


def test_the_look_tells_what_each_file_is_the_same_each_time(tmp_path: Path) -> None:
    base = written(tmp_path / "mine", lambda seed: encoded(Image.fromarray(noise(12, 12, seed=seed)), "JPEG"), ".jpg")
    strangers = {
        "telephone.jpg": (HEIC, "is HEIC, as telephones write it"),
        "pointer.jpg": (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        "page.jpg": (b"<!DOCTYPE html><html>", "is an HTML page"),
        "empty.jpg": (b"", "is empty"),
        "cut.jpg": ((base / "one" / "000.jpg").read_bytes()[:-60], "is damaged or cut short (image file is truncated"),
        "huge.png": (png(14_000, 13_000, 1, 0, [b"\0"]), "has 14,000 × 13,000 pixels"),
        "script.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n{} loop\n", "is PostScript, a program, which is not run"),
    }
    for name, (content, _) in strangers.items():
        (base / "one" / name).write_bytes(content)
    first, second = looked(base, tmp_path, "first"), looked(base, tmp_path, "second")
    found = said(first, "corrupt")
    assert {name.removeprefix("one/") for name in found} == set(strangers)
    for name, (_, words) in strangers.items():
        assert words in found[f"one/{name}"]
    assert first.findings.equals(second.findings)


def test_what_is_no_image_in_a_classs_folder_is_told_apart(tmp_path: Path) -> None:
    base = written(tmp_path / "mine", lambda seed: encoded(Image.fromarray(noise(9, 9, seed=seed)), "JPEG"), ".jfif", 2)
    source = FolderSource(kind="folder", path=str(base))
    first = next(folder.read(source, tmp_path).tables)
    assert first.column("id")[0].as_py() == "one/000.jfif"  # a name that cameras and browsers give
    (base / "one" / "IMG_1.heic").write_bytes(HEIC)
    with pytest.raises(DataError, match=r"received 1 of another kind: one/IMG_1\.heic is HEIC.* `faulty: skip`"):
        folder.read(source, tmp_path)


def test_floating_point_between_0_and_1_is_read_so(tmp_path: Path) -> None:
    def shares(seed: int) -> bytes:
        return tiff(8, 8, (noise(8, 8, 1, seed) / np.float32(255)).astype("<f4").tobytes(), bits=32, format=3)

    base = written(tmp_path / "mine", shares, ".tif")
    checked = looked(base, tmp_path)
    assert not checked.errors and checked.looked.entry["image"]["resize"] and not said(checked, "blank")
    assert "mode F, 24 pictures: 0 is black and 1 is white" in checked.inspection.notes
    dataset, _ = build(tmp_path, "mine", **folder_entry(base, image=checked.looked.entry["image"]))
    arrays = load_split(dataset, "train")
    number = {
        f"{label}/{index:03}.tif": 2 * index + (label == "zero") for label in ("one", "zero") for index in range(12)
    }
    for name, pixels in zip(arrays.ids.tolist(), arrays.inputs, strict=True):
        assert np.array_equal(pixels[..., 0], noise(8, 8, 1, number[name]))


def test_twelve_bits_in_sixteen_are_warned_of_with_the_key_that_helps(tmp_path: Path) -> None:
    def scan(seed: int) -> bytes:
        values = np.random.default_rng(seed).integers(0, 4096, (8, 8), dtype=np.uint16)
        return encoded(Image.fromarray(values), "PNG")

    base = written(tmp_path / "mine", scan, ".png")
    dark = looked(base, tmp_path, "dark")
    (words,) = said(dark, "narrow-range").values()
    assert "24 pictures of 16 bits" in words and "`image.range: [0, 4095]`" in words and not dark.errors
    bright = looked(base, tmp_path, "bright", "image.range=[0, 4095]")
    assert not said(bright, "narrow-range") and not said(bright, "blank")
    assert "mode I;16, 24 pictures: 0 is black and 65,535 is white" in dark.inspection.notes
    assert "mode I;16, 24 pictures: 0 is black and 4,095 is white" in bright.inspection.notes
    dataset, _ = build(tmp_path, "mine", **folder_entry(base, image=bright.looked.entry["image"]))
    assert dataset.card.input.range == (0.0, 4095.0)  # by which the model that is served reads, too
    assert load_split(dataset, "train").inputs.max() > 250


def test_several_pages_are_refused_until_the_first_is_asked_for(tmp_path: Path) -> None:
    def pages(seed: int) -> bytes:
        return encoded(
            Image.fromarray(noise(10, 12, seed=seed)), "TIFF", save_all=True,
            append_images=[Image.fromarray(noise(10, 12, seed=seed + 99))],
        )  # fmt: skip

    base = written(tmp_path / "mine", pages, ".tif")
    refused = looked(base, tmp_path, "refused")
    assert refused.errors == 24 and "`image.frames: first`" in said(refused, "corrupt")["one/000.tif"]
    taken = looked(base, tmp_path, "taken", "image.frames=first")
    assert taken.errors == 0
    dataset, _ = build(tmp_path, "mine", **folder_entry(base, image=taken.looked.entry["image"]))
    assert dataset.card.input.frames == "first"
    arrays = load_split(dataset, "test")
    number = 2 * int(arrays.ids[0][-7:-4]) + arrays.ids[0].startswith("zero")
    assert np.array_equal(arrays.inputs[0], noise(10, 12, seed=number))


@pytest.mark.parametrize("resize", [False, True])
def test_a_tiff_on_its_side_is_measured_as_it_is_seen(resize: bool, tmp_path: Path) -> None:
    def lying(seed: int) -> bytes:
        return tiff(12, 10, noise(10, 12, seed=seed).tobytes(), photometric=2, samples=3, orientation=6)

    base = written(tmp_path / "mine", lying, ".tif")
    checked = looked(base, tmp_path)
    assert checked.looked.entry["image"] == {"height": 12, "width": 10, "channels": 3} and not checked.errors
    image = {**checked.looked.entry["image"], "resize": resize}
    dataset, _ = build(tmp_path, "mine", **folder_entry(base, image=image))
    arrays = load_split(dataset, "test")
    number = 2 * int(arrays.ids[0][-7:-4]) + arrays.ids[0].startswith("zero")
    assert np.array_equal(arrays.inputs[0], np.rot90(noise(10, 12, seed=number), -1))


def test_a_see_through_colour_is_white_in_what_is_prepared(tmp_path: Path) -> None:
    def keyed(seed: int) -> bytes:
        pixels = noise(20, 24, seed=seed)
        pixels[:10] = (255, 0, 0)
        return png(24, 20, 8, 2, [row.tobytes() for row in pixels], chunk(b"tRNS", struct.pack(">HHH", 255, 0, 0)))

    base = written(tmp_path / "mine", keyed, ".png")
    image = {"height": 10, "width": 12, "channels": 3, "resize": True}
    dataset, _ = build(tmp_path, "mine", **folder_entry(base, image=image))
    arrays = load_split(dataset, "train")
    assert (arrays.inputs[:, :4] == 255).all()
    table = dataset.table("train", ["mean"])
    means = arrays.inputs.reshape(len(arrays), -1).mean(axis=1) / 255
    np.testing.assert_allclose(table.column("mean").to_numpy(), means, atol=1e-12)
    assert dataset.card.input.mean[0] == pytest.approx(float((arrays.inputs[..., 0] / 255.0).mean()))


def cropped(photograph: Path) -> list[Any]:
    """The whole of a picture of 20×24, cut out of it."""
    whole = cut.Cutting(frames.Frame(photograph, (20, 24), (20, 24), 1), "here", [((0, 0, 20, 24), {"id": "a"})])
    return list(cut.crops([whole]))


def test_objects_are_cut_out_of_odd_photographs_and_numbers_without_a_range_are_refused_truthfully(
    tmp_path: Path,
) -> None:
    photograph = tmp_path / "a.jpg"
    photograph.write_bytes(with_exif(encoded(Image.fromarray(noise(20, 24)), "JPEG"), exif(6)))
    (crop,) = cropped(photograph)
    assert decoding.decode(crop["image"]).image.size == (20, 24)
    photograph.write_bytes(tiff(2, 1, struct.pack("<ff", 0, 9), bits=32, format=3))
    (fault,) = cropped(photograph)
    assert re.search(r"outside of \[0, 1\].*before `image:` is read, so convert the image itself", fault.says)


@pytest.mark.parametrize("limits", [(5, 5), (9, 1), (0, float("nan")), (0, float("inf")), (0,)])
def test_a_range_has_black_below_white(limits: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        ImageDeclaration(height=1, width=1, channels=1, range=limits)  # type: ignore[arg-type]


def test_a_large_picture_shrinks_to_the_same_values_part_by_part() -> None:
    # given a picture that is multiplied some columns at a time, and one that is multiplied at once
    pixels = noise(2100, 900)
    whole = shrink(pixels[None], 3)
    parts = np.stack([shrink(np.ascontiguousarray(pixels[None, ..., [channel]]), 1) for channel in range(3)], axis=-1)
    assert np.array_equal(whole, parts[..., 0, :])
